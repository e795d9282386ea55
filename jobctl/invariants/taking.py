"""How the journal says that money was taken for an order. No rule of its own: two rules begin with it."""

from sqlalchemy import and_, exists, select

from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders
from jobctl.tables.types import inline

refunds = money_operations.alias("refunds")
ours = money_operations.c
taken = and_(
    ours.subject == inline(orders.info["subject"]),
    ours.kind.in_([inline("capture"), inline("charge")]),
    ours.status == inline("succeeded"),
)
# By its subject first: that is what the index has. What became of a refund, people are told by the jobs.
given_back = exists(
    select(refunds.c.id).where(
        refunds.c.subject == ours.subject,
        refunds.c.subject_id == ours.subject_id,
        refunds.c.kind == inline("refund"),
        refunds.c.follows == ours.id,
        # One that was refused gave nothing back.
        refunds.c.status.not_in([inline("declined"), inline("rejected")]),
    )
)
# One that its order has not followed yet may still be undone.
is_kept = and_(ours.settled_at.is_not(None), ~given_back)
