"""Plans, subscriptions and their payments, and what jobs found and may not decide."""

import sqlalchemy as sa

from jobctl.tables.making import check, create, create_index, one_of, references
from jobctl.tables.types import Currency, Id, Instant, Json

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    plans()
    subscriptions()
    payments()
    findings()


def plans() -> None:
    create(
        "plans",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("every", sa.Integer, nullable=False, server_default="1"),
        sa.Column("recurring", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("created_at", Instant, nullable=False),
        one_of("plans", "unit", "day", "week", "month", "year"),
        check("plans", "every", "every BETWEEN 1 AND 1000"),
    )
    create(
        "prices",
        sa.Column("plan_id", Id, nullable=False),
        sa.Column("currency", Currency, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("valid_from", Instant, nullable=False),
        references("prices", "plan_id", "plans"),
        check("prices", "amount_minor", "amount_minor > 0"),
        sa.UniqueConstraint(
            "plan_id", "currency", "valid_from", name="uq_prices_plan_id_currency_valid_from"
        ),
    )


def subscriptions() -> None:
    create(
        "subscriptions",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("plan_id", Id, nullable=False),
        sa.Column("currency", Currency, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="active"),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("ended_at", Instant, nullable=False),
        sa.Column("billing_anchor_day", sa.Integer, nullable=False),
        sa.Column("next_charge_at", Instant),
        sa.Column("expired_at", Instant),
        sa.Column("cancelled_at", Instant),
        sa.Column("created_at", Instant, nullable=False),
        references("subscriptions", "plan_id", "plans"),
        one_of("subscriptions", "status", "active", "expired", "cancelled"),
        check("subscriptions", "ended_at", "ended_at >= started_at"),
        check("subscriptions", "billing_anchor_day", "billing_anchor_day BETWEEN 1 AND 31"),
        autoincrement=True,
    )
    active = "status = 'active'"
    create_index("uq_subscriptions_active", "subscriptions", ["user_id", "plan_id"], active)
    create_index("ix_subscriptions_ending", "subscriptions", ["ended_at", "id"], active)
    create_index(
        "ix_subscriptions_charging",
        "subscriptions",
        ["next_charge_at", "id"],
        f"{active} AND next_charge_at IS NOT NULL",
    )


def payments() -> None:
    create(
        "payments",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("plan_id", Id, nullable=False),
        sa.Column("subscription_id", Id),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("provider_payment_id", sa.Text),
        sa.Column("reference", sa.Text),
        sa.Column("provider_customer", sa.Text),
        sa.Column("provider_method", sa.Text),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", Currency, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("failure", sa.Text),
        sa.Column("period_start", Instant),
        sa.Column("paid_at", Instant),
        sa.Column("cancelled_at", Instant),
        sa.Column("expired_at", Instant),
        sa.Column("refunded_at", Instant),
        sa.Column("seen_pending_at", Instant),
        sa.Column("next_look_at", Instant),
        sa.Column("looks", sa.Integer, nullable=False, server_default="0"),
        sa.Column("confirmed_at", Instant),
        sa.Column("claimed_by", Id),
        sa.Column("created_at", Instant, nullable=False),
        references("payments", "plan_id", "plans"),
        references("payments", "subscription_id", "subscriptions"),
        one_of("payments", "status", "pending", "succeeded", "cancelled", "expired"),
        check("payments", "amount_minor", "amount_minor > 0"),
        sa.UniqueConstraint("reference", name="uq_payments_reference"),
        sa.UniqueConstraint(
            "provider", "provider_payment_id", name="uq_payments_provider_provider_payment_id"
        ),
    )
    create_index("ix_payments_pending", "payments", ["created_at", "id"], "status = 'pending'")
    unconfirmed = "status = 'succeeded' AND confirmed_at IS NULL"
    create_index("ix_payments_unconfirmed", "payments", ["paid_at", "id"], unconfirmed)
    create_index("ix_payments_claimed_by", "payments", ["claimed_by"], "claimed_by IS NOT NULL")
    create(
        "subscription_periods",
        sa.Column("subscription_id", Id, nullable=False),
        sa.Column("period_start", Instant, nullable=False),
        sa.Column("period_end", Instant, nullable=False),
        sa.Column("payment_id", Id, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        references("subscription_periods", "subscription_id", "subscriptions"),
        references("subscription_periods", "payment_id", "payments"),
        check("subscription_periods", "period_end", "period_end > period_start"),
        sa.UniqueConstraint("payment_id", name="uq_subscription_periods_payment_id"),
        sa.UniqueConstraint(
            "subscription_id", "period_start", name="uq_subscription_periods_subscription_id_period_start"
        ),
    )


def findings() -> None:
    create(
        "findings",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("once_key", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("facts", Json, nullable=False),
        sa.Column("amount_minor", sa.BigInteger),
        sa.Column("currency", Currency),
        sa.Column("status", sa.Text, nullable=False, server_default="open"),
        sa.Column("run_id", Id),
        sa.Column("found_at", Instant, nullable=False),
        sa.Column("resolved_at", Instant),
        sa.Column("resolution", sa.Text),
        one_of("findings", "status", "open", "resolved"),
        sa.UniqueConstraint("once_key", name="uq_findings_once_key"),
    )
    create_index("ix_findings_open", "findings", ["id"], "status = 'open'")
