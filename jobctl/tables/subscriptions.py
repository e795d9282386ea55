"""Plans with their prices, subscriptions, and the payments that renew them.

The application writes plans and prices, and the first payment of whoever subscribes; it and the jobs write
payments and subscriptions, by the rules of docs/writers.md.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

from jobctl.periods import UNITS
from jobctl.tables.types import Currency, Id, Instant, forms, index, inline, metadata, one_of, personal

SUBSCRIPTION_STATUSES = ("active", "expired", "cancelled")
PAYMENT_STATUSES = ("pending", "succeeded", "cancelled", "expired")

# From what to what a status may change; nothing else may.
SUBSCRIPTION_TRANSITIONS = {"active": {"expired", "cancelled"}}
PAYMENT_TRANSITIONS = {
    "pending": {"succeeded", "cancelled", "expired"},
    # What succeeded at the provider has succeeded, whatever was concluded here without it.
    "cancelled": {"succeeded"},
    "expired": {"succeeded", "cancelled"},
}

_plans = (
    Column("id", Id, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("unit", Text, nullable=False),  # a period is so many of these
    Column("every", Integer, nullable=False, server_default="1"),
    Column("recurring", Boolean, nullable=False, server_default=false()),
    Column("active", Boolean, nullable=False, server_default=true()),
    Column("created_at", Instant, nullable=False),
)
plans = Table(
    "plans",
    metadata,
    *_plans,
    one_of("unit", UNITS),
    CheckConstraint("every BETWEEN 1 AND 1000", name="every"),
    *forms(*_plans),
)

# What a period costs, from an instant on until a later price.
_prices = (
    Column("id", Id, Identity(), primary_key=True),
    Column("plan_id", Id, ForeignKey("plans.id"), nullable=False),
    Column("currency", Currency, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("valid_from", Instant, nullable=False),
)
prices = Table(
    "prices",
    metadata,
    *_prices,
    CheckConstraint("amount_minor > 0", name="amount_minor"),
    UniqueConstraint("plan_id", "currency", "valid_from"),
    *forms(*_prices),
)

_subscriptions = (
    Column("id", Id, Identity(), primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("plan_id", Id, ForeignKey("plans.id"), nullable=False),
    Column("currency", Currency, nullable=False),  # that its renewals are charged in
    Column("status", Text, nullable=False, server_default="active"),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=False),  # the end of what is paid for
    Column("billing_anchor_day", Integer, nullable=False),  # of the month, that its periods end on
    Column("next_charge_at", Instant),  # null: none is to come
    Column("expired_at", Instant),
    Column("cancelled_at", Instant),
    Column("created_at", Instant, nullable=False),
)
subscriptions = Table(
    "subscriptions",
    metadata,
    *_subscriptions,
    one_of("status", SUBSCRIPTION_STATUSES),
    CheckConstraint("ended_at >= started_at", name="ended_at"),
    CheckConstraint("billing_anchor_day BETWEEN 1 AND 31", name="billing_anchor_day"),
    *forms(*_subscriptions),
    info={"transitions": {"status": SUBSCRIPTION_TRANSITIONS}, "subject": "subscription"},
    sqlite_autoincrement=True,  # keys are derived from the id, which must not come again
)
_of = subscriptions.c
_active = _of.status == inline("active")
index("uq_subscriptions_active", _of.user_id, _of.plan_id, where=_active)
index("ix_subscriptions_of_buyer", _of.user_id, _of.plan_id)  # those that have ended too
index("ix_subscriptions_ending", _of.ended_at, _of.id, where=_active)
_to_charge = _active & _of.next_charge_at.is_not(None)
index("ix_subscriptions_charging", _of.next_charge_at, _of.id, where=_to_charge)

_payments = (
    Column("id", Id, Identity(), primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("plan_id", Id, ForeignKey("plans.id"), nullable=False),
    Column("subscription_id", Id, ForeignKey("subscriptions.id")),
    Column("provider", Text, nullable=False),
    Column("account", Text),  # of ours there; null: whichever the settings have
    Column("provider_payment_id", Text),
    Column("reference", Text, unique=True),  # ours, in the provider's metadata: the operation's key
    personal(Column("provider_customer", Text)),
    personal(Column("provider_method", Text)),  # that was saved with it, to be charged again
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Currency, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("failure", Text),  # the provider's code; or, of a charge that it never took, the journal's
    Column("period_start", Instant),  # of a renewal: what it was charged for
    Column("paid_at", Instant),  # as the provider tells it; of our own charges, when the answer came
    Column("cancelled_at", Instant),
    Column("expired_at", Instant),
    Column("refunded_at", Instant),
    Column("seen_pending_at", Instant),  # when the provider was last seen to have it undecided
    Column("next_look_at", Instant),
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("confirmed_at", Instant),  # when the provider was seen to have it as succeeded
    Column("claimed_by", Id),
    Column("created_at", Instant, nullable=False),
)
payments = Table(
    "payments",
    metadata,
    *_payments,
    one_of("status", PAYMENT_STATUSES),
    CheckConstraint("amount_minor > 0", name="amount_minor"),
    UniqueConstraint("provider", "provider_payment_id"),
    *forms(*_payments),
    info={"transitions": {"status": PAYMENT_TRANSITIONS}},
)
_of = payments.c
_pending = _of.status == inline("pending")
index("ix_payments_pending", _of.created_at, _of.id, where=_pending)
# What keeps a subscription from being charged.
index("ix_payments_pending_of_buyer", _of.user_id, _of.plan_id, where=_pending)
index("ix_payments_pending_of_subscription", _of.subscription_id, where=_pending)
index(
    "ix_payments_unconfirmed",
    _of.paid_at,
    _of.id,
    where=(_of.status == inline("succeeded")) & _of.confirmed_at.is_(None),
)
index("ix_payments_claimed_by", _of.claimed_by, where=_of.claimed_by.is_not(None))

# What was paid for; no payment pays twice, and no period is paid twice.
_subscription_periods = (
    Column("id", Id, Identity(), primary_key=True),
    Column("subscription_id", Id, ForeignKey("subscriptions.id"), nullable=False),
    Column("period_start", Instant, nullable=False),
    Column("period_end", Instant, nullable=False),
    Column("payment_id", Id, ForeignKey("payments.id"), nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
)
subscription_periods = Table(
    "subscription_periods",
    metadata,
    *_subscription_periods,
    CheckConstraint("period_end > period_start", name="period_end"),
    UniqueConstraint("subscription_id", "period_start"),
    *forms(*_subscription_periods),
)
