"""Money that was taken is the payment of a captured order, or it is given back."""

from sqlalchemy import exists, select

from jobctl.invariants.rule import Rule
from jobctl.invariants.taking import is_kept, taken
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders
from jobctl.tables.types import inline

ours = money_operations.c
paid = exists(
    select(orders.c.id).where(
        orders.c.id == ours.subject_id,
        orders.c.payment_status == inline("captured"),
        orders.c.payment_id == ours.payment_id,
    )
)
broken = select(
    ours.id, ours.kind, ours.subject, ours.subject_id, ours.payment_id, ours.amount_minor, ours.currency
).where(taken, is_kept, ~paid)

RULE = Rule(__name__, __doc__, money_operations, broken)
