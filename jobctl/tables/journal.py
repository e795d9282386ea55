"""The journal of money operations: every call that can move money, written down before it is made."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Identity, Integer, Table, Text

from jobctl.tables.types import Currency, Id, Instant, Json, forms, index, inline, metadata, one_of, personal

KINDS = ("authorize", "capture", "release", "charge", "refund")
OPEN = ("started", "pending", "unknown")
STATUSES = (*OPEN, "succeeded", "declined", "rejected", "mismatched")

# A fact that comes late is recorded whatever was concluded without it; what succeeded stays so.
TRANSITIONS = {
    "started": set(STATUSES),
    "pending": set(STATUSES) - {"started"},
    "unknown": set(STATUSES) - {"started"},
    "declined": {"succeeded"},
    "rejected": {"succeeded", "declined", "mismatched"},
}

_money_operations = (
    Column("id", Id, Identity(), primary_key=True),
    Column("key", Text, nullable=False, unique=True),  # the idempotency key
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),  # what is paid: "order", "subscription"
    Column("subject_id", Id, nullable=False),
    Column("cycle", Text, nullable=False),  # which hold, which period: at most one succeeds
    Column("attempt", Integer, nullable=False),
    Column("provider", Text, nullable=False),
    Column("account", Text, nullable=False),  # at the provider: keys and numbers mean something there alone
    personal(Column("request", Json, nullable=False)),  # sent and resent word for word
    Column("amount_minor", BigInteger),
    Column("currency", Currency),
    Column("payment_id", Text),  # the provider's number, once it is known
    Column("status", Text, nullable=False, server_default="started"),
    Column("code", Text),
    Column("reason", Text),
    Column("retryable", Boolean),
    Column("needs_customer", Boolean),
    Column("effective_at", Instant),  # when it took effect, as the provider tells
    Column("hold_ends_at", Instant),
    Column("follows", Id),  # the operation that made this one necessary: it must not get lost
    Column("run_id", Id, nullable=False),  # that wrote it down
    Column("claimed_by", Id),  # the run that is dealing with it
    Column("created_at", Instant, nullable=False),
    Column("first_sent_at", Instant),
    Column("answer_by", Instant),  # nobody else concludes anything before
    Column("asked", Integer, nullable=False, server_default="0"),  # how often the provider was asked about it
    Column("concluded_at", Instant),
    Column("settled_at", Instant),  # when its subject followed
    Column("answered_minor", BigInteger),  # of one that is mismatched: what the provider tells instead
    Column("answered_currency", Currency),
    Column("missed_at", Instant),  # since when the provider's complete lists lack it
    Column("look_until", Instant),  # of what was concluded from that: until when it is looked for again
)
money_operations = Table(
    "money_operations",
    metadata,
    *_money_operations,
    one_of("kind", KINDS),
    one_of("status", STATUSES),
    CheckConstraint("length(key) <= 64", name="key"),
    *forms(*_money_operations),
    info={"transitions": {"status": TRANSITIONS}, "history": True},
    sqlite_autoincrement=True,
)
_of = money_operations.c
is_open = _of.status.in_([inline(each) for each in OPEN])
_succeeded = _of.status == inline("succeeded")
# The open operation is the claim on its subject, for every job alike.
index("uq_money_operations_open", _of.subject, _of.subject_id, where=is_open)
index("uq_money_operations_succeeded", _of.subject, _of.subject_id, _of.kind, _of.cycle, where=_succeeded)
index("ix_money_operations_subject", _of.subject, _of.subject_id)
# What a run has to see to: what is unsettled, and what seemed absent and may still turn up.
unfinished = _of.settled_at.is_(None) | _of.look_until.is_not(None)
index("ix_money_operations_unsettled", _of.id, where=unfinished)
