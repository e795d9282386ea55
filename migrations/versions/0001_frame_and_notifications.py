"""The frame's own tables, people, and the outbox."""

import sqlalchemy as sa
from alembic import op

from jobctl.tables.making import create, create_index, one_of
from jobctl.tables.types import Id, Instant, Json, Latest

revision = "0001"
down_revision = None


def upgrade() -> None:
    frame()
    people()
    outbox()


def frame() -> None:
    op.create_table("installation", sa.Column("id", sa.Text, primary_key=True))
    create(
        "runs",
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("ended_at", Instant),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("counts", Json, nullable=False),
        sa.Column("options", Json, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        one_of(
            "runs",
            "outcome",
            "running",
            "done",
            "items failed",
            "outcomes unknown",
            "interrupted",
            "failed",
            "died",
        ),
        autoincrement=True,
    )
    create_index("ix_runs_job_id", "runs", ["job", "id"])
    create_index("ix_runs_ended_at", "runs", ["ended_at"])
    create(
        "run_errors",
        sa.Column("run_id", Id, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("row_id", Id),
        sa.Column("error", sa.Text, nullable=False),
    )
    create_index("ix_run_errors_run_id", "run_errors", ["run_id", "id"])
    create_index("ix_run_errors_at", "run_errors", ["at"])
    create(
        "audit_trail",
        sa.Column("run_id", Id, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("row_id", Id, nullable=False),
        sa.Column("before", Json, nullable=False),
        sa.Column("after", Json, nullable=False),
    )
    create_index("ix_audit_trail_run_id", "audit_trail", ["run_id", "id"])
    create_index("ix_audit_trail_row", "audit_trail", ["table_name", "row_id"])
    create_index("ix_audit_trail_at", "audit_trail", ["at"])
    create(
        "idle_runs",
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("idle_runs", sa.Integer, nullable=False),
        sa.Column("last_idle_at", Instant),
        sa.Column("last_idle_exit", sa.Integer),
        sa.Column("overlapped", sa.Integer, nullable=False),
        sa.Column("last_overlap_at", Instant),
        sa.Column("last_at", Instant, nullable=False),
        sa.UniqueConstraint("job", name="uq_idle_runs_job"),
    )
    create(
        "watermarks",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("until", Instant, nullable=False),
        sa.UniqueConstraint("source", name="uq_watermarks_source"),
    )


def people() -> None:
    create(
        "users",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("phone", sa.Text),
        sa.Column("webhook_url", sa.Text),
        sa.Column("locale", sa.Text),
        sa.Column("time_zone", sa.Text),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("deleted_at", Instant),
    )
    create(
        "channel_preferences",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("category", sa.Text, nullable=False, server_default="*"),
        sa.Column("accepted", sa.Boolean, nullable=False),
        sa.UniqueConstraint(
            "user_id", "channel", "category", name="uq_channel_preferences_user_id_channel_category"
        ),
        one_of("channel_preferences", "channel", "email", "sms", "push", "tray", "webhook"),
    )


def outbox() -> None:
    create(
        "notifications",
        sa.Column("user_id", Id),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("category", sa.Text, nullable=False, server_default="general"),
        sa.Column("template", sa.Text, nullable=False),
        sa.Column("context", Json, nullable=False),
        sa.Column("once_key", sa.Text),
        sa.Column("topic", sa.Text),
        sa.Column("status", sa.Text, nullable=False, server_default="queued"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("queued_at", Instant, nullable=False),
        sa.Column("send_after", Instant),
        sa.Column("next_attempt_at", Instant),
        sa.Column(
            "due_at",
            Instant,
            sa.Computed(Latest("queued_at", "send_after", "next_attempt_at"), persisted=True),
        ),
        sa.Column("expires_at", Instant),
        sa.Column("session_id", Id),
        sa.Column("claimed_by", Id),
        sa.Column("settled_at", Instant),
        sa.Column("provider_message_id", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("erased_at", Instant),
        sa.UniqueConstraint("once_key", name="uq_notifications_once_key"),
        one_of("notifications", "channel", "email", "sms", "push", "tray", "webhook"),
        one_of(
            "notifications", "status", "queued", "sent", "failed", "held", "expired", "skipped", "cancelled"
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_notifications_attempts")),
        autoincrement=True,
    )
    create_index("ix_notifications_due", "notifications", ["due_at", "id"], "status = 'queued'")
    create_index("ix_notifications_claimed_by", "notifications", ["claimed_by"], "claimed_by IS NOT NULL")
    create_index("ix_notifications_unfinished", "notifications", ["id"], "status IN ('failed', 'held')")
    create_index(
        "ix_notifications_settled_at",
        "notifications",
        ["settled_at"],
        "erased_at IS NULL AND settled_at IS NOT NULL",
    )
    create_index(
        "ix_notifications_topic", "notifications", ["topic", "user_id", "channel"], "topic IS NOT NULL"
    )
    create(
        "inbox",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("notification_id", Id, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("read_at", Instant),
        sa.UniqueConstraint("notification_id", name="uq_inbox_notification_id"),
    )
    create_index("ix_inbox_user_id", "inbox", ["user_id", "id"])
