"""A captured order has one succeeded capture or charge in the journal, but for those that are given back.

Orders that a person has marked as captured, who paid in another way, have no `captured_at`.
"""

from sqlalchemy import func, or_, select

from jobctl.invariants.rule import Rule
from jobctl.invariants.taking import is_kept, taken
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders
from jobctl.tables.types import inline

ours, operations = orders.c, money_operations.c
of_its_payment = func.count(operations.id).filter(operations.payment_id == ours.payment_id)
kept = func.count(operations.id).filter(is_kept)
broken = (
    select(
        ours.id,
        ours.payment_provider,
        ours.payment_id,
        of_its_payment.label("operations_of_its_payment"),
        kept.label("operations_kept"),
    )
    .select_from(orders.outerjoin(money_operations, taken & (operations.subject_id == ours.id)))
    .where(ours.payment_status == inline("captured"), ours.captured_at.is_not(None))
    .group_by(ours.id)
    .having(or_(of_its_payment == 0, kept > 1))
)

RULE = Rule(__name__, __doc__, orders, broken)
