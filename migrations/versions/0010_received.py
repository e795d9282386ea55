"""What was received of a payment into escrow: nothing else is released or given back; ended subscriptions."""

import sqlalchemy as sa

from jobctl.tables.making import add_column, check, create_index

revision = "0010"
down_revision = "0009"
ESCROW, RECEIVED = "wallet_transactions", "received_minor"


def upgrade() -> None:
    rule = check(ESCROW, RECEIVED, "received_minor = amount_minor")
    add_column(ESCROW, sa.Column(RECEIVED, sa.BigInteger), rule)
    create_index("ix_subscriptions_of_buyer", "subscriptions", ["user_id", "plan_id"])
