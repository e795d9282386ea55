"""Send the notifications that the application and other jobs have queued.

Each message goes out over its channel: e-mail, webhook, or the in-app tray. What fails for a passing
reason is tried again later, what is past its time expires, and an outage of a channel costs nobody
their message.
"""

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, func, select

from jobctl.channels.protocol import Answer, Message, Refused, Sent
from jobctl.channels.switchboard import Switchboard, flaw, refuse_unconfigured, scopes_of
from jobctl.channels.tray import Placed
from jobctl.errors import Exit
from jobctl.job import At, Broken, Call, Due, EffectStep, Lost, RowChanges, ScopeDownError
from jobctl.outside_text import ornament
from jobctl.settings import Settings
from jobctl.tables.notifications import TRANSACTIONAL, channel_preferences, inbox, notifications, users
from jobctl.tables.sessions import sessions
from jobctl.tables.types import inline

if TYPE_CHECKING:
    from jobctl.rendering import Rendered

LONGEST_WAIT = timedelta(hours=1)
PUT_BACK, AGAIN = "put back", "queued again"


class Queued(NamedTuple):
    """A queued message with its recipient, as far as there is one."""

    id: int
    claimed_by: int | None
    user_id: int | None
    status: str
    channel: str
    address: str | None
    category: str
    template: str
    context: Any
    attempts: int
    crashes: int
    queued_at: datetime
    expires_at: datetime | None
    superseded_by: int | None
    session_id: int | None
    session_status: str | None
    session_starts_at: datetime | None
    known_user: int | None
    name: str | None
    email: str | None
    phone: str | None
    webhook_url: str | None
    locale: str | None
    time_zone: str | None
    deleted_at: datetime | None
    accepts_category: bool | None
    accepts_channel: bool | None


class Final(NamedTuple):
    """A message that is not sent, and needs nobody: what becomes of it, and why."""

    status: str
    reason: str


ours = notifications.c
for_category = channel_preferences.alias("for_category")
for_all = channel_preferences.alias("for_all")
newer = notifications.alias("newer")

recipients = (
    notifications.outerjoin(users, users.c.id == ours.user_id)
    .outerjoin(
        for_category,
        and_(
            for_category.c.user_id == ours.user_id,
            for_category.c.channel == ours.channel,
            for_category.c.category == ours.category,
        ),
    )
    .outerjoin(
        for_all,
        and_(
            for_all.c.user_id == ours.user_id,
            for_all.c.channel == ours.channel,
            for_all.c.category == inline("*"),
        ),
    )
    .outerjoin(sessions, sessions.c.id == ours.session_id)
)
superseded_by = (
    select(func.max(newer.c.id))
    .where(
        newer.c.topic == ours.topic,
        newer.c.user_id == ours.user_id,
        newer.c.channel == ours.channel,
        newer.c.id > ours.id,
        newer.c.status.in_([inline("queued"), inline("sent")]),
    )
    .scalar_subquery()
)
READ = {
    **{name: ours[name] for name in Queued._fields if name in ours},
    "superseded_by": superseded_by,
    "session_status": sessions.c.status,
    "session_starts_at": sessions.c.starts_at,
    "known_user": users.c.id,
    **{name: users.c[name] for name in Queued._fields if name in users.c and name not in ours},
    "accepts_category": for_category.c.accepted,
    "accepts_channel": for_all.c.accepted,
}


def due(at: At) -> Due:
    return Due(
        recipients,
        {
            "it is queued": ours.status == inline("queued"),
            # The latest of queued_at, send_after and next_attempt_at, computed by the database.
            "its time to be sent has come": ours.due_at <= at.now,
        },
        since=ours.queued_at,
        order=ours.due_at,
        read={name: READ[name] for name in Queued._fields},
        waits_since=ours.due_at,
        put_off=(ours.status == inline("queued")) & (ours.next_attempt_at > at.now),
    )


