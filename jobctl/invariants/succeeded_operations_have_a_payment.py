"""An operation that succeeded has the number of its payment at the provider."""

from sqlalchemy import select

from jobctl.invariants.rule import Rule
from jobctl.tables.journal import money_operations
from jobctl.tables.types import inline

ours = money_operations.c
broken = select(ours.id, ours.kind, ours.subject, ours.subject_id, ours.provider).where(
    ours.status == inline("succeeded"), ours.payment_id.is_(None)
)

RULE = Rule(__name__, __doc__, money_operations, broken)
