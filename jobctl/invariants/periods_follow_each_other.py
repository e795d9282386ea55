"""Each period of a subscription but the first begins where the one before it ends."""

from sqlalchemy import func, select

from jobctl.invariants.rule import Rule
from jobctl.tables.subscriptions import subscription_periods

ours = subscription_periods.c
before = func.lag(ours.period_end).over(partition_by=ours.subscription_id, order_by=ours.period_start)
periods = select(
    ours.id, ours.subscription_id, ours.period_start, before.label("previous_period_end")
).subquery("periods")
broken = select(periods).where(periods.c.period_start != periods.c.previous_period_end)

RULE = Rule(__name__, __doc__, subscription_periods, broken)
