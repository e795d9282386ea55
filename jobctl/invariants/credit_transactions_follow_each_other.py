"""Each transaction of a professional's credits begins with the balances that the one before it left."""

from sqlalchemy import ColumnElement, func, or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.credits import credit_transactions

ours = credit_transactions.c


def left_before(balance: ColumnElement[int]) -> ColumnElement[int]:
    return func.lag(balance).over(partition_by=ours.professional_id, order_by=ours.id)


moves = select(
    ours.id,
    ours.professional_id,
    ours.free_before,
    left_before(ours.free_after).label("free_left"),
    ours.paid_before,
    left_before(ours.paid_after).label("paid_left"),
).subquery("moves")
found = moves.c
broken = select(moves).where(or_(found.free_before != found.free_left, found.paid_before != found.paid_left))

RULE = Rule(__name__, __doc__, credit_transactions, broken)