def ask(at: At, row: Queued) -> Call[Message] | Answer | Final:
    if final := not_to_be_sent(at, row):
        return final
    address = address_of(row)
    if not address and row.channel != "tray":
        return Refused(f"the recipient has no address for {row.channel}", permanent=True)
    return write(at, row, address or "")


def not_to_be_sent(at: At, row: Queued) -> Final | None:
    if row.expires_at and row.expires_at <= at.present:
        return Final("expired", "it was past its expires_at")
    if row.superseded_by:
        return Final("cancelled", f"superseded by notification {row.superseded_by}")
    if row.session_id and (row.session_status, row.session_starts_at) != ("not_started", row.expires_at):
        return Final("cancelled", "its session was moved, was cancelled or has begun")
    if row.user_id and (row.known_user is None or row.deleted_at):
        return Final("skipped", "the recipient is gone")
    if row.category != TRANSACTIONAL and not accepted(row):
        return Final("skipped", f"the recipient opted out of {row.channel}")
    return None


def accepted(row: Queued) -> bool:
    """Tell whether the recipient takes it: what they said of the category goes before the channel's."""
    if row.accepts_category is not None:
        return row.accepts_category
    return row.accepts_channel is not False


def address_of(row: Queued) -> str | None:
    if row.channel == "tray":
        return None
    own = {"email": row.email, "sms": row.phone, "push": None, "webhook": row.webhook_url}
    return row.address or own[row.channel]


def write(at: At, row: Queued, address: str) -> Call[Message] | Answer:
    refuse_unconfigured(at.settings, row.channel)
    if row.channel == "tray" and row.user_id is None:
        return Refused("a tray message needs a user", permanent=True)
    if not isinstance(row.context, dict):
        return Refused("its context is no JSON object", permanent=True)
    # Rendering and its libraries are loaded only once something is due.
    from jobctl.rendering import Reader, Rendered, RenderError, templates  # noqa: PLC0415

    rendered = Rendered(row.template, "", None)
    if row.channel != "webhook":  # a machine reads the context itself
        reader = Reader(ornament(row.name or ""), row.locale, row.time_zone)
        try:
            found = templates(at.settings.templates_folder, at.settings.default_locale)
            rendered = found.render(row.template, reader, row.context)
        except RenderError as error:
            return Refused(str(error), permanent=True)
    return request(compose(at, row, address, rendered))


def request(message: Message) -> Call[Message] | Answer:
    if message.channel == "tray":
        return Placed(subject=message.subject, text=message.text)
    if reason := flaw(message):
        return Refused(reason, permanent=True)
    shown = {
        "channel": message.channel,
        "to": f"user {message.user_id}" if message.user_id else "the address given",
        "template": message.template,
        "subject": message.subject,
        "key": message.key,
    }
    return Call(scopes_of(message), message, shown)


def compose(at: At, row: Queued, address: str, rendered: "Rendered") -> Message:
    return Message(
        id=row.id,
        channel=row.channel,
        key=f"{at.installation}.notification-{row.id}",
        user_id=row.user_id,
        recipient=ornament(row.name or ""),
        address=address,
        template=row.template,
        category=row.category,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        queued_at=row.queued_at,
        data=row.context,
    )


def call(outside: Switchboard, message: Message) -> Answer:
    return outside.send(message)


def may_pass(at: At, row: Queued, answer: Answer | Final) -> bool:
    """Tell whether an answer is a failure that may be the channel's; what is to be held is no such."""
    if isinstance(answer, Lost):
        return row.channel not in at.settings.on_uncertain.hold
    return isinstance(answer, Refused) and not answer.permanent


def settle(at: At, row: Queued, answer: Answer | Final | Broken | ScopeDownError, change: RowChanges) -> str:
    match answer:
        case ScopeDownError():
            return put_back(at, row, answer, change)
        case Sent():
            return sent(at, row, answer, change)
        case Final():
            change.update(status=answer.status, reason=answer.reason, settled_at=at.present)
            if answer.status == "cancelled":
                change.update(once_key=None)  # a session that is moved back is reminded of again
            return answer.status
        case Lost() if row.channel in at.settings.on_uncertain.hold:
            return held(at, row, answer.reason, change)
        case Lost() | Refused(permanent=False):
            return again(at, row, answer, change)
    return failed(at, answer.reason, change)


