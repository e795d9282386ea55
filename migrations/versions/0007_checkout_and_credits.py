"""Checkout sessions, which have text for a key, credits, and when each job last succeeded."""

import sqlalchemy as sa
from alembic import op

from jobctl.tables.making import add_column, check, create, create_index, one_of, references
from jobctl.tables.types import Id, Instant, Json, Month, Present

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    add_column("idle_runs", sa.Column("last_success_at", Instant))
    add_column("run_errors", sa.Column("row_key", sa.Text))
    audit_trail()
    checkout_session()
    balances()
    transactions()


def audit_trail() -> None:
    """Let rows be named by text; on SQLite no column forgets that it was NOT NULL but in a new table."""
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("audit_trail", "row_id", nullable=True)
        add_column("audit_trail", sa.Column("row_key", sa.Text))
        return
    indexes = {"run_id": ["run_id", "id"], "row": ["table_name", "row_id"], "at": ["at"]}
    for each in indexes:
        op.drop_index(f"ix_audit_trail_{each}")
    op.rename_table("audit_trail", "audit_trail_before_0007")
    create(
        "audit_trail",
        sa.Column("run_id", Id, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("row_id", Id),
        sa.Column("before", Json, nullable=False),
        sa.Column("after", Json, nullable=False),
        sa.Column("row_key", sa.Text),
    )
    kept = "id, run_id, at, table_name, row_id, before, after"
    op.execute(f"INSERT INTO audit_trail ({kept}) SELECT {kept} FROM audit_trail_before_0007")  # noqa: S608 (ours)
    op.drop_table("audit_trail_before_0007")
    for name, columns in indexes.items():
        create_index(f"ix_audit_trail_{name}", "audit_trail", columns)


def checkout_session() -> None:
    table = "checkout_session"
    create(
        table,
        sa.Column("billing_checkout_id", sa.Text),
        sa.Column("billing_order_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False, server_default="open"),
        sa.Column("opened_at", Instant, nullable=False, server_default=Present()),
        sa.Column("closed_at", Instant),
        sa.Column("claimed_by", Id),
        one_of(table, "status", "open", "success", "failure", "timeout"),
        key=sa.Column("id", sa.Text, nullable=False),
    )
    create_index("ix_checkout_session_open", table, ["opened_at", "id"], "status = 'open'")
    create_index("ix_checkout_session_claimed_by", table, ["claimed_by"], "claimed_by IS NOT NULL")


def balances() -> None:
    create(
        "professionals",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("verification_status", sa.Text, nullable=False, server_default="none"),
        sa.Column("created_at", Instant, nullable=False),
        references("professionals", "user_id", "users"),
        one_of(
            "professionals", "verification_status", "none", "pending", "basic", "comprehensive", "rejected"
        ),
        sa.UniqueConstraint("user_id", name="uq_professionals_user_id"),
    )
    create(
        "credit_balances",
        sa.Column("professional_id", Id, nullable=False),
        sa.Column("free_credits", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("paid_credits", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_reset_at", Instant),
        sa.Column("created_at", Instant, nullable=False),
        references("credit_balances", "professional_id", "professionals"),
        check("credit_balances", "free_credits", "free_credits >= 0"),
        check("credit_balances", "paid_credits", "paid_credits >= 0"),
        sa.UniqueConstraint("professional_id", name="uq_credit_balances_professional_id"),
    )


def transactions() -> None:
    table = "credit_transactions"
    create(
        table,
        sa.Column("professional_id", Id, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("credit_type", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("remaining_amount", sa.BigInteger),
        sa.Column("expires_at", Instant),
        sa.Column("warned_at", Instant),
        sa.Column("period", Month),
        sa.Column("lot_id", Id),
        sa.Column("free_before", sa.BigInteger, nullable=False),
        sa.Column("free_after", sa.BigInteger, nullable=False),
        sa.Column("paid_before", sa.BigInteger, nullable=False),
        sa.Column("paid_after", sa.BigInteger, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        references(table, "professional_id", "professionals"),
        references(table, "lot_id", table),
        one_of(
            table, "type", "purchase", "grant", "spend", "refund", "adjustment", "monthly_reset", "expiry"
        ),
        one_of(table, "credit_type", "free", "paid"),
        check(
            table, "free", "free_after = free_before + (CASE credit_type WHEN 'free' THEN amount ELSE 0 END)"
        ),
        check(
            table, "paid", "paid_after = paid_before + (CASE credit_type WHEN 'paid' THEN amount ELSE 0 END)"
        ),
        check(table, "after", "free_after >= 0 AND paid_after >= 0"),
        check(
            table,
            "remaining_amount",
            "remaining_amount IS NULL OR remaining_amount BETWEEN 0 AND amount AND credit_type = 'paid'",
        ),
        check(table, "period", "(type = 'monthly_reset') = (period IS NOT NULL)"),
        check(table, "lot_id", "(type = 'expiry') = (lot_id IS NOT NULL)"),
        sa.UniqueConstraint("professional_id", "period", name=f"uq_{table}_professional_id_period"),
        sa.UniqueConstraint("lot_id", name=f"uq_{table}_lot_id"),
    )
    lots = "credit_type = 'paid' AND remaining_amount > 0"
    create_index(f"ix_{table}_lots", table, ["expires_at", "id"], lots)
    create_index(f"ix_{table}_undated_lots", table, ["created_at", "id"], f"{lots} AND expires_at IS NULL")
    create_index(f"ix_{table}_lots_of", table, ["professional_id"], lots)
