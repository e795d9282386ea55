"""Requests, what is held in escrow for them, wallets and their ledger, and providers' credentials."""

import sqlalchemy as sa
from alembic import op

from jobctl.tables.making import add_column, check, create, create_index, one_of, references
from jobctl.tables.types import Currency, Id, Instant

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    add_column("users", sa.Column("verified_at", Instant))
    requests()
    wallets()
    ledger()
    triggers()
    credentials()


def requests() -> None:
    create(
        "requests",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("creator_id", Id, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", Currency, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("dispute", sa.Text),
        sa.Column("paid_at", Instant),
        sa.Column("completed_at", Instant),
        sa.Column("declined_at", Instant),
        sa.Column("created_at", Instant, nullable=False),
        one_of("requests", "status", "pending", "in_progress", "completed", "declined"),
        one_of("requests", "dispute", "open", "resolved"),
        check("requests", "amount_minor", "amount_minor BETWEEN 1 AND 100000000000000"),
    )
    unpaid = "status = 'pending' AND paid_at IS NULL"
    create_index("ix_requests_creator_id", "requests", ["creator_id"])
    create_index("ix_requests_unpaid", "requests", ["created_at", "id"], unpaid)
    table = "wallet_transactions"
    create(
        table,
        sa.Column("request_id", Id),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", Currency, nullable=False),
        sa.Column("fee_basis_points", sa.Integer),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("escrow_status", sa.Text),
        sa.Column("failure", sa.Text),
        sa.Column("paid_at", Instant),
        sa.Column("failed_at", Instant),
        sa.Column("next_look_at", Instant),
        sa.Column("looks", sa.Integer, nullable=False, server_default="0"),
        sa.Column("released_at", Instant),
        sa.Column("release_reason", sa.Text),
        sa.Column("refunded_at", Instant),
        sa.Column("refund_refused_at", Instant),
        sa.Column("claimed_by", Id),
        sa.Column("created_at", Instant, nullable=False),
        references(table, "request_id", "requests"),
        one_of(table, "status", "pending", "completed", "failed", "unverified"),
        one_of(table, "escrow_status", "pending", "released", "refunded", "void"),
        check(table, "amount_minor", "amount_minor BETWEEN 1 AND 100000000000000"),
        check(table, "fee_basis_points", "fee_basis_points BETWEEN 0 AND 10000"),
        check(table, "released", "escrow_status <> 'released' OR status = 'completed'"),
        check(table, "request_id", "escrow_status IS NULL OR request_id IS NOT NULL"),
        sa.UniqueConstraint("provider", "reference", name="uq_wallet_transactions_provider_reference"),
        autoincrement=True,
    )
    create_index("ix_wallet_transactions_request_id", table, ["request_id"])
    for name, columns, where in (
        ("pending", ["created_at", "id"], "status = 'pending' AND escrow_status = 'pending'"),
        ("held", ["id"], "status = 'completed' AND escrow_status = 'pending'"),
        ("to_refund", ["id"], "status = 'completed' AND escrow_status = 'void'"),
        ("claimed_by", ["claimed_by"], "claimed_by IS NOT NULL"),
    ):
        create_index(f"ix_wallet_transactions_{name}", table, columns, where)


def wallets() -> None:
    create(
        "wallets",
        sa.Column("kind", sa.Text, nullable=False, server_default="user"),
        sa.Column("user_id", Id),
        sa.Column("currency", Currency, nullable=False),
        sa.Column("balance_minor", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("status", sa.Text, nullable=False, server_default="active"),
        sa.Column("created_at", Instant, nullable=False),
        one_of("wallets", "kind", "user", "platform"),
        one_of("wallets", "status", "active", "frozen", "closed"),
        check("wallets", "owner", "(kind = 'user') = (user_id IS NOT NULL)"),
        check("wallets", "balance_minor", "balance_minor >= 0"),
        sa.UniqueConstraint("user_id", "currency", name="uq_wallets_user_id_currency"),
    )
    create_index("uq_wallets_platform", "wallets", ["currency"], "kind = 'platform'")


def ledger() -> None:
    posting = ["wallet_transaction_id", "kind"]
    create(
        "ledger_postings",
        sa.Column("wallet_transaction_id", Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("currency", Currency, nullable=False),
        sa.Column("balance_minor", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("zero", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created_at", Instant, nullable=False),
        references("ledger_postings", "wallet_transaction_id", "wallet_transactions"),
        one_of("ledger_postings", "kind", "release", "payout", "adjustment"),
        check("ledger_postings", "zero", "zero = 0"),
        sa.UniqueConstraint(*posting, name="uq_ledger_postings_wallet_transaction_id_kind"),
        sa.UniqueConstraint(*posting, "balance_minor", name="uq_ledger_postings_balance"),
        sa.ForeignKeyConstraint(
            [*posting, "zero"],
            [f"ledger_postings.{each}" for each in (*posting, "balance_minor")],
            name="fk_ledger_postings_balance",
            deferrable=True,
            initially="DEFERRED",
        ),
    )
    create(
        "ledger_entries",
        sa.Column("wallet_transaction_id", Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("wallet_id", Id),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        references("ledger_entries", "wallet_id", "wallets"),
        one_of("ledger_entries", "account", "wallet", "escrow", "outside"),
        check("ledger_entries", "wallet_id", "(account = 'wallet') = (wallet_id IS NOT NULL)"),
        sa.UniqueConstraint(*posting, "line", name="uq_ledger_entries_wallet_transaction_id_kind_line"),
        sa.ForeignKeyConstraint(
            posting, [f"ledger_postings.{each}" for each in posting], name="fk_ledger_entries_posting"
        ),
    )
    create_index("ix_ledger_entries_wallet_id", "ledger_entries", ["wallet_id"])


def triggers() -> None:
    """Keep each posting's sum, and refuse to change what is in the ledger."""
    statements = POSTGRESQL if op.get_bind().dialect.name == "postgresql" else SQLITE
    for each in statements:
        op.execute(each)


# Of the entries that one statement adds only what they do not sum to zero by is worth an update.
POSTGRESQL = (
    """
    CREATE FUNCTION ledger_add() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE ledger_postings AS posting SET balance_minor = posting.balance_minor + added.amount
        FROM (SELECT wallet_transaction_id, kind, sum(amount_minor) AS amount FROM added_entries
              GROUP BY wallet_transaction_id, kind HAVING sum(amount_minor) <> 0) AS added
        WHERE posting.wallet_transaction_id = added.wallet_transaction_id AND posting.kind = added.kind;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER ledger_entries_add AFTER INSERT ON ledger_entries
    REFERENCING NEW TABLE AS added_entries FOR EACH STATEMENT EXECUTE FUNCTION ledger_add()
    """,
    """
    CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the ledger is append-only: correct it by another posting';
    END $$
    """,
    """
    CREATE TRIGGER ledger_entries_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()
    """,
    """
    CREATE TRIGGER ledger_postings_keep BEFORE DELETE OR TRUNCATE ON ledger_postings
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()
    """,
    """
    CREATE TRIGGER ledger_postings_keep_values BEFORE UPDATE ON ledger_postings FOR EACH ROW
    WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ledger_refuse()
    """,
    """
    CREATE TRIGGER ledger_postings_begin BEFORE INSERT ON ledger_postings FOR EACH ROW
    WHEN (NEW.balance_minor <> 0) EXECUTE FUNCTION ledger_refuse()
    """,
)
REFUSED = "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: correct it by another posting'); END"
KEPT = ("id", "wallet_transaction_id", "kind", "currency", "zero", "created_at")
LATE = "AFTER UPDATE OF balance_minor ON ledger_postings"
EARLY = "BEFORE INSERT ON ledger_postings WHEN NEW.balance_minor <> 0"
DIFFERS = """NEW.balance_minor <> (
    SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries
    WHERE wallet_transaction_id = NEW.wallet_transaction_id AND kind = NEW.kind
)"""
SQLITE = (
    """
    CREATE TRIGGER ledger_entries_add AFTER INSERT ON ledger_entries BEGIN
        UPDATE ledger_postings SET balance_minor = balance_minor + NEW.amount_minor
        WHERE wallet_transaction_id = NEW.wallet_transaction_id AND kind = NEW.kind;
    END
    """,
    f"CREATE TRIGGER ledger_entries_keep BEFORE UPDATE ON ledger_entries {REFUSED}",
    f"CREATE TRIGGER ledger_entries_keep_all BEFORE DELETE ON ledger_entries {REFUSED}",
    f"CREATE TRIGGER ledger_postings_keep_all BEFORE DELETE ON ledger_postings {REFUSED}",
    f"CREATE TRIGGER ledger_postings_keep BEFORE UPDATE OF {', '.join(KEPT)} ON ledger_postings {REFUSED}",
    f"CREATE TRIGGER ledger_postings_begin {EARLY} {REFUSED}",
    f"CREATE TRIGGER ledger_postings_keep_sum {LATE} WHEN {DIFFERS} {REFUSED}",
)


def credentials() -> None:
    create(
        "provider_silences",
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("since", Instant),
        sa.UniqueConstraint("provider", name="uq_provider_silences_provider"),
    )
    create(
        "provider_credentials",
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("client_secret", sa.Text, nullable=False),
        sa.Column("access_token", sa.Text),
        sa.Column("token_expires_at", Instant),
        sa.Column("token_at", Instant),
        sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("refused_at", Instant),
        sa.Column("claimed_by", Id),
        sa.Column("created_at", Instant, nullable=False),
        one_of("provider_credentials", "provider", "flutterwave"),
        sa.UniqueConstraint("name", name="uq_provider_credentials_name"),
    )
