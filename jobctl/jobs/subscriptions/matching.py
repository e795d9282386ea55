"""What both matching jobs ask providers, and how they know again what is here."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Update, or_, select

from jobctl.job import (
    At,
    Broken,
    Call,
    Due,
    EffectStep,
    ListStep,
    Lost,
    Read,
    RowChanges,
    ScopeDownError,
)
from jobctl.jobs.subscriptions import applying
from jobctl.jobs.subscriptions.marks import reference_in
from jobctl.journal import PATIENT, next_time
from jobctl.money import Money
from jobctl.providers.protocol import (
    Found,
    Mismatched,
    NotFound,
    Paid,
    Unknown,
    Unreadable,
    UnrepresentableError,
)
from jobctl.providers.switchboard import Providers, account, at_account, concurrency, configured, connect
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments

NUMBER = re.compile(r"\w[\w.:-]{0,254}", re.ASCII)  # of a payment, at any provider
A_DAY = timedelta(days=1)
NEWEST = 1000  # payments that are looked through for those that a list must have
Listed = Paid | Unreadable
ours = payments.c


class Payment(NamedTuple):
    """A payment here that its provider is asked about."""

    id: int
    claimed_by: int | None
    status: str
    provider: str
    account: str | None
    provider_payment_id: str
    amount_minor: int
    currency: str
    refunded_at: datetime | None
    looks: int

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


SHOWN = (ours.id, ours.provider, ours.provider_payment_id, ours.reference, ours.status, ours.next_look_at)
READ: Mapping[str, Any] = {name: ours[name] for name in Payment._fields}


def not_asked_lately(at: At) -> ColumnElement[bool]:
    """Hold where the time has come to ask the provider; the intervals grow."""
    return or_(ours.next_look_at.is_(None), ours.next_look_at <= at.now)


def call(providers: Providers, payment: Payment) -> Found:
    return providers.retrieve(payment.provider, payment.provider_payment_id)


def looking_up(
    due: Callable[[At], Due],
    settle: Callable[..., str],
    call: Callable[[Providers, Payment], Any] = call,
) -> EffectStep[Any, Any, Any, Any]:
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
        pages=Providers.listed,
        news=news,
        settle=settle,
        seen=seen,
        known=known,
        place=at_account,
    )


def known(at: At, provider: str, since: datetime, until: datetime) -> Select[Any]:
    """Select payments that the provider was seen to have, in the account that the settings have there."""
    # Among the newest: no index has the others by their time.
    new = select(payments).order_by(ours.id.desc()).limit(NEWEST).subquery().c
    mine = or_(new.account.is_(None), new.account == account(at.settings, provider))
    succeeded = (new.status == "succeeded") & new.confirmed_at.is_not(None)
    return select(new.provider_payment_id).where(
        new.provider == provider, mine, succeeded, new.paid_at >= since, new.paid_at < until
    )


def ask(at: At, payment: Payment) -> Call[Payment] | Broken:
    """Ask for the payment; raises ScopeDownError where the settings have no account at its provider."""
    try:
        named = account(at.settings, payment.provider)
    except UnrepresentableError as error:
        return Broken(str(error))
    if payment.account not in (None, named):
        return Broken(f"it was made at the account {payment.account}, and the settings have {named}")
    if not NUMBER.fullmatch(payment.provider_payment_id):
        return Broken(f"its number at the provider is none: {payment.provider_payment_id!a}")
    return Call((payment.provider,), payment, {"request": f"look up {payment.provider_payment_id}"})


def not_told(
    at: At,
    payment: Payment,
    answer: Unknown | Mismatched | Lost | Broken | ScopeDownError,
    change: RowChanges,
) -> str:
    """Ask again later; what cannot be understood needs someone."""
    postpone(at, payment, change, for_someone=isinstance(answer, Broken | Mismatched))
    if isinstance(answer, Lost | ScopeDownError):
        return "asked again later"
    if isinstance(answer, Mismatched):
        # Its code as well: that it is of another amount, or was given back, is told all the same.
        once = [payment.provider, payment.provider_payment_id, answer.code]
        facts = {"provider": payment.provider, "payment": payment.provider_payment_id}
        change.finding("payment mismatch", once=once, reason=answer.reason, amount=answer.amount, facts=facts)
        return "payment mismatch"
    change.error(f"nobody could be asked about it: {answer.reason}")
    return "failed"


def not_there(at: At, payment: Payment, answer: NotFound, change: RowChanges) -> str:
    """Tell a person of what the right account doesn't have; where it may be another's, only after a while."""
    sure = answer.proved or payment.looks + 1 >= PATIENT
    postpone(at, payment, change, for_someone=sure)
    return applying.unconfirmed(payment, "unknown", change) if sure else "not found, and left"


def postpone(at: At, payment: Payment, change: RowChanges, *, for_someone: bool = False) -> None:
    """Ask again after a growing interval; about what needs someone, tomorrow."""
    again = at.present + A_DAY if for_someone else next_time(payment.looks, at.present)
    change.update(looks=payment.looks + 1, next_look_at=again)


class Match(NamedTuple):
    """A payment that a provider lists, and what is here of it."""

    id: str  # its number there
    listed: Listed
    operation: Any  # of the journal
    payment: Any

    @property
    def at(self) -> datetime:
        return self.listed.paid_at if isinstance(self.listed, Paid) else datetime.min.replace(tzinfo=UTC)


def matched(page: Sequence[Listed], read: Read) -> list[Match]:
    """Find what is here of the payments on a page of one provider: by their number, or our reference.

    A reference is of one payment: where it has another number, or another provider, it tells nothing.
    """
    named = [key for key in map(reference_of, page) if key]
    journal = money_operations.c
    told = (journal.key, journal.kind, journal.status, journal.provider, journal.payment_id)
    operations = {row.key: row for row in read(select(*told).where(journal.key.in_(named)))} if named else {}
    rows = read(select(*SHOWN).where(ours.reference.in_(named))) if named else []
    by_number, by_reference = here(page, read), {row.reference: row for row in rows}
    found = []
    for each in page:
        key = reference_of(each)
        operation, payment = operations.get(key), by_number.get(each.id) or by_reference.get(key)
        operation = operation if operation and of_one(operation, operation.payment_id, each) else None
        payment = payment if payment and of_one(payment, payment.provider_payment_id, each) else None
        found.append(Match(each.id, each, operation, payment))
    return found


def of_one(row: Any, number: str | None, listed: Listed) -> bool:
    return row.provider == listed.provider and number in (None, listed.id)


def here(page: Sequence[Listed], read: Read) -> Mapping[str | None, Any]:
    if not page:
        return {}
    theirs = (ours.provider == page[0].provider) & ours.provider_payment_id.in_([each.id for each in page])
    return {row.provider_payment_id: row for row in read(select(*SHOWN).where(theirs))}


def reference_of(listed: Listed) -> str | None:
    return reference_in(listed) if isinstance(listed, Paid) else None
