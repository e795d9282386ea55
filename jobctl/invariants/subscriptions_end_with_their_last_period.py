"""An active subscription that was paid for ends with the last of its periods."""

from sqlalchemy import func, select

from jobctl.invariants.rule import Rule
from jobctl.tables.subscriptions import subscription_periods, subscriptions
from jobctl.tables.types import Instant, inline

ours, periods = subscriptions.c, subscription_periods.c
lasts = (
    select(periods.subscription_id, func.max(periods.period_end, type_=Instant()).label("last_period_end"))
    .group_by(periods.subscription_id)
    .subquery("lasts")
)
broken = (
    select(ours.id, ours.plan_id, ours.ended_at, lasts.c.last_period_end)
    .select_from(subscriptions.join(lasts, lasts.c.subscription_id == ours.id))
    .where(ours.status == inline("active"), ours.ended_at != lasts.c.last_period_end)
)

RULE = Rule(__name__, __doc__, subscriptions, broken)
