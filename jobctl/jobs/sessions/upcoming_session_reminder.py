"""Remind the participants of sessions that are about to start.

Each participant gets one message on each channel that they take reminders by, in their language and time
zone, with the link to join. A session that was moved is reminded of again; reminders of its old start are
cancelled by notification-sender, which looks again before it sends.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, case, func, literal, or_

from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.tables.notifications import users
from jobctl.tables.sessions import sessions
from jobctl.tables.types import inline

ours = sessions.c
experts = users.alias("expert")
consumers = users.alias("consumer")
with_names = sessions.outerjoin(experts, experts.c.id == ours.expert_id).outerjoin(
    consumers, consumers.c.id == ours.consumer_id
)


def lead(at: At) -> ColumnElement[Any]:
    """Return the shortest of the leads that the session starts within, in seconds."""
    leads = [(ours.starts_at <= at.now + each, seconds(each)) for each in at.settings.session_reminder_leads]
    return case(*leads)


def seconds(span: timedelta) -> ColumnElement[int]:
    return literal(int(span.total_seconds()), Integer)


def due(at: At) -> Due:
    reminded = and_(ours.reminded_start == ours.starts_at, ours.reminded_lead <= lead(at))
    return Due(
        with_names,
        {
            "it has not started": ours.status == inline("not_started"),
            "it was booked ahead": ours.instant.is_(False),
            "its start is still to come": ours.starts_at > at.now,
            "it starts within the longest of SESSION_REMINDER_LEADS": ours.starts_at
            <= at.now + max(at.settings.session_reminder_leads),
            "no reminder of this start, at this lead or a shorter one, was queued": or_(
                ours.reminded_lead.is_(None), ~reminded
            ),
        },
        since=ours.starts_at,
        order=ours.starts_at,
    )


def change(at: At, batch: BatchChanges) -> None:
    batch.update(reminded_start=ours.starts_at, reminded_lead=lead(at))
    for participant, partner in ((ours.expert_id, consumers), (ours.consumer_id, experts)):
        batch.notify(
            "session-reminder",
            to=participant,
            once=[ours.id, ours.starts_at, lead(at)],
            category="reminder",
            context={
                "partner": func.coalesce(partner.c.name, inline("")),
                "starts_at": ours.starts_at,
                "join_url": func.coalesce(ours.join_url, inline("")),
            },
            expires_at=ours.starts_at,
            session_id=ours.id,
        )


JOB = SetStep(due, change, "reminded")