def sent(at: At, row: Queued, answer: Sent, change: RowChanges) -> str:
    if isinstance(answer, Placed):
        change.insert(
            inbox,
            once=["notification_id"],
            user_id=row.user_id,
            notification_id=row.id,
            subject=answer.subject,
            body=answer.text,
            created_at=at.present,
        )
    change.update(
        status="sent", settled_at=at.present, provider_message_id=answer.provider_message_id, reason=None
    )
    return "sent"


def again(at: At, row: Queued, answer: Lost | Refused, change: RowChanges) -> str:
    """Queue it again after a wait that doubles with each attempt, as long as it is to be tried.

    Counted are the waits that were meant. While its channel is closed a message is not tried.
    """
    if isinstance(answer, Lost) and row.claimed_by:
        return crashed(at, row, answer, change)
    made = row.attempts + 1  # it was read without this one
    waits = [wait(at.settings, each) for each in range(1, made + 1)]
    if sum(waits, timedelta()) > at.settings.notification_retry_for:
        return failed(at, f"{answer.reason} (attempt {made}, the last)", change)
    delay = waits[-1] * random.uniform(0.75, 1.25)  # noqa: S311 (jitter, so that a burst doesn't come back as one)
    at_least = answer.retry_after if isinstance(answer, Refused) else None
    change.update(
        status="queued", next_attempt_at=at.present + max(delay, at_least or delay), reason=answer.reason
    )
    return AGAIN


def wait(settings: Settings, attempt: int) -> timedelta:
    """Return how long to wait after so many attempts."""
    times: int = 2 ** min(attempt - 1, 20)  # by then it is the longest wait, whatever it began with
    return min(settings.notification_retry_delay * times, LONGEST_WAIT)


def crashed(at: At, row: Queued, lost: Lost, change: RowChanges) -> str:
    """Queue it again, with the attempt that the run which ended had counted; at last it is given up."""
    crashes = row.crashes + 1 if lost.blamed else row.crashes
    if crashes >= at.settings.notification_max_attempts and lost.blamed:
        change.update(crashes=crashes)
        return failed(at, f"{lost.reason} ({crashes} times)", change)
    change.update(
        status="queued",
        next_attempt_at=None,
        reason=lost.reason,
        attempts=max(0, row.attempts - 1),
        crashes=crashes,
    )
    return AGAIN


def held(at: At, row: Queued, reason: str, change: RowChanges) -> str:
    change.update(status="held", reason=reason, settled_at=at.present)
    change.error(f"it may or may not have been sent: {reason}; jobctl notifications retry {row.id}")
    return "held"


def put_back(at: At, row: Queued, down: ScopeDownError, change: RowChanges) -> str:
    """Give the attempt back, and keep the reason; a row that the channel went down with goes after others."""
    change.update(attempts=row.attempts, reason=down.reason)
    if down.exit_code == Exit.UNREACHABLE:
        pause = down.retry_after or at.settings.notification_retry_delay
        change.update(next_attempt_at=at.present + pause)
    return PUT_BACK


def failed(at: At, reason: str, change: RowChanges) -> str:
    change.update(status="failed", reason=reason, settled_at=at.present)
    change.error(reason)
    return "failed"


JOB = EffectStep(
    row=Queued,
    due=due,
    connect=Switchboard,
    ask=ask,
    call=call,
    settle=settle,
    concurrency=lambda settings: settings.notification_concurrency,
    lane=ours.channel,
    passing=may_pass,
    pace=lambda settings: {"email": settings.email_rate_limit, "webhook": settings.webhook_rate_limit},
)
