"""An operation that is open is not settled.

Nobody would ask what became of it any more, and it would keep its subject from everything else.
"""

from sqlalchemy import select

from jobctl.invariants.rule import Rule
from jobctl.tables.journal import is_open, money_operations

ours = money_operations.c
broken = select(ours.id, ours.kind, ours.subject, ours.subject_id, ours.status, ours.settled_at).where(
    is_open, ours.settled_at.is_not(None)
)

RULE = Rule(__name__, __doc__, money_operations, broken)
