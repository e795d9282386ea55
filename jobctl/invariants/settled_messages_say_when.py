"""A message that was sent, failed, is held, expired or was skipped says when; one that is queued does not.

One that is cancelled may have been cancelled by the application, which says no more.
"""

from sqlalchemy import and_, or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.notifications import STATUSES, notifications
from jobctl.tables.types import inline

ours = notifications.c
by_jobs = [inline(each) for each in STATUSES if each not in ("queued", "cancelled")]
broken = select(ours.id, ours.channel, ours.template, ours.status, ours.settled_at).where(
    or_(
        and_(ours.status.in_(by_jobs), ours.settled_at.is_(None)),
        and_(ours.status == inline("queued"), ours.settled_at.is_not(None)),
    )
)

RULE = Rule(__name__, __doc__, notifications, broken)
