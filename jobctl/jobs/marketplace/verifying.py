"""Verify pending payments at their provider, and know how long that has been silent.

That a provider has no such payment may tell of the key as much as of the payment. It ends a payment only
where the same run found another one of the account that it was begun at, and is looked at again for a day.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from jobctl.errors import Exit
from jobctl.job import (
    At,
    BatchChanges,
    Broken,
    Call,
    Due,
    EffectStep,
    Lost,
    RowChanges,
    ScopeDownError,
)
from jobctl.jobs.marketplace import concluding
from jobctl.jobs.marketplace.concluding import READ, Payment
from jobctl.journal import next_time
from jobctl.providers.protocol import (
    Declined,
    Mismatched,
    NotFound,
    Paid,
    Pending,
    Unknown,
    UnrepresentableError,
)
from jobctl.providers.switchboard import Providers, account, concurrency, connect, horizon
from jobctl.tables.marketplace import provider_silences, wallet_transactions
from jobctl.tables.types import Later, inline

ours, silence = wallet_transactions.c, provider_silences.c
NOT_FOUND, TWICE = "not_found", 2
UNTOLD = "its provider's answer tells nothing: "


@dataclass(frozen=True)
class Missing:
    """The provider says that it has no such payment. proved: the account that was asked is the right one."""

    proved: bool


Answer = Paid | Declined | Pending | Unknown | Mismatched | Missing


def pending(at: At) -> dict[str, ColumnElement[bool]]:
    long_ago = at.now - at.settings.payment_verify_after
    return {
        "it is pending": ours.status == inline("pending"),
        "it is for escrow": ours.escrow_status == inline("pending"),
        "it was created PAYMENT_VERIFY_AFTER ago": ours.created_at <= long_ago,
    }


def due(at: At) -> Due:
    return Due(
        wallet_transactions,
        {
            **pending(at),
            "it has a reference at its provider": ours.reference.is_not(None),
            "its provider was not asked in vain lately": or_(
                ours.next_look_at.is_(None), ours.next_look_at <= at.now
            ),
        },
        since=ours.created_at,
        # What was asked about in vain lets others go first: of an account that has none of the oldest, say.
        order=func.coalesce(ours.next_look_at, ours.created_at),
        read=READ,
        waits_since=func.coalesce(
            ours.next_look_at, Later(ours.created_at, at.settings.payment_verify_after)
        ),
        put_off=and_(*pending(at).values(), ours.next_look_at > at.now),
    )


def absent(at: At) -> Due:
    """Return the payments that were ended since their provider had none, for as long as one may turn up."""
    return Due(
        wallet_transactions,
        {
            "it failed": ours.status == inline("failed"),
            "its provider had no such payment": ours.missed_at.is_not(None),
            "it is to be looked for again": ours.next_look_at <= at.now,
        },
        since=ours.created_at,
        order=ours.next_look_at,
        read=READ,
    )


def ask(at: At, payment: Payment) -> Call[Payment] | Broken:
    """Ask for the payment; raises ScopeDownError where the settings have no account at its provider."""
    try:
        named = account(at.settings, payment.provider)
    except UnrepresentableError as error:
        return Broken(str(error))
    if payment.account not in (None, named):
        return Broken(f"it was begun at the account {payment.account}, and the settings have {named}")
    return Call((payment.provider,), payment, {"request": f"verify {payment.reference}"})


def call(providers: Providers, payment: Payment) -> Answer:
    found = providers.retrieve(payment.provider, payment.reference)
    if not isinstance(found, NotFound):
        return found
    if payment.witness is not None and not providers.found(payment.provider):
        providers.retrieve(payment.provider, payment.witness)
    # Of a row that names no account nobody knows whether that is the right one.
    return Missing(proved=payment.account is not None and providers.found(payment.provider))


def settle(
    at: At, payment: Payment, answer: Answer | Lost | Broken | ScopeDownError, change: RowChanges
) -> str:
    if isinstance(answer, Missing):
        answered(payment.provider, None, change)
        return missing(at, payment, answer, change)
    if isinstance(answer, Paid | Declined | Pending):
        answered(payment.provider, None, change)
        outcome, values = concluded(at, payment, answer, change)
        change.update(**values)
        return outcome
    if isinstance(answer, Mismatched):
        answered(payment.provider, None, change)
        change.update(status="unverified")
        return mismatch(payment, answer, change)
    return unanswered(at, payment, answer, change)


def mismatch(payment: Payment, answer: Mismatched, change: RowChanges) -> str:
    concluding.found(change, concluding.MISMATCH, payment, payment.amount, answer.reason)
    return concluding.MISMATCH


def concluded(
    at: At, payment: Payment, answer: Paid | Declined | Pending, change: RowChanges
) -> tuple[str, dict[str, Any]]:
    if isinstance(answer, Paid):
        return concluding.succeeded(at, payment, answer, change)
    if isinstance(answer, Declined):
        return answer.code, concluding.failed(at, payment, answer.code, change)
    if payment.created_at > at.now - at.settings.request_payment_timeout:
        return "still undecided", {"next_look_at": None, "looks": 0, "missed_at": None}
    return "timed out", concluding.failed(at, payment, "timeout", change)


def missing(at: At, payment: Payment, answer: Missing, change: RowChanges) -> str:
    """End a payment that its provider doesn't have only with proof; else leave it, in the end to a person."""
    again = {"looks": payment.looks + 1, "next_look_at": next_time(payment.looks, at.present)}
    missed = payment.missed_at or at.present
    if payment.created_at > at.now - at.settings.request_payment_timeout:
        change.update(**again, missed_at=missed)
        return "not found yet"
    if not answer.proved:
        change.update(**again, missed_at=missed)
        return "not found, and left"
    change.update(**again, **concluding.failed(at, payment, NOT_FOUND, change), missed_at=missed)
    return "timed out"


