"""A message that a run has claimed is still queued, unless the application has cancelled it meanwhile."""

from sqlalchemy import select

from jobctl.invariants.rule import Rule
from jobctl.tables.notifications import notifications
from jobctl.tables.types import inline

ours = notifications.c
broken = select(ours.id, ours.channel, ours.template, ours.status, ours.claimed_by).where(
    ours.claimed_by.is_not(None), ours.status.not_in([inline("queued"), inline("cancelled")])
)

RULE = Rule(__name__, __doc__, notifications, broken)
