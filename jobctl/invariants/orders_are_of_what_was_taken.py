"""An order's amount is what is held, or was taken, for it, unless that is given back.

Orders that a person has marked as captured, who paid in another way, have no `captured_at`.
"""

from sqlalchemy import and_, case, or_, select

from jobctl.invariants.rule import Rule
from jobctl.invariants.taking import given_back
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders
from jobctl.tables.types import inline

ours, operations = orders.c, money_operations.c
is_held = and_(ours.payment_status == inline("authorized"), operations.kind == inline("authorize"))
is_taken = and_(
    ours.payment_status == inline("captured"),
    ours.captured_at.is_not(None),
    ours.refunded_at.is_(None),
    operations.kind.in_([inline("capture"), inline("charge")]),
    ~given_back,
)
goes_by = and_(
    operations.subject == inline(orders.info["subject"]),
    operations.subject_id == ours.id,
    operations.status == inline("succeeded"),
    operations.provider == ours.payment_provider,
    operations.payment_id == ours.payment_id,
)
broken = (
    select(
        ours.id,
        ours.amount_minor,
        ours.currency,
        case((is_held, inline("held")), else_=inline("taken")).label("what"),
        operations.id.label("operation_id"),
        operations.amount_minor.label("operation_amount_minor"),
        operations.currency.label("operation_currency"),
    )
    .select_from(orders.join(money_operations, goes_by))
    .where(
        or_(is_held, is_taken),
        or_(operations.amount_minor != ours.amount_minor, operations.currency != ours.currency),
    )
)

RULE = Rule(__name__, __doc__, orders, broken)