def settle_absent(
    at: At, payment: Payment, answer: Answer | Lost | Broken | ScopeDownError, change: RowChanges
) -> str:
    """Give back what turns up after all; what doesn't is left alone once the horizon has passed.

    What may be a payment and cannot be told is for a person, as of one that is pending.
    """
    if isinstance(answer, Paid):
        outcome, values = concluding.succeeded(at, payment, answer, change)
        change.update(**values, next_look_at=None)
        return outcome
    if isinstance(answer, Mismatched):
        change.update(next_look_at=None)
        return mismatch(payment, answer, change)
    if isinstance(answer, Unknown):
        change.error(UNTOLD + answer.reason)
    young = payment.failed_at is not None and payment.failed_at > at.present - horizon(payment.provider)
    sure = isinstance(answer, Missing | Declined)
    again = None if sure and not young else next_time(payment.looks, at.present)
    change.update(looks=payment.looks + 1, next_look_at=again)
    return "looked for again"


def unanswered(
    at: At, payment: Payment, answer: Unknown | Lost | Broken | ScopeDownError, change: RowChanges
) -> str:
    """Let others go first the next time; what locks us out is no fault of a payment."""
    if isinstance(answer, ScopeDownError) and answer.exit_code == Exit.MISCONFIGURED:
        answered(payment.provider, None, change)
        change.update(next_look_at=at.present)
        return "asked again later"
    change.update(looks=payment.looks + 1, next_look_at=next_time(payment.looks, at.present))
    if isinstance(answer, Broken):
        change.error(f"nobody could be asked about it: {answer.reason}")
        return "failed"
    if isinstance(answer, ScopeDownError):
        answered(payment.provider, at.present, change)
        return "asked again later"
    if isinstance(answer, Unknown):
        change.error(UNTOLD + answer.reason)
        return "failed"
    return "asked again later"


def answered(provider: str, silent_since: datetime | None, change: RowChanges) -> None:
    """Keep since when a provider has not answered; None: it has."""
    known = change.look(select(provider_silences).where(silence.provider == provider), lock=provider_silences)
    if known is None and silent_since is not None:
        change.insert(provider_silences, once=["provider"], provider=provider, since=silent_since)
    elif known is not None and (known.since is None) != (silent_since is None):
        change.update_beside(provider_silences, known.id, since=silent_since)


def given_up(at: At) -> Due:
    long_ago = at.now - at.settings.payment_verify_give_up
    # A provider that was silent once is known for that until it is asked again, and nobody may have been due.
    due_for_as_long = ours.created_at <= long_ago - at.settings.payment_verify_after
    silent = exists(select(silence.id).where(silence.provider == ours.provider, silence.since <= long_ago))
    return Due(
        wallet_transactions,
        {
            **pending(at),
            "it has a reference at its provider": ours.reference.is_not(None),
            "it has been due to be asked about for PAYMENT_VERIFY_GIVE_UP": due_for_as_long,
            "it was asked about twice in vain": ours.looks >= TWICE,
            "its provider has not answered, or not found it, for PAYMENT_VERIFY_GIVE_UP": or_(
                silent, ours.missed_at <= long_ago
            ),
        },
        since=ours.created_at,
    )


def give_up(_: At, batch: BatchChanges) -> None:
    untold = (
        "its provider has told nothing of it for PAYMENT_VERIFY_GIVE_UP: ask there, and decide what it is"
    )
    batch.update(status="unverified")
    batch.finding(
        concluding.UNVERIFIED,
        once=[ours.provider, ours.reference],
        reason=inline("payment ") + ours.reference + inline(f": {untold}"),
        amount_minor=ours.amount_minor,
        currency=ours.currency,
    )


STEP = EffectStep(
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
AGAIN = replace(STEP, due=absent, settle=settle_absent)
