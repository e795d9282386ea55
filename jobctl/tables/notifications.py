"""People, what they want to hear, and the outbox.

The application writes users, preferences and queued notifications; the jobs write the rest.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Identity,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from jobctl.tables.types import Id, Instant, Json, Latest, forms, index, inline, metadata, one_of, personal

CHANNELS = ("email", "sms", "push", "tray", "webhook")
STATUSES = ("queued", "sent", "failed", "held", "expired", "skipped", "cancelled")
TRANSACTIONAL = "transactional"

# From what to what a status may change; nothing else may.
TRANSITIONS = {
    "queued": {"queued", "sent", "failed", "held", "expired", "skipped", "cancelled"},
    "failed": {"queued"},  # `notifications retry`
    "held": {"queued", "sent"},
}


_users = (
    Column("id", Id, Identity(), primary_key=True),
    personal(Column("name", Text, nullable=False)),
    personal(Column("email", Text)),
    personal(Column("phone", Text)),
    personal(Column("webhook_url", Text)),
    Column("locale", Text),
    Column("time_zone", Text),
    Column("created_at", Instant, nullable=False),
    Column("deleted_at", Instant),
    Column("verified_at", Instant),
)
users = Table("users", metadata, *_users, *forms(*_users))

# A row for a category goes before the row for '*', all categories; without a row, a channel is accepted.
channel_preferences = Table(
    "channel_preferences",
    metadata,
    Column("id", Id, Identity(), primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("channel", Text, nullable=False),
    Column("category", Text, nullable=False, server_default="*"),
    Column("accepted", Boolean, nullable=False),
    UniqueConstraint("user_id", "channel", "category"),
    one_of("channel", CHANNELS),
)

# No foreign key to users: an application may delete a user, whose messages are then skipped.
_notifications = (
    Column("id", Id, Identity(), primary_key=True),
    Column("user_id", Id),
    Column("channel", Text, nullable=False),
    personal(Column("address", Text)),  # instead of the user's own
    Column("category", Text, nullable=False, server_default="general"),
    Column("template", Text, nullable=False),
    personal(Column("context", Json, nullable=False)),
    Column("once_key", Text, unique=True),  # queued at most once under it
    Column("topic", Text),  # a newer message to the same user on the same topic supersedes this one
    Column("status", Text, nullable=False, server_default="queued"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("crashes", Integer, nullable=False, server_default="0"),  # runs that ended while they sent it
    Column("queued_at", Instant, nullable=False),
    Column("send_after", Instant),
    Column("next_attempt_at", Instant),
    Column(
        "due_at",
        Instant,
        Computed(Latest("queued_at", "send_after", "next_attempt_at"), persisted=True),
    ),
    Column("expires_at", Instant),
    Column("session_id", Id),  # of use only while that session is to come, and starts at expires_at
    Column("claimed_by", Id),  # a run
    Column("settled_at", Instant),  # when it was sent, or reached another last status
    personal(Column("provider_message_id", Text)),
    personal(Column("reason", Text)),
    Column("erased_at", Instant),
)
notifications = Table(
    "notifications",
    metadata,
    *_notifications,
    one_of("channel", CHANNELS),
    one_of("status", STATUSES),
    *forms(*(each for each in _notifications if each.computed is None)),
    CheckConstraint("attempts >= 0", name="attempts"),
    info={"transitions": {"status": TRANSITIONS}},
    sqlite_autoincrement=True,  # keys are derived from the id, which must not come again
)
_of = notifications.c
_unfinished = _of.status.in_([inline("failed"), inline("held")])
_unerased = _of.erased_at.is_(None) & _of.settled_at.is_not(None)
index("ix_notifications_due", _of.due_at, _of.id, where=_of.status == inline("queued"))
index("ix_notifications_claimed_by", _of.claimed_by, where=_of.claimed_by.is_not(None))
index("ix_notifications_unfinished", _of.id, where=_unfinished)
index("ix_notifications_settled_at", _of.settled_at, where=_unerased)
index("ix_notifications_topic", _of.topic, _of.user_id, _of.channel, where=_of.topic.is_not(None))

_inbox = (
    Column("id", Id, Identity(), primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("notification_id", Id, nullable=False, unique=True),
    personal(Column("subject", Text, nullable=False)),
    personal(Column("body", Text, nullable=False)),
    Column("created_at", Instant, nullable=False),
    Column("read_at", Instant),
)
# A row is what its notification says, and the trail has that one.
inbox = Table("inbox", metadata, *_inbox, *forms(*_inbox), info={"history": True})
index("ix_inbox_user_id", inbox.c.user_id, inbox.c.id)
