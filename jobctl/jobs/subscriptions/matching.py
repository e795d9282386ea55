"""What both matching jobs ask providers, and how they know again what is here."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Update, or_, select

from jobctl.job import (
    At,
    Broken,
    Call,
    Due,
    EffectStep,
    ListStep,
    Lost,
    Means,
    Read,
    RowChanges,
    ScopeDownError,
)
from jobctl.journal import next_time
from jobctl.money import Money
from jobctl.providers.protocol import Found, Paid, Unknown, Unreadable
from jobctl.providers.switchboard import Providers, account, configured
from jobctl.settings import Settings
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments

REFERENCE = "jobctl_key"  # in a payment's metadata: the key of our operation, or the application's reference
FORM = re.compile(r"[0-9A-Za-z._-]{1,64}")
Listed = Paid | Unreadable
ours = payments.c


class Payment(NamedTuple):
    """A payment here that its provider is asked about."""

    id: int
    claimed_by: int | None
    status: str
    provider: str
    provider_payment_id: str
    amount_minor: int
    currency: str
    looks: int

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


SHOWN = (ours.id, ours.provider_payment_id, ours.reference, ours.status, ours.next_look_at)
READ: Mapping[str, Any] = {name: ours[name] for name in Payment._fields}


def not_asked_lately(at: At) -> ColumnElement[bool]:
    """Hold where the time has come to ask the provider; the intervals grow."""
    return or_(ours.next_look_at.is_(None), ours.next_look_at <= at.now)


def looking_up(due: Callable[[At], Due], settle: Callable[..., str]) -> EffectStep[Any, Any, Any, Any]:
    """Return the step that asks providers about payments here, one by one."""
    return EffectStep(
        row=Payment,
        due=due,
        connect=connect,
        ask=ask,
        call=call,
        settle=settle,
        concurrency=concurrency,
        lane=ours.provider,
        looks_up=True,
    )


def following(
    news: Callable[[At, Sequence[Listed], Read], Sequence["Match"]],
    settle: Callable[[At, "Match", RowChanges], str],
    seen: Callable[[At, Sequence[Listed]], Update] | None = None,
) -> ListStep[Any, Any, Any]:
    """Return the step that follows what succeeded at each configured provider."""
    return ListStep(
        sources=configured,
        reach=lambda settings: settings.matching_window,
        connect=connect,
        pages=pages,
        news=news,
        settle=settle,
        seen=seen,
    )


def connect(at: At, means: Means) -> Providers:
    return Providers(at.settings, means)


def pages(providers: Providers, source: str, start: datetime, end: datetime) -> Iterable[Sequence[Listed]]:
    return providers.open(source).listed(start, end)


def ask(at: At, payment: Payment) -> Call[Payment]:
    """Ask for the payment; raises ScopeDownError where the settings have no account at its provider."""
    account(at.settings, payment.provider)
    return Call((payment.provider,), payment, {"request": f"look up {payment.provider_payment_id}"})


def call(providers: Providers, payment: Payment) -> Found:
    return providers.open(payment.provider).retrieve(payment.provider_payment_id)


def concurrency(settings: Settings) -> int:
    return settings.payment_concurrency


def not_told(
    at: At, payment: Payment, answer: Unknown | Lost | Broken | ScopeDownError, change: RowChanges
) -> str:
    """Ask again later; what cannot be understood needs someone."""
    postpone(at, payment, change)
    if isinstance(answer, Lost | ScopeDownError):
        return "asked again later"
    change.error(f"{payment.provider} could not be asked about it: {answer.reason}")
    return "failed"


def postpone(at: At, payment: Payment, change: RowChanges) -> None:
    change.update(looks=payment.looks + 1, next_look_at=next_time(payment.looks, at.present))


class Match(NamedTuple):
    """A payment that a provider lists, and what is here of it."""

    id: str  # its number there
    listed: Listed
    operation: Any  # of the journal
    payment: Any


def matched(page: Sequence[Listed], read: Read) -> list[Match]:
    """Find what is here of the payments on a page of one provider: by our reference, or their number."""
    keys = {each.id: reference_of(each) for each in page}
    named = sorted({key for key in keys.values() if key})
    journal = money_operations.c
    entries = read(select(journal.key, journal.kind, journal.status).where(journal.key.in_(named)))
    operations = {row.key: row for row in entries}
    by_number, by_reference = here(page, read), {}
    if named:
        by_reference = {row.reference: row for row in read(select(*SHOWN).where(ours.reference.in_(named)))}
    return [
        Match(
            each.id,
            each,
            operations.get(keys[each.id]),
            by_number.get(each.id) or by_reference.get(keys[each.id]),
        )
        for each in page
    ]


def here(page: Sequence[Listed], read: Read) -> Mapping[str | None, Any]:
    if not page:
        return {}
    theirs = (ours.provider == page[0].provider) & ours.provider_payment_id.in_([each.id for each in page])
    return {row.provider_payment_id: row for row in read(select(*SHOWN).where(theirs))}


def reference_of(listed: Listed) -> str | None:
    """Return what may be a reference of ours; what is none in form is nobody's."""
    told = listed.metadata.get(REFERENCE, "") if isinstance(listed, Paid) else ""
    return told if FORM.fullmatch(told) else None
