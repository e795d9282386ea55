"""An answer that was about something else than was asked for has a finding, so that a person decides."""

from sqlalchemy import exists, select

from jobctl.invariants.rule import Rule
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.types import inline

ours = money_operations.c
found = exists(select(findings.c.id).where(findings.c.once_key == inline("money mismatch.") + ours.key))
broken = select(
    ours.id, ours.kind, ours.subject, ours.subject_id, ours.code, ours.answered_minor, ours.answered_currency
).where(ours.status == inline("mismatched"), ours.settled_at.is_not(None), ~found)

RULE = Rule(__name__, __doc__, money_operations, broken)
