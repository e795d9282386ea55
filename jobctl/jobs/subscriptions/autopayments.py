"""Charge subscriptions for their next period.

A subscription that ends today is charged by the method that its last payment was made with, and gets one
more period from its old end on. A decline is tried again on AUTOPAYMENT_RETRY_DAYS, once a day, unless the
customer has withdrawn the permission. Who has cancelled or is gone, who was given the last payment back, or
is about to pay by hand is not charged.
"""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import exists, select

from jobctl.job import Ask, At, Due, Look, MoneyChanges, MoneyStep, RowChanges
from jobctl.jobs.subscriptions import applying, beside
from jobctl.jobs.subscriptions.renewing import SUBSCRIPTION, charge_day, next_charge, too_late
from jobctl.journal import Operation, undisturbed
from jobctl.money import Money
from jobctl.periods import Unit
from jobctl.providers.protocol import Charge, Declined, Succeeded, UnrepresentableError
from jobctl.tables.journal import money_operations
from jobctl.tables.notifications import users
from jobctl.tables.subscriptions import payments, plans, prices, subscription_periods, subscriptions
from jobctl.tables.types import inline

ours = subscriptions.c


class Subscription(NamedTuple):
    """A subscription with its plan, what that costs now, and how it was paid last."""

    id: int
    user_id: int
    plan_id: int
    currency: str
    status: str
    cancelled_at: datetime | None
    ended_at: datetime
    billing_anchor_day: int
    plan: str
    unit: Unit
    every: int
    recurring: bool
    amount_minor: int | None
    provider: str | None
    account: str | None  # that the method was saved at; null: whichever the settings have
    customer: str | None
    method: str | None
    gone: bool  # its user
    switched: bool  # its period was charged for another plan, and that given back

    @property
    def cycle(self) -> str:
        """Return what a charge is for: the period that begins where the subscription ends."""
        day = self.ended_at.date().isoformat()
        return f"{day}-plan-{self.plan_id}" if self.switched else day


last_paid = (
    select(subscription_periods.c.payment_id)
    .where(subscription_periods.c.subscription_id == ours.id)
    .order_by(subscription_periods.c.period_start.desc())
    .limit(1)
    .scalar_subquery()
)
in_full = (
    subscriptions.join(plans, plans.c.id == ours.plan_id)
    .outerjoin(payments, payments.c.id == last_paid)
    .outerjoin(users, users.c.id == ours.user_id)
)
other = payments.alias("other")
of_another_plan = exists(
    select(money_operations.c.id)
    .join(other, other.c.reference == money_operations.c.key)
    .where(
        money_operations.c.subject == inline(SUBSCRIPTION),
        money_operations.c.subject_id == ours.id,
        money_operations.c.kind == inline("charge"),
        money_operations.c.status == inline("succeeded"),
        other.c.period_start == ours.ended_at,
        other.c.plan_id != ours.plan_id,
        other.c.refunded_at.is_not(None),
    )
)
is_there = users.c.id.is_not(None) & users.c.deleted_at.is_(None)


def due(at: At) -> Due:
    tomorrow = charge_day(at.now, 1)
    price = (
        select(prices.c.amount_minor)
        .where(prices.c.plan_id == plans.c.id, prices.c.currency == ours.currency)
        .where(prices.c.valid_from <= at.now)
        .order_by(prices.c.valid_from.desc())
        .limit(1)
        .scalar_subquery()
    )
    read: dict[str, Any] = {name: ours[name] for name in Subscription._fields if name in ours}
    read |= {"plan": plans.c.name, "amount_minor": price}
    read |= {"unit": plans.c.unit, "every": plans.c.every, "recurring": plans.c.recurring}
    read |= {"provider": payments.c.provider, "account": payments.c.account}
    read |= {"customer": payments.c.provider_customer}
    read |= {"method": payments.c.provider_method, "gone": ~is_there, "switched": of_another_plan}
    return Due(
        in_full,
        {
            "it is active": ours.status == inline("active"),
            "nobody has cancelled it": ours.cancelled_at.is_(None),
            "its user exists and was not deleted": is_there,
            "its plan is active and recurring": plans.c.active & plans.c.recurring,
            "a payment method was saved with its last payment": payments.c.provider_method.is_not(None),
            "that payment was its user's own": payments.c.user_id == ours.user_id,
            "that payment was not given back": payments.c.refunded_at.is_(None),
            "it ends today or before (UTC)": ours.ended_at < tomorrow,
            "its next charge is due": ours.next_charge_at <= at.now,
            # What nobody was served for is never charged.
            "it ended within SUBSCRIPTION_GRACE or AUTOPAYMENT_RETRY_DAYS": ours.ended_at
            > at.now - too_late(at.settings),
            "no payment of it is pending that its provider may have by now": beside.none_of_it(at),
            "nor one of its user for its plan": beside.none_of_buyer(at),
            **undisturbed(SUBSCRIPTION, ours.id),
        },
        since=ours.ended_at,
        order=ours.next_charge_at,
        read={name: read[name] for name in Subscription._fields},
    )


def ask(at: At, subscription: Subscription) -> Ask | Declined:  # noqa: ARG001 (every step's ask has these)
    if subscription.amount_minor is None:
        raise UnrepresentableError(f"plan {subscription.plan_id} has no price in {subscription.currency}")
    assert subscription.provider is not None, "a saved method without its provider"
    assert subscription.method is not None, "a candidate without a saved method"
    amount = Money(subscription.amount_minor, subscription.currency)
    # By these the matching jobs know whose payment it is.
    metadata = {
        "user_id": str(subscription.user_id),
        "plan_id": str(subscription.plan_id),
        "payment_provider_id": subscription.provider,
    }
    charge = Charge(amount, subscription.customer, subscription.method, metadata)
    return Ask(subscription.cycle, subscription.provider, charge, subscription.account)


