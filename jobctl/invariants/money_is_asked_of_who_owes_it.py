"""Money is asked of nobody who was deleted, had cancelled, or had got the last payment back by then.

What was asked, in vain or not, and is given back or released is in order. Whoever writes these times may have
begun to do so before the request was written down, and by another clock.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import Column, FromClause, Select, exists, select, union_all

from jobctl.invariants.rule import Rule
from jobctl.tables.journal import money_operations
from jobctl.tables.notifications import users
from jobctl.tables.sessions import orders
from jobctl.tables.subscriptions import payments, subscription_periods, subscriptions
from jobctl.tables.types import Later, inline

AT_ONCE = timedelta(minutes=10)
ours, undone = money_operations.c, money_operations.alias("undone")
is_undone = exists(
    select(undone.c.id).where(
        undone.c.subject == ours.subject,
        undone.c.subject_id == ours.subject_id,
        undone.c.kind.in_([inline("refund"), inline("release")]),
        undone.c.payment_id == ours.payment_id,
    )
)


def asked_after(end: Column[Any], rows: FromClause, subject: str, why: str) -> Select[Any]:
    return (
        select(
            ours.id,
            ours.kind,
            ours.subject,
            ours.subject_id,
            ours.status,
            ours.amount_minor,
            ours.currency,
            ours.created_at,
            inline(why).label("after"),
            end.label("at"),
        )
        .select_from(rows)
        .where(
            end.is_not(None),
            ours.subject == inline(subject),
            ours.kind.in_([inline("authorize"), inline("charge")]),
            ours.status.not_in([inline("declined"), inline("rejected")]),
            ours.created_at > Later(end, AT_ONCE),
            ~is_undone,
        )
    )


ORDER, SUBSCRIPTION = orders.info["subject"], subscriptions.info["subject"]
of_orders = users.join(orders, orders.c.customer_id == users.c.id).join(
    money_operations, ours.subject_id == orders.c.id
)
of_subscriptions = subscriptions.join(money_operations, ours.subject_id == subscriptions.c.id)
of_subscribers = users.join(subscriptions, subscriptions.c.user_id == users.c.id).join(
    money_operations, ours.subject_id == subscriptions.c.id
)
renewal, periods = payments.alias("renewal"), subscription_periods.c
# The period before the one that a renewal is for, and how that was paid.
before = (periods.subscription_id == renewal.c.subscription_id) & (
    periods.period_end == renewal.c.period_start
)
of_refunded = (
    payments.join(subscription_periods, periods.payment_id == payments.c.id)
    .join(renewal, before)
    .join(money_operations, ours.key == renewal.c.reference)
)
found = union_all(
    asked_after(users.c.deleted_at, of_orders, ORDER, "its customer was deleted"),
    asked_after(users.c.deleted_at, of_subscribers, SUBSCRIPTION, "its user was deleted"),
    asked_after(subscriptions.c.cancelled_at, of_subscriptions, SUBSCRIPTION, "it was cancelled"),
    asked_after(payments.c.refunded_at, of_refunded, SUBSCRIPTION, "its last payment was given back"),
).subquery("found")

RULE = Rule(__name__, __doc__, money_operations, select(found))
