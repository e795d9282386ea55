"""Find out who came to the sessions that are over.

A session is over when it was ended, or some minutes after it should have. Whoever missed it is told so,
and a customer whose expert did not come gets an apology; session-payment-processor goes by the result.
"""

from sqlalchemy import Column, ColumnElement, Text, and_, case, or_, select

from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.tables.sessions import attendees, sessions
from jobctl.tables.types import Later, inline

ours = sessions.c


def came(participant: Column[int]) -> ColumnElement[bool]:
    # No EXISTS, for which PostgreSQL may read all attendees for each page of sessions.
    theirs = (attendees.c.session_id == ours.id) & (attendees.c.user_id == participant)
    return select(attendees.c.user_id).where(theirs).scalar_subquery().is_not(None)


result = case(
    (
        came(ours.consumer_id),
        case((came(ours.expert_id), inline("all_present")), else_=inline("no_show_expert")),
    ),
    (came(ours.expert_id), inline("no_show_consumer")),
    else_=inline("none_showed"),
).cast(Text)


def due(at: At) -> Due:
    should_be_over = ours.ends_at <= at.now - at.settings.session_attendance_grace
    return Due(
        sessions,
        {
            "attendance is not known yet": ours.attendance.is_(None),
            "it was not cancelled": ours.status != inline("cancelled"),
            # The rest implies `over_at`, which has an index: no run reads the sessions to come.
            "it was ended, or should have SESSION_ATTENDANCE_GRACE ago": and_(
                ours.over_at <= at.now, or_(ours.ended_at.is_not(None), should_be_over)
            ),
        },
        since=ours.over_at,
        waits_since=Later(ours.over_at, at.settings.session_attendance_grace),
        order=ours.over_at,
        read={"result": result},
    )


def change(at: At, batch: BatchChanges) -> None:
    batch.update(attendance=result, attendance_at=at.now)
    expert_missed = result.in_([inline("no_show_expert"), inline("none_showed")])
    consumer_missed = result == inline("no_show_consumer")
    for template, who, when in (
        ("session-missed-by-expert", ours.expert_id, expert_missed),
        ("session-apology", ours.consumer_id, expert_missed),
        ("session-missed", ours.consumer_id, consumer_missed),
    ):
        batch.notify(
            template,
            to=who,
            once=[ours.id],
            category="session",
            context={"starts_at": ours.starts_at},
            when=when,
        )


JOB = SetStep(due, change, "analysed")
