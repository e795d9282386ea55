"""A period that jobctl charged for is paid by what was charged, of the same subscription.

What is not, or not yet, of use to anybody is in order: it may be given back.
"""

from sqlalchemy import or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments, subscription_periods, subscriptions
from jobctl.tables.types import inline

ours, operations = payments.c, money_operations.c
charge = (operations.key == ours.reference) & (operations.subject == inline(subscriptions.info["subject"]))
broken = (
    select(
        ours.id,
        ours.status,
        ours.subscription_id,
        ours.amount_minor,
        ours.currency,
        operations.id.label("operation_id"),
        operations.subject_id.label("operation_subject_id"),
        operations.amount_minor.label("operation_amount_minor"),
        operations.currency.label("operation_currency"),
    )
    .select_from(
        payments.join(money_operations, charge).join(
            subscription_periods, subscription_periods.c.payment_id == ours.id
        )
    )
    .where(
        or_(
            operations.amount_minor != ours.amount_minor,
            operations.currency != ours.currency,
            operations.subject_id != ours.subscription_id,
        )
    )
)

RULE = Rule(__name__, __doc__, payments, broken)
