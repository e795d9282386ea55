"""An order that is authorized goes by a hold that succeeded in the journal."""

from sqlalchemy import exists, select

from jobctl.invariants.rule import Rule
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders
from jobctl.tables.types import inline

ours, operations = orders.c, money_operations.c
hold = exists(
    select(operations.id).where(
        operations.subject == inline(orders.info["subject"]),
        operations.subject_id == ours.id,
        operations.kind == inline("authorize"),
        operations.status == inline("succeeded"),
        operations.provider == ours.payment_provider,
        operations.payment_id == ours.payment_id,
    )
)
broken = select(ours.id, ours.holds, ours.payment_provider, ours.payment_id).where(
    ours.payment_status == inline("authorized"), ~hold
)

RULE = Rule(__name__, __doc__, orders, broken)
