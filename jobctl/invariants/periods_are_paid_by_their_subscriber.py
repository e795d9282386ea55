"""The payment of a period is one of the subscription's own user: by its method the next one is charged."""

from sqlalchemy import select

from jobctl.invariants.rule import Rule
from jobctl.tables.subscriptions import payments, subscription_periods, subscriptions

ours = subscription_periods.c
broken = (
    select(
        ours.id,
        ours.subscription_id,
        ours.payment_id,
        subscriptions.c.user_id,
        payments.c.user_id.label("payment_user_id"),
    )
    .select_from(
        subscription_periods.join(payments, payments.c.id == ours.payment_id).join(
            subscriptions, subscriptions.c.id == ours.subscription_id
        )
    )
    .where(payments.c.user_id != subscriptions.c.user_id)
)

RULE = Rule(__name__, __doc__, subscription_periods, broken)
