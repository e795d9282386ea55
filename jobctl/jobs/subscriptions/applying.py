"""How a payment that succeeded becomes a period of its subscription: the one way, for every writer.

docs/writers.md says the same for the application. Subscriptions are locked before their payments.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select

from jobctl.job import At, Look, RowChanges
from jobctl.jobs.subscriptions.renewing import charge_day, too_late
from jobctl.money import Money
from jobctl.periods import end_of
from jobctl.providers.protocol import Paid
from jobctl.providers.switchboard import account
from jobctl.tables.subscriptions import payments, plans, subscription_periods, subscriptions
from jobctl.tables.types import inline

active = subscriptions.c.status == inline("active")
of_plan = (plans.c.unit, plans.c.every, plans.c.recurring)
with_plans = subscriptions.join(plans, plans.c.id == subscriptions.c.plan_id)


def payment_of(look: Look, reference: str) -> Any:
    """Return the payment with that reference of ours, locked; None where there is none."""
    return look(select(payments).where(payments.c.reference == reference), lock=payments)


def has_paid(look: Look, payment_id: int) -> bool:
    """Tell whether a payment has had its period already."""
    theirs = subscription_periods.c.payment_id == payment_id
    return look(select(subscription_periods.c.id).where(theirs)) is not None


def succeeded(at: At, payment: Any, provider_payment_id: str, change: RowChanges) -> None:
    """Record that a payment which jobctl itself asked for succeeded."""
    if payment.status == "succeeded":
        return
    change.update_beside(
        payments,
        payment.id,
        status="succeeded",
        provider_payment_id=provider_payment_id,
        paid_at=at.present,
        confirmed_at=at.present,
        failure=None,
    )


def extended(subscription: Any, *, renewable: bool = True) -> dict[str, Any]:
    """Return what becomes of a subscription, read with its plan, that is paid for one more period."""
    start = subscription.ended_at
    end = end_of(start, subscription.unit, subscription.every, subscription.billing_anchor_day)
    charged = renewable and subscription.recurring and subscription.cancelled_at is None
    return {"ended_at": end, "next_charge_at": charge_day(end, 0) if charged else None}


def add_period(
    at: At, subscription_id: Any, period: tuple[datetime, datetime], payment_id: Any, change: RowChanges
) -> None:
    change.insert(
        subscription_periods,
        subscription_id=subscription_id,
        period_start=period[0],
        period_end=period[1],
        payment_id=payment_id,
        created_at=at.present,
    )


# ── payments that the application asked for, or nobody here ──────────────────────────────────────


def record(at: At, payment_id: int, paid: Paid, change: RowChanges) -> str:
    """Apply to a payment that is here what succeeded at the provider; return what came of it."""
    look = change.look
    known = look(select(payments).where(payments.c.id == payment_id))
    subscription = of_buyer(look, known.user_id, known.plan_id, known.subscription_id, paid.paid_at)
    payment = look(select(payments).where(payments.c.id == payment_id), lock=payments)
    if payment.status == "succeeded":
        return "known already"
    change.drift(f"succeeded at the provider and was {payment.status} here", paid.amount)
    if reason := mismatch(payment, paid):
        return found(change, "payment mismatch", paid, reason)
    values = {
        "status": "succeeded",
        "provider_payment_id": paid.id,
        "paid_at": paid.paid_at,
        "confirmed_at": at.present,
        "failure": None,
        "provider_customer": payment.provider_customer or paid.customer,
        "provider_method": payment.provider_method or paid.method,
    }
    if reason := objection(at, subscription, payment, paid):
        change.update_beside(payments, payment.id, **values)
        return found(change, "payment not applied", paid, reason)
    buyer = Buyer(payment.user_id, payment.plan_id, renewable=values["provider_method"] is not None)
    subscription_id, period = served(at, buyer, subscription, paid, change)
    change.update_beside(payments, payment.id, **values, subscription_id=subscription_id)
    add_period(at, subscription_id, period, payment.id, change)
    return "applied"


def add(at: At, buyer: "Buyer", paid: Paid, reference: str | None, change: RowChanges) -> str:
    """Write down a payment that is not here, and give its buyer what it was for."""
    subscription = of_buyer(change.look, buyer.user_id, buyer.plan_id, None, paid.paid_at)
    change.drift("succeeded at the provider and was missing here", paid.amount)
    if subscription is not None and was_cancelled(at, subscription, paid):
        add_payment(at, buyer, paid, change, subscription_id=subscription.id, reference=reference)
        reason = f"it was paid before its customer cancelled subscription {subscription.id}"
        return found(change, "payment not applied", paid, reason)
    subscription_id, period = served(at, buyer, subscription, paid, change)
    payment_id = add_payment(at, buyer, paid, change, subscription_id=subscription_id, reference=reference)
    add_period(at, subscription_id, period, payment_id, change)
    return "added"


def add_payment(at: At, buyer: "Buyer", paid: Paid, change: RowChanges, **known: Any) -> Any:
    """Write down a payment, and what else is known of it: its subscription and its reference."""
    return change.insert(
        payments,
        user_id=buyer.user_id,
        plan_id=buyer.plan_id,
        provider=paid.provider,
        account=account(at.settings, paid.provider),
        provider_payment_id=paid.id,
        provider_customer=paid.customer,
        provider_method=paid.method,
        amount_minor=paid.amount.minor,
        currency=paid.amount.currency,
        status="succeeded",
        paid_at=paid.paid_at,
        confirmed_at=at.present,
        created_at=at.present,
        **known,
    )


@dataclass(frozen=True)
class Buyer:
    """Who paid for which plan, and whether that can be charged again."""

    user_id: int
    plan_id: int
    renewable: bool


def of_buyer(look: Look, user_id: int, plan_id: int, subscription_id: int | None, paid_at: datetime) -> Any:
    """Return the subscription that a payment is for, locked, with its plan; None where there is none.

    Its own first; where that has ended, another one to the same plan that is active, or that its customer
    has cancelled since.
    """
    own = None
    if subscription_id is not None:
        own = look(in_full().where(subscriptions.c.id == subscription_id), lock=subscriptions)
        if own is not None and own.status == "active":
            return own
    theirs = (subscriptions.c.user_id == user_id) & (subscriptions.c.plan_id == plan_id)
    others = (
        look(in_full().where(theirs, each), lock=subscriptions) for each in (active, cancelled(paid_at))
    )
    return next((each for each in others if each is not None), own)


def cancelled(since: datetime) -> ColumnElement[bool]:
    """Hold for what was cancelled since then, or nobody knows when."""
    at_some_time = (subscriptions.c.status == inline("cancelled")) & subscriptions.c.cancelled_at.is_(None)
    return or_(subscriptions.c.cancelled_at >= since, at_some_time)


def in_full() -> Select[Any]:
    return select(subscriptions, *of_plan).select_from(with_plans)


def mismatch(payment: Any, paid: Paid) -> str | None:
    """Return why what was paid is not what was asked for, so that a person has to look."""
    asked = Money(payment.amount_minor, payment.currency)
    if asked != paid.amount:
        return f"payment {payment.id} is of {asked} here and of {paid.amount} at the provider"
    return f"payment {payment.id} was given back at the provider" if paid.refunded else None


def objection(at: At, subscription: Any, payment: Any, paid: Paid) -> str | None:
    """Return why there is nothing that a payment could still pay for."""
    if payment.period_start is not None and not (
        subscription is not None
        and subscription.status == "active"
        and subscription.ended_at == payment.period_start
    ):
        return f"payment {payment.id} succeeded after its period was paid, or its subscription ended"
    if subscription is not None and subscription.user_id != payment.user_id:
        return f"payment {payment.id} is for subscription {subscription.id}, which is another user's"
    if subscription is not None and was_cancelled(at, subscription, paid):
        return f"payment {payment.id} is for subscription {subscription.id}, which was cancelled"
    if subscription is not None and subscription.status == "active":
        return another_plan(subscription, payment)
    return None


def another_plan(subscription: Any, payment: Any) -> str | None:
    """Return why a payment buys nothing of what its subscription is to."""
    if subscription.plan_id == payment.plan_id:
        return None
    its = f"payment {payment.id}, of plan {payment.plan_id}, is for subscription {subscription.id}"
    return f"{its}, which is to plan {subscription.plan_id}"


def was_cancelled(at: At, subscription: Any, paid: Paid) -> bool:
    """Tell whether what was paid would begin anew what its customer has cancelled since."""
    if subscription.status == "cancelled":
        return True
    since = subscription.cancelled_at is not None and subscription.cancelled_at >= paid.paid_at
    return since and not goes_on(at, subscription, paid)


def goes_on(at: At, subscription: Any, paid: Paid) -> bool:
    """Tell whether a payment extends a subscription; else nobody was served since, nor pays for that time."""
    served_still: bool = subscription.ended_at > paid.paid_at - too_late(at.settings)
    return subscription.status == "active" and served_still


def served(
    at: At, buyer: Buyer, subscription: Any, paid: Paid, change: RowChanges
) -> tuple[Any, tuple[datetime, datetime]]:
    """Extend the subscription, or begin one; return its number, and the period that is paid."""
    if subscription is not None and goes_on(at, subscription, paid):
        values = extended(subscription, renewable=buyer.renewable)
        change.update_beside(subscriptions, subscription.id, **values)
        return subscription.id, (subscription.ended_at, values["ended_at"])
    if subscription is not None and subscription.status == "active":
        change.update_beside(
            subscriptions, subscription.id, status="expired", expired_at=at.present, next_charge_at=None
        )
    plan = change.look(select(plans).where(plans.c.id == buyer.plan_id))
    start = paid.paid_at
    end = end_of(start, plan.unit, plan.every, start.day)
    subscription_id = change.insert(
        subscriptions,
        user_id=buyer.user_id,
        plan_id=buyer.plan_id,
        currency=paid.amount.currency,
        status="active",
        started_at=start,
        ended_at=end,
        billing_anchor_day=start.day,
        next_charge_at=charge_day(end, 0) if buyer.renewable and plan.recurring else None,
        created_at=at.present,
    )
    return subscription_id, (start, end)


def found(change: RowChanges, kind: str, paid: Paid, reason: str, **more: Any) -> str:
    """Leave a payment to a person, once; more: what else the finding has, or another amount."""
    facts = {"provider": paid.provider, "payment": paid.id, "paid_at": paid.paid_at.isoformat()}
    told = {"amount": paid.amount, "facts": facts} | more
    change.finding(kind, once=[paid.provider, paid.id], reason=reason, **told)
    return kind


def unconfirmed(payment: Any, state: str, change: RowChanges) -> str:
    """Report a payment that is otherwise here than at its provider, once; nothing is changed."""
    change.finding(
        "payment not at the provider",
        once=[payment.provider, payment.provider_payment_id],
        reason=f"payment {payment.id} is {payment.status} here and {state} at the provider",
        amount=payment.amount,
        facts={"provider": payment.provider, "payment": payment.provider_payment_id},
    )
    there = f"{state} at the provider"
    said = (
        f"was pending here and {there}" if payment.status == "pending" else f"succeeded here and was {there}"
    )
    change.drift(said, payment.amount)
    return "not at the provider"
