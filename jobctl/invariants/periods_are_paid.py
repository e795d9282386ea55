"""The payment of a period succeeded, and is one of the same subscription."""

from sqlalchemy import or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.subscriptions import payments, subscription_periods
from jobctl.tables.types import inline

ours = subscription_periods.c
broken = (
    select(
        ours.id,
        ours.subscription_id,
        ours.period_start,
        ours.payment_id,
        payments.c.status.label("payment_status"),
        payments.c.subscription_id.label("payment_subscription_id"),
    )
    .select_from(subscription_periods.join(payments, payments.c.id == ours.payment_id))
    .where(
        or_(
            payments.c.status != inline("succeeded"),
            payments.c.subscription_id.is_distinct_from(ours.subscription_id),
        )
    )
)

RULE = Rule(__name__, __doc__, subscription_periods, broken)
