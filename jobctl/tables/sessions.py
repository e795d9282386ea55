"""Expert sessions, who came, and the card payments for them.

The application writes sessions, attendees, orders and payment methods; the jobs write what they find out
and do: reminders, attendance, holds, captures, cancellations.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Identity,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from jobctl.tables.types import Currency, Id, Instant, forms, index, inline, metadata, one_of, personal

SESSION_STATUSES = ("not_started", "in_progress", "ended", "cancelled")
ATTENDANCE = ("all_present", "no_show_expert", "no_show_consumer", "none_showed")
ORDER_STATUSES = ("draft", "complete", "cancelled")
PAYMENT_STATUSES = (
    "not_started",
    "authorized",
    "captured",
    "released",
    "authorization_failed",
    "capture_failed",
)

# From what to what a status may change; nothing else may.
SESSION_TRANSITIONS = {
    "not_started": {"in_progress", "ended", "cancelled"},
    "in_progress": {"ended", "cancelled"},
}
ORDER_TRANSITIONS = {"draft": {"complete", "cancelled"}, "complete": {"cancelled"}}
PAYMENT_TRANSITIONS = {
    # An extension that was agreed late is held and captured in one.
    "not_started": {"authorized", "captured", "authorization_failed", "capture_failed"},
    "authorized": {"authorized", "captured", "released", "capture_failed"},
    "authorization_failed": {"not_started", "capture_failed"},
    "capture_failed": {"captured", "released"},
}

_sessions = (
    Column("id", Id, Identity(), primary_key=True),
    Column("expert_id", Id, nullable=False),
    Column("consumer_id", Id, nullable=False),
    Column("status", Text, nullable=False, server_default="not_started"),
    Column("instant", Boolean, nullable=False, server_default=false()),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("ended_at", Instant),
    # Over, as far as the session itself can tell: when it was ended, else when it should be.
    Column("over_at", Instant, Computed("coalesce(ended_at, ends_at)", persisted=True)),
    personal(Column("join_url", Text)),
    Column("reminded_start", Instant),  # the start that was last reminded of, and how long before it
    Column("reminded_lead", Integer),  # seconds
    Column("attendance", Text),
    Column("attendance_at", Instant),
    Column("cancelled_at", Instant),
    Column("cancellation_reason", Text),
    Column("created_at", Instant, nullable=False),
)
sessions = Table(
    "sessions",
    metadata,
    *_sessions,
    one_of("status", SESSION_STATUSES),
    one_of("attendance", ATTENDANCE),
    CheckConstraint("ends_at > starts_at", name="ends_at"),  # else it would be over before it begins
    *forms(*(each for each in _sessions if each.computed is None)),
    info={"transitions": {"status": SESSION_TRANSITIONS}},
)
_of = sessions.c
_unanalysed = _of.attendance.is_(None) & (_of.status != inline("cancelled"))
index("ix_sessions_coming", _of.starts_at, _of.id, where=_of.status == inline("not_started"))
index("ix_sessions_unanalysed", _of.over_at, _of.id, where=_unanalysed)

# Who came, and when.
_attendees = (
    Column("id", Id, Identity(), primary_key=True),
    Column("session_id", Id, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("joined_at", Instant, nullable=False),
    Column("left_at", Instant),
)
attendees = Table(
    "attendees", metadata, *_attendees, UniqueConstraint("session_id", "user_id"), *forms(*_attendees)
)

# A card that a customer has saved at a provider, by the names that the provider has for both.
_payment_methods = (
    Column("id", Id, Identity(), primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("provider", Text, nullable=False),
    personal(Column("provider_customer", Text, nullable=False)),
    personal(Column("provider_method", Text, nullable=False)),
    Column("created_at", Instant, nullable=False),
)
payment_methods = Table("payment_methods", metadata, *_payment_methods, *forms(*_payment_methods))

_orders = (
    Column("id", Id, Identity(), primary_key=True),
    Column("session_id", Id, ForeignKey("sessions.id"), nullable=False),
    Column("parent_order_id", Id),  # of an extension: the order of the session itself
    Column("customer_id", Id, nullable=False),
    Column("payment_method_id", Id),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Currency, nullable=False),
    Column("status", Text, nullable=False, server_default="draft"),
    Column("payment_status", Text, nullable=False, server_default="not_started"),
    Column("holds", Integer, nullable=False, server_default="0"),  # how many were placed
    Column("payment_provider", Text),  # who has the hold, in which account, and its number there
    Column("payment_account", Text),
    Column("payment_id", Text),
    Column("hold_ends_at", Instant),
    Column("authorized_at", Instant),
    Column("captured_at", Instant),
    Column("released_at", Instant),
    Column("refunded_at", Instant),
    Column("payment_failed_at", Instant),
    Column("payment_failure", Text),  # the provider's code
    Column("cancelled_at", Instant),
    Column("created_at", Instant, nullable=False),
)
orders = Table(
    "orders",
    metadata,
    *_orders,
    one_of("status", ORDER_STATUSES),
    one_of("payment_status", PAYMENT_STATUSES),
    CheckConstraint("amount_minor > 0", name="amount_minor"),
    *forms(*_orders),
    info={
        "transitions": {"status": ORDER_TRANSITIONS, "payment_status": PAYMENT_TRANSITIONS},
        "subject": "order",  # of money operations
    },
    sqlite_autoincrement=True,  # keys are derived from the id, which must not come again
)
_of = orders.c
_paying = _of.payment_status
# What the payment jobs look through, all of it, however many orders are paid.
awaiting_payment = ((_of.status == inline("complete")) & (_paying == inline("not_started"))) | (
    _paying == inline("authorized")
)
index("ix_orders_session_id", _of.session_id)
index("ix_orders_awaiting_payment", _of.id, where=awaiting_payment)
index("ix_orders_failed", _of.id, where=_paying == inline("authorization_failed"))
