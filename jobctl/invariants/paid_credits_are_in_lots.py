"""A balance of paid credits is what is left of its lots."""

from sqlalchemy import func, select

from jobctl.invariants.rule import Rule
from jobctl.tables.credits import credit_balances, credit_transactions

ours, lots = credit_balances.c, credit_transactions.c
sums = (
    select(lots.professional_id, func.sum(lots.remaining_amount).label("left_in_lots"))
    .group_by(lots.professional_id)
    .subquery("sums")
)
left = func.coalesce(sums.c.left_in_lots, 0).label("left_in_lots")
broken = (
    select(ours.id, ours.professional_id, ours.paid_credits, left)
    .select_from(credit_balances.outerjoin(sums, sums.c.professional_id == ours.professional_id))
    .where(ours.paid_credits != left)
)

RULE = Rule(__name__, __doc__, credit_balances, broken)
