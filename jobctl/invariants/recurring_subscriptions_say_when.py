"""An active subscription that can be charged says when, unless a charge for its next period has failed.

Without `next_charge_at` no job ever charges it; whoever wants no renewal has cancelled it (`cancelled_at`).
"""

from sqlalchemy import exists, select

from jobctl.invariants.rule import Rule
from jobctl.tables.notifications import users
from jobctl.tables.subscriptions import payments, plans, subscription_periods, subscriptions
from jobctl.tables.types import inline

ours, last, periods = subscriptions.c, payments.alias("last"), subscription_periods.c
last_paid = (
    select(periods.payment_id)
    .where(periods.subscription_id == ours.id)
    .order_by(periods.period_start.desc())
    .limit(1)
    .scalar_subquery()
)
tried = exists(
    select(payments.c.id).where(
        payments.c.subscription_id == ours.id,
        payments.c.period_start == ours.ended_at,
        payments.c.status == inline("cancelled"),
    )
)
broken = (
    select(ours.id, ours.user_id, ours.plan_id, ours.ended_at, last.c.id.label("last_payment_id"))
    .select_from(
        subscriptions.join(plans, plans.c.id == ours.plan_id)
        .join(users, users.c.id == ours.user_id)
        .join(last, last.c.id == last_paid)
    )
    .where(
        ours.status == inline("active"),
        ours.next_charge_at.is_(None),
        ours.cancelled_at.is_(None),
        users.c.deleted_at.is_(None),
        plans.c.active & plans.c.recurring,
        last.c.provider_method.is_not(None),
        last.c.user_id == ours.user_id,
        last.c.refunded_at.is_(None),
        ~tried,
    )
)

RULE = Rule(__name__, __doc__, subscriptions, broken)
