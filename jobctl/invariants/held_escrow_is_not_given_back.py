"""What is held in escrow was not given back, nor is a refund of it under way."""

from sqlalchemy import exists, or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.journal import is_open, money_operations
from jobctl.tables.marketplace import wallet_transactions
from jobctl.tables.types import inline

ours, operations = wallet_transactions.c, money_operations.c
given_back = exists(
    select(operations.id).where(
        operations.subject == inline(wallet_transactions.info["subject"]),
        operations.subject_id == ours.id,
        operations.kind == inline("refund"),
        or_(operations.status == inline("succeeded"), is_open),
    )
)
broken = select(ours.id, ours.request_id, ours.reference, ours.refunded_at).where(
    ours.status == inline("completed"),
    ours.escrow_status == inline("pending"),
    or_(ours.refunded_at.is_not(None), given_back),
)

RULE = Rule(__name__, __doc__, wallet_transactions, broken)
