"""A credit balance is what its professional's last transaction left."""

from sqlalchemy import func, or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.credits import credit_balances, credit_transactions

ours, moved = credit_balances.c, credit_transactions.c
newest = select(func.max(moved.id)).group_by(moved.professional_id)
last = (
    select(moved.professional_id, moved.free_after, moved.paid_after)
    .where(moved.id.in_(newest))
    .subquery("last")
)
broken = (
    select(
        ours.id,
        ours.professional_id,
        ours.free_credits,
        last.c.free_after,
        ours.paid_credits,
        last.c.paid_after,
    )
    .select_from(credit_balances.join(last, last.c.professional_id == ours.professional_id))
    .where(or_(ours.free_credits != last.c.free_after, ours.paid_credits != last.c.paid_after))
)

RULE = Rule(__name__, __doc__, credit_balances, broken)
