"""Expert sessions with their orders, and the journal of money operations."""

import sqlalchemy as sa

from jobctl.tables.making import create, create_index, one_of
from jobctl.tables.types import Currency, Id, Instant, Json

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    sessions()
    orders()
    journal()


def sessions() -> None:
    create(
        "sessions",
        sa.Column("expert_id", Id, nullable=False),
        sa.Column("consumer_id", Id, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="not_started"),
        sa.Column("instant", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("starts_at", Instant, nullable=False),
        sa.Column("ends_at", Instant, nullable=False),
        sa.Column("ended_at", Instant),
        sa.Column("over_at", Instant, sa.Computed("coalesce(ended_at, ends_at)", persisted=True)),
        sa.Column("join_url", sa.Text),
        sa.Column("reminded_start", Instant),
        sa.Column("reminded_lead", sa.Integer),
        sa.Column("attendance", sa.Text),
        sa.Column("attendance_at", Instant),
        sa.Column("cancelled_at", Instant),
        sa.Column("cancellation_reason", sa.Text),
        sa.Column("created_at", Instant, nullable=False),
        one_of("sessions", "status", "not_started", "in_progress", "ended", "cancelled"),
        one_of("sessions", "attendance", "all_present", "no_show_expert", "no_show_consumer", "none_showed"),
        sa.CheckConstraint("ends_at > starts_at", name=sa.schema.conv("ck_sessions_ends_at")),
    )
    create_index("ix_sessions_coming", "sessions", ["starts_at", "id"], "status = 'not_started'")
    create_index(
        "ix_sessions_unanalysed",
        "sessions",
        ["over_at", "id"],
        "attendance IS NULL AND status != 'cancelled'",
    )
    create(
        "attendees",
        sa.Column("session_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("joined_at", Instant, nullable=False),
        sa.Column("left_at", Instant),
        sa.UniqueConstraint("session_id", "user_id", name="uq_attendees_session_id_user_id"),
    )


def orders() -> None:
    create(
        "payment_methods",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("provider_customer", sa.Text, nullable=False),
        sa.Column("provider_method", sa.Text, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
    )
    create(
        "orders",
        sa.Column(
            "session_id",
            Id,
            sa.ForeignKey("sessions.id", name="fk_orders_session_id_sessions"),
            nullable=False,
        ),
        sa.Column("parent_order_id", Id),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("payment_method_id", Id),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", Currency, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="draft"),
        sa.Column("payment_status", sa.Text, nullable=False, server_default="not_started"),
        sa.Column("holds", sa.Integer, nullable=False, server_default="0"),
        sa.Column("payment_provider", sa.Text),
        sa.Column("payment_account", sa.Text),
        sa.Column("payment_id", sa.Text),
        sa.Column("hold_ends_at", Instant),
        sa.Column("authorized_at", Instant),
        sa.Column("captured_at", Instant),
        sa.Column("released_at", Instant),
        sa.Column("refunded_at", Instant),
        sa.Column("payment_failed_at", Instant),
        sa.Column("payment_failure", sa.Text),
        sa.Column("cancelled_at", Instant),
        sa.Column("created_at", Instant, nullable=False),
        one_of("orders", "status", "draft", "complete", "cancelled"),
        one_of(
            "orders",
            "payment_status",
            "not_started",
            "authorized",
            "captured",
            "released",
            "authorization_failed",
            "capture_failed",
        ),
        sa.CheckConstraint("amount_minor > 0", name=sa.schema.conv("ck_orders_amount_minor")),
        autoincrement=True,
    )
    create_index("ix_orders_session_id", "orders", ["session_id"])
    create_index(
        "ix_orders_awaiting_payment",
        "orders",
        ["id"],
        "status = 'complete' AND payment_status = 'not_started' OR payment_status = 'authorized'",
    )
    create_index("ix_orders_failed", "orders", ["id"], "payment_status = 'authorization_failed'")


def journal() -> None:
    create(
        "money_operations",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("subject_id", Id, nullable=False),
        sa.Column("cycle", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("request", Json, nullable=False),
        sa.Column("amount_minor", sa.BigInteger),
        sa.Column("currency", Currency),
        sa.Column("payment_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False, server_default="started"),
        sa.Column("code", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("retryable", sa.Boolean),
        sa.Column("needs_customer", sa.Boolean),
        sa.Column("effective_at", Instant),
        sa.Column("hold_ends_at", Instant),
        sa.Column("follows", Id),
        sa.Column("run_id", Id, nullable=False),
        sa.Column("claimed_by", Id),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("first_sent_at", Instant),
        sa.Column("answer_by", Instant),
        sa.Column("asked", sa.Integer, nullable=False, server_default="0"),
        sa.Column("concluded_at", Instant),
        sa.Column("settled_at", Instant),
        sa.UniqueConstraint("key", name="uq_money_operations_key"),
        one_of("money_operations", "kind", "authorize", "capture", "release", "charge", "refund"),
        one_of(
            "money_operations",
            "status",
            "started",
            "pending",
            "unknown",
            "succeeded",
            "declined",
            "rejected",
        ),
        sa.CheckConstraint("length(key) <= 64", name=sa.schema.conv("ck_money_operations_key")),
        autoincrement=True,
    )
    create_index(
        "uq_money_operations_open",
        "money_operations",
        ["subject", "subject_id"],
        "status IN ('started', 'pending', 'unknown')",
    )
    create_index(
        "uq_money_operations_succeeded",
        "money_operations",
        ["subject", "subject_id", "kind", "cycle"],
        "status = 'succeeded'",
    )
    create_index("ix_money_operations_subject", "money_operations", ["subject", "subject_id"])
    create_index("ix_money_operations_unsettled", "money_operations", ["id"], "settled_at IS NULL")
