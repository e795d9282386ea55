"""Requests to creators, what is paid for them into escrow, the wallets that it goes to, and the ledger.

The application writes requests, their payments and the payouts; it and the jobs write by the rules of
docs/writers.md. The ledger is double-entry: a posting's entries sum to zero before anybody can see them, and
nothing of it is ever changed.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    true,
)

from jobctl.tables.types import (
    Currency,
    Id,
    Instant,
    forms,
    index,
    inline,
    metadata,
    one_of,
    personal,
)

REQUEST_STATUSES = ("pending", "in_progress", "completed", "declined")
DISPUTE_STATUSES = ("open", "resolved")
TRANSACTION_STATUSES = ("pending", "completed", "failed", "unverified")
ESCROW_STATUSES = ("pending", "released", "refunded", "void")
WALLET_KINDS = ("user", "platform")
WALLET_STATUSES = ("active", "frozen", "closed")
POSTING_KINDS = ("release", "payout", "adjustment")
ACCOUNTS = ("wallet", "escrow", "outside")

# From what to what a status may change; nothing else may.
REQUEST_TRANSITIONS = {
    "pending": {"in_progress", "declined"},
    "in_progress": {"completed", "declined"},
}
TRANSACTION_TRANSITIONS = {
    "pending": {"completed", "failed", "unverified"},
    "unverified": {"completed", "failed"},
    # What the provider has taken is here, whatever was concluded without it.
    "failed": {"completed"},
}
ESCROW_TRANSITIONS = {
    "pending": {"released", "refunded", "void"},
    "void": {"refunded"},
}

_requests = (
    Column("id", Id, Identity(), primary_key=True),
    Column("user_id", Id, nullable=False),  # who asks, and pays
    Column("creator_id", Id, nullable=False),  # who is asked: the celebrity
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Currency, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("dispute", Text),  # null: there never was one
    Column("paid_at", Instant),
    Column("completed_at", Instant),
    Column("declined_at", Instant),
    Column("created_at", Instant, nullable=False),
)
requests = Table(
    "requests",
    metadata,
    *_requests,
    one_of("status", REQUEST_STATUSES),
    one_of("dispute", DISPUTE_STATUSES),
    CheckConstraint("amount_minor BETWEEN 1 AND 100000000000000", name="amount_minor"),
    *forms(*_requests),
    info={"transitions": {"status": REQUEST_TRANSITIONS}},
)
_of = requests.c
index("ix_requests_creator_id", _of.creator_id)
index(
    "ix_requests_unpaid",
    _of.created_at,
    _of.id,
    where=(_of.status == inline("pending")) & _of.paid_at.is_(None),
)

_wallet_transactions = (
    Column("id", Id, Identity(), primary_key=True),
    Column("request_id", Id, ForeignKey("requests.id")),  # null: a payout, which the application sees to
    Column("user_id", Id, nullable=False),
    Column("provider", Text, nullable=False),
    Column("reference", Text),  # ours at the provider; null: it was never asked for one
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Currency, nullable=False),
    Column("fee_basis_points", Integer),  # hundredths of a percent; null: PLATFORM_FEE_PERCENT at release
    Column("status", Text, nullable=False, server_default="pending"),
    Column("escrow_status", Text),  # null: it is nothing held for anybody
    Column("failure", Text),  # why it came to nothing: the provider's word, or ours
    Column("paid_at", Instant),  # as the provider tells it
    Column("failed_at", Instant),
    Column("next_look_at", Instant),  # when to ask the provider again, which gave no answer
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("released_at", Instant),
    Column("release_reason", Text),
    Column("refunded_at", Instant),
    Column("refund_refused_at", Instant),
    Column("claimed_by", Id),
    Column("created_at", Instant, nullable=False),
    Column(
        "account", Text
    ),  # of ours at the provider, that it was begun at; null: whichever the settings have
    Column("missed_at", Instant),  # since when the provider says that it has no such payment
    Column("received_minor", BigInteger),  # what its provider told that was paid; null: nobody asked it
)
wallet_transactions = Table(
    "wallet_transactions",
    metadata,
    *_wallet_transactions,
    one_of("status", TRANSACTION_STATUSES),
    one_of("escrow_status", ESCROW_STATUSES),
    # Beyond this a fee could not be worked out in whole numbers.
    CheckConstraint("amount_minor BETWEEN 1 AND 100000000000000", name="amount_minor"),
    CheckConstraint("fee_basis_points BETWEEN 0 AND 10000", name="fee_basis_points"),
    # What was received is what is released, or given back, whatever somebody makes of the amount later.
    CheckConstraint("received_minor = amount_minor", name="received_minor"),
    CheckConstraint("escrow_status <> 'released' OR status = 'completed'", name="released"),
    CheckConstraint("escrow_status IS NULL OR request_id IS NOT NULL", name="request_id"),
    UniqueConstraint("provider", "reference"),
    *forms(*_wallet_transactions),
    info={
        "transitions": {"status": TRANSACTION_TRANSITIONS, "escrow_status": ESCROW_TRANSITIONS},
        "subject": "transaction",
    },
    sqlite_autoincrement=True,  # keys are derived from the id, which must not come again
)
_of = wallet_transactions.c
_held = _of.escrow_status == inline("pending")
index("ix_wallet_transactions_request_id", _of.request_id)
index(
    "ix_wallet_transactions_pending",
    _of.created_at,
    _of.id,
    where=(_of.status == inline("pending")) & _held,
)
index("ix_wallet_transactions_held", _of.id, where=(_of.status == inline("completed")) & _held)
_to_refund = (_of.status == inline("completed")) & (_of.escrow_status == inline("void"))
index("ix_wallet_transactions_to_refund", _of.id, where=_to_refund)
# Another payment that the same account is known to have, of which the newest proves that it is asked.
_found = (_of.status == inline("completed")) & _of.reference.is_not(None)
index("ix_wallet_transactions_found", _of.provider, _of.account, _of.id, where=_found)
_missed = (_of.status == inline("failed")) & _of.missed_at.is_not(None)
index("ix_wallet_transactions_missed", _of.next_look_at, _of.id, where=_missed)
index("ix_wallet_transactions_claimed_by", _of.claimed_by, where=_of.claimed_by.is_not(None))

_wallets = (
    Column("id", Id, Identity(), primary_key=True),
    Column("kind", Text, nullable=False, server_default="user"),
    Column("user_id", Id),  # null: the platform's
    Column("currency", Currency, nullable=False),
    Column("balance_minor", BigInteger, nullable=False, server_default="0"),
    Column("status", Text, nullable=False, server_default="active"),
    Column("created_at", Instant, nullable=False),
)
wallets = Table(
    "wallets",
    metadata,
    *_wallets,
    one_of("kind", WALLET_KINDS),
    one_of("status", WALLET_STATUSES),
    CheckConstraint("(kind = 'user') = (user_id IS NOT NULL)", name="owner"),
    CheckConstraint("balance_minor >= 0", name="balance_minor"),
    UniqueConstraint("user_id", "currency"),
    *forms(*_wallets),
)
index("uq_wallets_platform", wallets.c.currency, where=wallets.c.kind == inline("platform"))

# What moved, of which transaction and why: once for each kind. `balance_minor` is what its entries sum up to
# so far, kept by a trigger; the deferred key on itself lets nobody commit while that is not zero.
_ledger_postings = (
    Column("id", Id, Identity(), primary_key=True),
    Column("wallet_transaction_id", Id, ForeignKey("wallet_transactions.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("currency", Currency, nullable=False),
    Column("balance_minor", BigInteger, nullable=False, server_default="0"),
    Column("zero", BigInteger, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False),
)
ledger_postings = Table(
    "ledger_postings",
    metadata,
    *_ledger_postings,
    one_of("kind", POSTING_KINDS),
    CheckConstraint("zero = 0", name="zero"),
    UniqueConstraint("wallet_transaction_id", "kind"),
    UniqueConstraint("wallet_transaction_id", "kind", "balance_minor", name="uq_ledger_postings_balance"),
    ForeignKeyConstraint(
        ["wallet_transaction_id", "kind", "zero"],
        [f"ledger_postings.{name}" for name in ("wallet_transaction_id", "kind", "balance_minor")],
        name="fk_ledger_postings_balance",
        deferrable=True,
        initially="DEFERRED",
    ),
    *forms(*_ledger_postings),
    info={"history": True},
)

_ledger_entries = (
    Column("id", Id, Identity(), primary_key=True),
    Column("wallet_transaction_id", Id, nullable=False),
    Column("kind", Text, nullable=False),
    Column("line", Integer, nullable=False),
    Column("account", Text, nullable=False),
    Column("wallet_id", Id, ForeignKey("wallets.id")),
    Column("amount_minor", BigInteger, nullable=False),  # above zero: into the account
)
ledger_entries = Table(
    "ledger_entries",
    metadata,
    *_ledger_entries,
    one_of("account", ACCOUNTS),
    CheckConstraint("(account = 'wallet') = (wallet_id IS NOT NULL)", name="wallet_id"),
    UniqueConstraint("wallet_transaction_id", "kind", "line"),
    ForeignKeyConstraint(
        ["wallet_transaction_id", "kind"],
        ["ledger_postings.wallet_transaction_id", "ledger_postings.kind"],
        name="fk_ledger_entries_posting",
    ),
    *forms(*_ledger_entries),
    info={"history": True},
)
index("ix_ledger_entries_wallet_id", ledger_entries.c.wallet_id)

# Since when a provider has not told what it was asked; null: its last answer was one.
_provider_silences = (
    Column("id", Id, Identity(), primary_key=True),
    Column("provider", Text, nullable=False, unique=True),
    Column("since", Instant),
)
provider_silences = Table(
    "provider_silences", metadata, *_provider_silences, *forms(*_provider_silences), info={"history": True}
)

CREDENTIAL_PROVIDERS = ("flutterwave",)

_provider_credentials = (
    Column("id", Id, Identity(), primary_key=True),
    Column("provider", Text, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("client_id", Text, nullable=False),
    personal(Column("client_secret", Text, nullable=False)),  # both as sealing.py writes them
    personal(Column("access_token", Text)),
    Column("token_expires_at", Instant),
    Column("token_at", Instant),  # when it was asked for
    Column("active", Boolean, nullable=False, server_default=true()),
    Column("updated_at", Instant, nullable=False),  # when somebody changed the credentials
    Column("refused_at", Instant),
    Column("claimed_by", Id),
    Column("created_at", Instant, nullable=False),
)
provider_credentials = Table(
    "provider_credentials",
    metadata,
    *_provider_credentials,
    one_of("provider", CREDENTIAL_PROVIDERS),
    *forms(*_provider_credentials),
)
