"""A payment for a request says in `escrow_status` what is held of it, and one that is pending is for escrow.

Otherwise no job verifies it, releases it or gives it back.
"""

from sqlalchemy import and_, or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.marketplace import wallet_transactions
from jobctl.tables.types import inline

ours = wallet_transactions.c
broken = select(ours.id, ours.request_id, ours.status, ours.escrow_status).where(
    ours.request_id.is_not(None),
    or_(
        and_(
            ours.status == inline("pending"),
            ours.escrow_status.is_distinct_from(inline("pending")),
        ),
        and_(
            ours.status.in_([inline("completed"), inline("unverified")]),
            ours.escrow_status.is_(None),
        ),
    ),
)

RULE = Rule(__name__, __doc__, wallet_transactions, broken)
