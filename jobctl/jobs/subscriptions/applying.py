"""How a payment that succeeded becomes a period of its subscription: the one way, for every writer.

docs/writers.md says the same for the application. Subscriptions are locked before their payments.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select

from jobctl.job import At, Look, RowChanges
from jobctl.jobs.subscriptions.renewing import charge_day
from jobctl.periods import end_of
from jobctl.tables.subscriptions import payments, subscription_periods


def payment_of(look: Look, reference: str) -> Any:
    """Return the payment with that reference of ours, locked; None where there is none."""
    return look(select(payments).where(payments.c.reference == reference), lock=payments)


def has_paid(look: Look, payment_id: int) -> bool:
    """Tell whether a payment has had its period already."""
    theirs = subscription_periods.c.payment_id == payment_id
    return look(select(subscription_periods.c.id).where(theirs)) is not None


def succeeded(at: At, payment: Any, provider_payment_id: str, change: RowChanges) -> None:
    """Record that a payment succeeded."""
    if payment.status == "succeeded":
        return
    change.update_beside(
        payments,
        payment.id,
        status="succeeded",
        provider_payment_id=provider_payment_id,
        paid_at=at.present,
        confirmed_at=at.present,
    )


def extend(at: At, subscription: Any, payment_id: int, change: RowChanges) -> datetime:
    """Give the subscription in hand, which is locked, one more period; return its end."""
    start = subscription.ended_at
    end = end_of(start, subscription.unit, subscription.every, subscription.billing_anchor_day)
    change.insert(
        subscription_periods,
        subscription_id=subscription.id,
        period_start=start,
        period_end=end,
        payment_id=payment_id,
        created_at=at.present,
    )
    change.update(ended_at=end, next_charge_at=charge_day(end, 0))
    return end
