"""A release or refund that must follow and was refused is asked for again, until it is done."""

from sqlalchemy import exists, select

from jobctl.invariants.rule import Rule
from jobctl.tables.journal import money_operations
from jobctl.tables.types import inline

ours, later = money_operations.c, money_operations.alias("later")
# By its subject first: that is what the index has.
goes_on = exists(
    select(later.c.id).where(
        later.c.subject == ours.subject,
        later.c.subject_id == ours.subject_id,
        later.c.kind == ours.kind,
        later.c.follows == ours.follows,
        later.c.id > ours.id,
    )
)
broken = select(ours.id, ours.kind, ours.subject, ours.subject_id, ours.status, ours.code).where(
    ours.kind.in_([inline("release"), inline("refund")]),
    ours.status.in_([inline("declined"), inline("rejected")]),
    ours.follows.is_not(None),
    ours.settled_at.is_not(None),
    ~goes_on,
)

RULE = Rule(__name__, __doc__, money_operations, broken)
