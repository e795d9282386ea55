"""What proves an outcome: answers that don't match, absences looked at again, what waits for a person."""

import sqlalchemy as sa
from alembic import op

from jobctl.tables.making import add_column, create, create_index, one_of
from jobctl.tables.types import Currency, Id, Instant, Json

revision = "0008"
down_revision = "0007"

JOURNAL = "money_operations"
STATUSES = ("started", "pending", "unknown", "succeeded", "declined", "rejected", "mismatched")
ADDED = (
    ("answered_minor", sa.BigInteger),
    ("answered_currency", Currency),
    ("missed_at", Instant),
    ("look_until", Instant),
)
INDEXES = {
    "uq_money_operations_open": (["subject", "subject_id"], "status IN ('started', 'pending', 'unknown')"),
    "uq_money_operations_succeeded": (["subject", "subject_id", "kind", "cycle"], "status = 'succeeded'"),
    "ix_money_operations_subject": (["subject", "subject_id"], None),
    "ix_money_operations_unsettled": (["id"], "settled_at IS NULL OR look_until IS NOT NULL"),
}


def upgrade() -> None:
    journal()
    add_column("findings", sa.Column("subject", sa.Text))
    add_column("findings", sa.Column("subject_id", Id))
    waiting = "status = 'open' AND subject IS NOT NULL"
    create_index("ix_findings_waiting", "findings", ["subject", "subject_id"], waiting)
    pending = "status = 'pending'"
    create_index("ix_payments_pending_of_buyer", "payments", ["user_id", "plan_id"], pending)
    create_index("ix_payments_pending_of_subscription", "payments", ["subscription_id"], pending)
    add_column("wallet_transactions", sa.Column("account", sa.Text))
    add_column("wallet_transactions", sa.Column("missed_at", Instant))
    found, missed = (
        "status = 'completed' AND reference IS NOT NULL",
        "status = 'failed' AND missed_at IS NOT NULL",
    )
    named = "ix_wallet_transactions"
    create_index(f"{named}_found", "wallet_transactions", ["provider", "account", "id"], found)
    create_index(f"{named}_missed", "wallet_transactions", ["next_look_at", "id"], missed)


def journal() -> None:
    """Let an operation be mismatched; on SQLite a CHECK changes in a new table alone."""
    if op.get_bind().dialect.name == "sqlite":
        anew()
        return
    for name, kind in ADDED:
        add_column(JOURNAL, sa.Column(name, kind))
    op.drop_constraint(op.f(f"ck_{JOURNAL}_status"), JOURNAL)
    listed = ", ".join(f"'{each}'" for each in STATUSES)
    op.create_check_constraint(op.f(f"ck_{JOURNAL}_status"), JOURNAL, f"status IN ({listed})")
    unsettled = "ix_money_operations_unsettled"
    op.drop_index(unsettled)
    create_index(unsettled, JOURNAL, *INDEXES[unsettled])


def anew() -> None:
    for each in INDEXES:
        op.drop_index(each)
    before = f"{JOURNAL}_before_0008"
    op.rename_table(JOURNAL, before)
    create(
        JOURNAL,
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
        *(sa.Column(name, kind) for name, kind in ADDED),
        sa.UniqueConstraint("key", name="uq_money_operations_key"),
        one_of(JOURNAL, "kind", "authorize", "capture", "release", "charge", "refund"),
        one_of(JOURNAL, "status", *STATUSES),
        sa.CheckConstraint("length(key) <= 64", name=sa.schema.conv("ck_money_operations_key")),
        autoincrement=True,
    )
    columns = [each["name"] for each in sa.inspect(op.get_bind()).get_columns(before)]
    kept = ", ".join(f'"{each}"' for each in columns)
    op.execute(f"INSERT INTO {JOURNAL} ({kept}) SELECT {kept} FROM {before}")  # noqa: S608 (names of ours)
    op.drop_table(before)
    for name, (named, where) in INDEXES.items():
        create_index(name, JOURNAL, named, where)
