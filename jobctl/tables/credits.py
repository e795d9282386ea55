"""Professionals, their credit balances, and the transactions that made these what they are.

The application writes professionals, purchases and what is spent; the jobs reset and expire. All write by the
rules of docs/credits.md: the balance is locked first, then the lots, and each transaction tells both balances
before and after. A lot is a transaction that brought paid credits; `remaining_amount` is what is left of it.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Table,
    Text,
    UniqueConstraint,
)

from jobctl.tables.types import Id, Instant, Month, forms, index, inline, metadata, one_of

VERIFICATIONS = ("none", "pending", "basic", "comprehensive", "rejected")
CREDIT_KINDS = ("purchase", "grant", "spend", "refund", "adjustment", "monthly_reset", "expiry")
CREDIT_TYPES = ("free", "paid")
RESET, EXPIRY = "monthly_reset", "expiry"

_professionals = (
    Column("id", Id, Identity(), primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, unique=True),
    Column("verification_status", Text, nullable=False, server_default="none"),
    Column("created_at", Instant, nullable=False),
)
professionals = Table(
    "professionals",
    metadata,
    *_professionals,
    one_of("verification_status", VERIFICATIONS),
    *forms(*_professionals),
)

_credit_balances = (
    Column("id", Id, Identity(), primary_key=True),
    Column("professional_id", Id, ForeignKey("professionals.id"), nullable=False, unique=True),
    Column("free_credits", BigInteger, nullable=False, server_default="0"),
    Column("paid_credits", BigInteger, nullable=False, server_default="0"),
    Column("last_reset_at", Instant),
    Column("created_at", Instant, nullable=False),
)
credit_balances = Table(
    "credit_balances",
    metadata,
    *_credit_balances,
    CheckConstraint("free_credits >= 0", name="free_credits"),
    CheckConstraint("paid_credits >= 0", name="paid_credits"),
    *forms(*_credit_balances),
)

# What a transaction did to each balance; nobody has less than none.
MOVES = {
    "free": "free_after = free_before + (CASE credit_type WHEN 'free' THEN amount ELSE 0 END)",
    "paid": "paid_after = paid_before + (CASE credit_type WHEN 'paid' THEN amount ELSE 0 END)",
    "after": "free_after >= 0 AND paid_after >= 0",
    "remaining_amount": (
        "remaining_amount IS NULL OR remaining_amount BETWEEN 0 AND amount AND credit_type = 'paid'"
    ),
    "period": "(type = 'monthly_reset') = (period IS NOT NULL)",
    "lot_id": "(type = 'expiry') = (lot_id IS NOT NULL)",
}
_credit_transactions = (
    Column("id", Id, Identity(), primary_key=True),
    Column("professional_id", Id, ForeignKey("professionals.id"), nullable=False),
    Column("type", Text, nullable=False),
    Column("credit_type", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),  # credits; below zero: they were taken
    Column("remaining_amount", BigInteger),  # of a lot; null: it is none
    Column("expires_at", Instant),  # of a lot; null: CREDIT_LIFETIME after it was bought
    Column("period", Month),  # of a monthly reset: which month it was for
    Column("warned_at", Instant),  # of a lot: when its professional was told that it is about to expire
    Column("lot_id", Id, ForeignKey("credit_transactions.id"), unique=True),  # of an expiry: what expired
    Column("free_before", BigInteger, nullable=False),
    Column("free_after", BigInteger, nullable=False),
    Column("paid_before", BigInteger, nullable=False),
    Column("paid_after", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
)
credit_transactions = Table(
    "credit_transactions",
    metadata,
    *_credit_transactions,
    one_of("type", CREDIT_KINDS),
    one_of("credit_type", CREDIT_TYPES),
    *(CheckConstraint(rule, name=name) for name, rule in MOVES.items()),
    UniqueConstraint("professional_id", "period"),
    *forms(*_credit_transactions),
    info={"history": True},
)
_of = credit_transactions.c
_lots = (_of.credit_type == inline("paid")) & (_of.remaining_amount > 0)
index("ix_credit_transactions_lots", _of.expires_at, _of.id, where=_lots)
index("ix_credit_transactions_undated_lots", _of.created_at, _of.id, where=_lots & _of.expires_at.is_(None))
index("ix_credit_transactions_lots_of", _of.professional_id, where=_lots)
