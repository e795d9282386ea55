"""Of a request one payment is in escrow or released; of several the later ones are named."""

from sqlalchemy import and_, exists, select

from jobctl.invariants.rule import Rule
from jobctl.tables.marketplace import wallet_transactions
from jobctl.tables.types import inline

ours, first = wallet_transactions.c, wallet_transactions.alias("first")
kept = [inline("pending"), inline("released")]
one_before = exists(
    select(first.c.id).where(
        first.c.request_id == ours.request_id,
        first.c.id < ours.id,
        and_(first.c.status == inline("completed"), first.c.escrow_status.in_(kept)),
    )
)
broken = select(ours.id, ours.request_id, ours.escrow_status, ours.amount_minor, ours.currency).where(
    ours.status == inline("completed"), ours.escrow_status.in_(kept), one_before
)

RULE = Rule(__name__, __doc__, wallet_transactions, broken)
