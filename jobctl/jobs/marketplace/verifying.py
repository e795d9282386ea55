"""Verify pending payments at their provider, and know how long that has been silent."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select

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
    Found,
    Mismatched,
    NotFound,
    Paid,
    Pending,
    Unknown,
    UnrepresentableError,
)
from jobctl.providers.switchboard import Providers, account, concurrency, connect
from jobctl.tables.marketplace import provider_silences, wallet_transactions
from jobctl.tables.types import inline

ours, silence = wallet_transactions.c, provider_silences.c
UNVERIFIED = "payment unverified"


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
        order=ours.created_at,
        read=READ,
    )


def ask(at: At, payment: Payment) -> Call[Payment] | Broken:
    """Ask for the payment; raises ScopeDownError where the settings have no account at its provider."""
    try:
        account(at.settings, payment.provider)
    except UnrepresentableError as error:
        return Broken(str(error))
    return Call((payment.provider,), payment, {"request": f"verify {payment.reference}"})


def call(providers: Providers, payment: Payment) -> Found:
    return providers.retrieve(payment.provider, payment.reference)


def settle(
    at: At, payment: Payment, answer: Found | Lost | Broken | ScopeDownError, change: RowChanges
) -> str:
    if isinstance(answer, Paid | Declined | Pending | NotFound):
        answered(payment.provider, None, change)
        outcome, values = concluded(at, payment, answer, change)
        change.update(**values)
        return outcome
    if isinstance(answer, Mismatched):
        answered(payment.provider, None, change)
        change.update(status="unverified")
        concluding.found(change, "payment mismatch", payment, payment.amount, answer.reason)
        return "payment mismatch"
    return unanswered(at, payment, answer, change)


def concluded(
    at: At, payment: Payment, answer: Paid | Declined | Pending | NotFound, change: RowChanges
) -> tuple[str, dict[str, Any]]:
    if isinstance(answer, Paid):
        return concluding.succeeded(payment, answer, change)
    if isinstance(answer, Declined):
        return answer.code, concluding.failed(at, payment, answer.code, change)
    if payment.created_at > at.now - at.settings.request_payment_timeout:
        return "still undecided", {"next_look_at": None, "looks": 0}
    failure = "timeout" if isinstance(answer, Pending) else "not_found"
    return "timed out", concluding.failed(at, payment, failure, change)


def unanswered(
    at: At, payment: Payment, answer: Unknown | Lost | Broken | ScopeDownError, change: RowChanges
) -> str:
    """Let others go first the next time; what locks us out is no fault of a payment."""
    if isinstance(answer, ScopeDownError) and answer.exit_code == Exit.MISCONFIGURED:
        answered(payment.provider, None, change)
        return "asked again later"
    change.update(looks=payment.looks + 1, next_look_at=next_time(payment.looks, at.present))
    if isinstance(answer, Broken):
        change.error(f"nobody could be asked about it: {answer.reason}")
        return "failed"
    if isinstance(answer, ScopeDownError):
        answered(payment.provider, at.present, change)
        return "asked again later"
    if isinstance(answer, Unknown):
        change.error(f"its provider's answer tells nothing: {answer.reason}")
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
    gone = silence.since <= at.now - at.settings.payment_verify_give_up
    return Due(
        wallet_transactions,
        {
            **pending(at),
            "it has a reference at its provider": ours.reference.is_not(None),
            "its provider has not answered for PAYMENT_VERIFY_GIVE_UP": exists(
                select(silence.id).where(silence.provider == ours.provider, gone)
            ),
        },
        since=ours.created_at,
    )


def give_up(_: At, batch: BatchChanges) -> None:
    silent = "its provider has not answered for PAYMENT_VERIFY_GIVE_UP: ask there, and decide what it is"
    batch.update(status="unverified")
    batch.finding(
        UNVERIFIED,
        once=[ours.provider, ours.reference],
        reason=inline("payment ") + ours.reference + inline(f": {silent}"),
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
