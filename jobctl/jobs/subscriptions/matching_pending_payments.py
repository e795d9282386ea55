"""Find out what became of pending payments, and apply those that succeeded.

Providers are asked about each payment that is pending here, less often as time goes by, and for the list of
what succeeded lately. What succeeded there, though it may have been given up here, gives its buyer the
period that it was for.
"""

from collections.abc import Sequence

from sqlalchemy import and_, or_, select

from jobctl.job import (
    At,
    Broken,
    Due,
    Lost,
    Read,
    RecoveryStep,
    RowChanges,
    ScopeDownError,
)
from jobctl.jobs.subscriptions import applying, beside, matching
from jobctl.jobs.subscriptions.matching import Listed, Match, Payment
from jobctl.jobs.subscriptions.renewing import SUBSCRIPTION
from jobctl.journal import READ, Operation, not_open
from jobctl.journal import succeeded_late as journalled_late
from jobctl.providers.protocol import Declined, Found, NotFound, Paid, Pending
from jobctl.providers.switchboard import concurrency
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments
from jobctl.tables.types import inline

ours = payments.c
GIVEN_UP = ("declined", "rejected")


def due(at: At) -> Due:
    return Due(
        payments,
        {
            "it is pending": ours.status == inline("pending"),
            "its provider has a number for it": ours.provider_payment_id.is_not(None),
            "its provider was not asked lately, or a charge waits for its answer": or_(
                matching.not_asked_lately(at), beside.waited_for(at)
            ),
            "no money operation on it is open": not_open(ours.reference),
        },
        order=ours.created_at,
        read=matching.READ,
        put_off=and_(ours.status == inline("pending"), ours.next_look_at > at.now),
    )


def settle(
    at: At, payment: Payment, answer: Found | Lost | Broken | ScopeDownError, change: RowChanges
) -> str:
    if isinstance(answer, Paid):
        matching.postpone(at, payment, change, for_someone=True)  # unless it is applied
        return applying.record(at, payment.id, answer, change)
    if isinstance(answer, Declined):
        change.update(status="cancelled", cancelled_at=at.present, failure=answer.code)
        return "cancelled"
    if isinstance(answer, Pending):
        change.update(seen_pending_at=at.present)
        matching.postpone(at, payment, change)
        return "still pending"
    if isinstance(answer, NotFound):
        return matching.not_there(at, payment, answer, change)
    return matching.not_told(at, payment, answer, change)


def news(at: At, page: Sequence[Listed], read: Read) -> Sequence[Match]:
    matches = matching.matched(page, read)
    return [each for each in matches if isinstance(each.listed, Paid) and is_news(at, each)]


def is_news(at: At, match: Match) -> bool:
    """Tell what has not succeeded here; an operation that is open is asked about by the journal's rules."""
    operation, payment = match.operation, match.payment
    if operation is not None:
        return operation.kind == "charge" and operation.status in GIVEN_UP
    if payment is None or payment.status == "succeeded":
        return False
    # Else the first step of this run sees to it.
    later = payment.next_look_at is not None and payment.next_look_at > at.now
    return payment.status != "pending" or payment.provider_payment_id is None or later


def settle_listed(at: At, match: Match, change: RowChanges) -> str:
    assert isinstance(match.listed, Paid), "an unreadable payment is no news"
    if match.operation is None:
        return applying.record(at, match.payment.id, match.listed, change)
    return succeeded_late(at, match.operation.key, match.listed, change)


def succeeded_late(at: At, key: str, paid: Paid, change: RowChanges) -> str:
    """Record on its operation what was taken for declined, or never begun; its own step settles it."""
    journal = select(*READ.values()).where(money_operations.c.key == key)
    operation = Operation(*change.look(journal))
    if operation.status not in GIVEN_UP:
        return "known already"
    if reason := mismatch(operation, paid):
        change.drift(f"succeeded at the provider and was {operation.status} here", paid.amount)
        return applying.found(change, "payment mismatch", paid, reason)
    values = journalled_late(at, operation, paid.id, paid.paid_at, change.look)
    change.update_beside(money_operations, operation.id, **values)
    change.drift(f"succeeded at the provider and was {operation.status} here", paid.amount)
    return "succeeded late"


def mismatch(operation: Operation, paid: Paid) -> str | None:
    if paid.amount != operation.amount:
        asked = f"{operation.amount} by operation {operation.id}"
        return f"{asked}, and {paid.amount} was paid at the provider"
    return f"the charge of operation {operation.id} was given back at the provider" if paid.refunded else None


JOB = (
    matching.looking_up(due, settle),
    matching.following(news, settle_listed),
    RecoveryStep(kinds=[(SUBSCRIPTION, "charge"), (SUBSCRIPTION, "refund")], concurrency=concurrency),
)