def begin(at: At, subscription: Subscription, operation: Operation, change: RowChanges) -> None:
    change.insert(
        payments,
        user_id=subscription.user_id,
        plan_id=subscription.plan_id,
        subscription_id=subscription.id,
        provider=operation.provider,
        account=operation.account,
        reference=operation.key,
        provider_customer=subscription.customer,
        provider_method=subscription.method,
        amount_minor=operation.amount_minor,
        currency=operation.currency,
        period_start=subscription.ended_at,
        created_at=at.present,
    )


def withdraw(at: At, operation: Operation, code: str, change: RowChanges) -> None:
    """End the payment of a charge that never took place; another charge gets another payment."""
    payment = applying.payment_of(change.look, operation.key)
    if payment is not None and payment.status == "pending":
        cancelled = {"status": "cancelled", "cancelled_at": at.present, "failure": code}
        change.update_beside(payments, payment.id, **cancelled)


def wanted(at: At, subscription: Subscription, operation: Operation, look: Look) -> bool:  # noqa: ARG001 (every step's has these)
    if operation.kind == "refund":
        return True
    payment = applying.payment_of(look, operation.key)
    if payment is not None and applying.has_paid(look, payment.id):
        return True
    return is_for(operation, payment, subscription)


def is_for(operation: Operation, payment: Any, subscription: Subscription) -> bool:
    """Tell whether a charge still is for the subscription's next period, of the plan that it has now."""
    same = payment is None or payment.plan_id == subscription.plan_id
    return stands(subscription) and operation.cycle == subscription.cycle and same


def stands(subscription: Subscription) -> bool:
    """Tell whether there is somebody who is to have another period."""
    return subscription.status == "active" and subscription.cancelled_at is None and not subscription.gone


def settle(
    at: At,
    subscription: Subscription,
    operation: Operation | None,
    answer: Succeeded | Declined,
    change: MoneyChanges,
) -> str:
    assert operation is not None, "nothing is refused without a request"
    if operation.kind == "refund":
        return refunded(at, operation, answer, change)
    if isinstance(answer, Declined):
        return declined(at, subscription, operation, answer, change)
    payment = applying.payment_of(change.look, operation.key)
    if payment is None:
        return without_payment(subscription, operation, answer, change)
    applying.succeeded(at, payment, answer.payment_id, change)
    if applying.has_paid(change.look, payment.id):
        return "renewed already"
    if not is_for(operation, payment, subscription):
        return "paid too late"
    values = applying.extended(subscription)
    period = (subscription.ended_at, values["ended_at"])
    applying.add_period(at, subscription.id, period, payment.id, change)
    change.update(**values)
    change.notify(
        "subscription-renewed",
        to=subscription.user_id,
        once=[subscription.id, operation.cycle],
        category="transactional",
        context={**told(subscription, operation), "ended_at": values["ended_at"].isoformat()},
    )
    return "renewed"


def without_payment(
    subscription: Subscription, operation: Operation, answer: Succeeded, change: MoneyChanges
) -> str:
    """Leave to a person a charge whose row was deleted meanwhile; what nobody wants is given back as ever."""
    if stands(subscription):
        told = f"{operation.amount} were taken for subscription {subscription.id}, and the payment"
        change.finding(
            "payment deleted",
            once=[operation.key],
            reason=f"{told} {operation.key} is gone: insert it again, or give them back",
            amount=operation.amount,
            facts={"provider": operation.provider, "payment": answer.payment_id, "operation": operation.id},
            waits=(SUBSCRIPTION, subscription.id),
        )
    return "paid without its payment"


def told(subscription: Subscription, operation: Operation) -> dict[str, Any]:
    amount = operation.amount
    return {"plan": subscription.plan, "amount": {"minor": amount.minor, "currency": amount.currency}}


def refunded(at: At, operation: Operation, answer: Succeeded | Declined, change: MoneyChanges) -> str:
    if isinstance(answer, Declined):
        return "declined"
    theirs = payments.c.provider_payment_id == operation.payment_id
    payment = change.look(select(payments.c.id).where(payments.c.provider == operation.provider, theirs))
    if payment is not None:
        change.update_beside(payments, payment.id, refunded_at=at.present)
    return "refunded"


def declined(
    at: At, subscription: Subscription, operation: Operation, answer: Declined, change: MoneyChanges
) -> str:
    payment = applying.payment_of(change.look, operation.key)
    if payment is not None and payment.status == "pending":
        change.update_beside(
            payments,
            payment.id,
            status="cancelled",
            cancelled_at=at.present,
            failure=answer.code,
            provider_payment_id=answer.payment_id,
        )
    if subscription.status != "active" or operation.cycle != subscription.cycle:
        return "declined"
    forbidden = not (answer.retryable or answer.needs_customer) or not stands(subscription)
    again = None if forbidden else next_charge(at.settings, subscription.ended_at, at.present)
    change.update(next_charge_at=again)
    if not stands(subscription):
        return "declined"
    change.notify(
        "renewal-declined",
        to=subscription.user_id,
        once=[operation.key],
        category="transactional",
        context={
            **told(subscription, operation),
            "again_at": again and again.isoformat(),
            "until": (subscription.ended_at + at.settings.subscription_grace).isoformat(),
        },
    )
    return "declined"


JOB = MoneyStep(
    subject=SUBSCRIPTION,
    kinds=("charge", "release", "refund"),
    row=Subscription,
    due=due,
    ask=ask,
    wanted=wanted,
    settle=settle,
    concurrency=lambda settings: settings.payment_concurrency,
    begin=begin,
    withdraw=withdraw,
)
