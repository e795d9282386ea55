"""Whether the database has all that jobctl relies on: what `db check` finds, and what a money run refuses."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from jobctl.checks.comparing import KEPT, RIGHTS
from jobctl.checks.shapes import declared
from jobctl.errors import Exit
from jobctl.tables.every import metadata
from jobctl.tables.frame import runs
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import wallet_transactions
from tests.bazaar import Bazaar
from tests.declared import made
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.subscribers import Club
from tests.world import Done, World, ago, command

pytestmark = pytest.mark.usefixtures("environment")
AUTOPAYMENTS, CLEANUP = "autopayments", "payment-cleanup"
SWITCHED_OFF = (
    "ledger_entries_add ledger_entries_keep fk_ledger_entries_posting fk_ledger_entries_wallet_id_wallets"
)
# Of what is done to a table, what is then named.
DAMAGE = [
    ("wallets", "status ck_wallets_status", "ALTER TABLE wallets DROP COLUMN status CASCADE"),
    ("orders", "amount_minor", "ALTER TABLE orders ALTER COLUMN amount_minor TYPE integer"),
    ("users", "email", "ALTER TABLE users ALTER COLUMN email SET NOT NULL"),
    ("users", "name", "ALTER TABLE users ALTER COLUMN name DROP NOT NULL"),
    ("wallets", "kind", "ALTER TABLE wallets ALTER COLUMN kind DROP DEFAULT"),
    ("wallets", "kind", "ALTER TABLE wallets ALTER COLUMN kind SET DEFAULT 'platform'"),
    ("payments", "id", "ALTER TABLE payments ALTER COLUMN id DROP IDENTITY"),
    ("subscriptions", "theirs", "ALTER TABLE subscriptions ADD COLUMN theirs text NOT NULL"),
    (
        "sessions",
        "over_at",
        "ALTER TABLE sessions DROP COLUMN over_at; ALTER TABLE sessions ADD over_at timestamptz",
    ),
    ("wallets", "ck_wallets_owner", "ALTER TABLE wallets DROP CONSTRAINT ck_wallets_owner"),
    (
        "wallets",
        "uq_wallets_user_id_currency",
        "ALTER TABLE wallets DROP CONSTRAINT uq_wallets_user_id_currency",
    ),
    (
        "ledger_postings",
        "fk_ledger_postings_balance",
        "ALTER TABLE ledger_postings DROP CONSTRAINT fk_ledger_postings_balance",
    ),
    (
        "ledger_postings",
        "fk_ledger_postings_balance",
        "ALTER TABLE ledger_postings ALTER CONSTRAINT fk_ledger_postings_balance NOT DEFERRABLE",
    ),
    ("ledger_entries", SWITCHED_OFF, "ALTER TABLE ledger_entries DISABLE TRIGGER ALL"),
    (
        "wallets",
        "uq_wallets_platform",
        "DROP INDEX uq_wallets_platform; CREATE UNIQUE INDEX uq_wallets_platform ON wallets (kind)",
    ),
    (
        "wallets",
        "uq_wallets_platform",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq_wallets_platform'::regclass",
    ),
    ("watermarks", "watermarks", "ALTER TABLE watermarks SET UNLOGGED"),
    (
        "wallets",
        "wallets_id_seq",
        "INSERT INTO wallets (id, user_id, currency, created_at) VALUES (7, 1, 'EUR', now())",
    ),
]
ADDITIONS = (
    "ALTER TABLE users ADD COLUMN theirs text DEFAULT 'x' NOT NULL",
    "ALTER TABLE subscriptions ADD COLUMN theirs text",
    "CREATE UNIQUE INDEX theirs ON payments (provider, created_at, id)",
    "CREATE INDEX theirs_too ON payments (created_at, provider)",
    "CREATE TABLE their_table (id integer)",
)


def damage(world: World, *statements: str) -> None:
    with world.engine.begin() as connection:
        for each in statements:
            connection.execute(text(each.replace(":", r"\:")))


def checked(exit_code: Exit) -> dict[str, Any]:
    done = command("db", "check", "--json")
    assert done.exit_code == exit_code
    assert done.document["ok"] == (exit_code == Exit.DONE)
    found: dict[str, Any] = done.document
    return found


def named(found: dict[str, Any], what: str = "problems") -> dict[str, set[str]]:
    told: dict[str, set[str]] = {}
    for each in found[what]:
        told.setdefault(each["table"], set()).add(each["name"])
    return told


def test_the_declared_shapes_are_what_the_migrations_make(world: World) -> None:
    """After a new migration: python -m tests.declared."""
    with world.engine.connect() as connection:
        found = made(connection)
    assert found == declared(world.engine.dialect.name)
    assert set(found) == set(metadata.tables)


class TestCheck:
    def test_of_a_database_that_is_ready(self, world: World) -> None:
        found = checked(Exit.DONE)
        assert (found["problems"], found["hints"]) == ([], [])

    @pytest.mark.parametrize(
        ("statement", "table", "name"),
        [
            ("DROP INDEX uq_money_operations_open", "money_operations", "uq_money_operations_open"),
            ("DROP INDEX uq_money_operations_succeeded", "money_operations", "uq_money_operations_succeeded"),
            ("DROP TRIGGER ledger_entries_keep", "ledger_entries", "ledger_entries_keep"),
        ],
    )
    def test_what_is_missing_is_named_with_what_mends_it(
        self, world: World, statement: str, table: str, name: str
    ) -> None:
        on = f" ON {table}" if "TRIGGER" in statement and world.settings.database_url else ""
        damage(world, statement + on)
        found = checked(Exit.MISCONFIGURED)
        assert named(found) == {table: {name}}
        assert found["installation"] is None
        damage(world, *(each["mend"] for each in found["problems"]))
        checked(Exit.DONE)

    @pytest.mark.only("postgresql")
    @pytest.mark.parametrize(("table", "names", "statement"), DAMAGE)
    def test_so_is_what_differs(self, world: World, table: str, names: str, statement: str) -> None:
        damage(world, statement)
        found = checked(Exit.MISCONFIGURED)
        assert named(found) == {table: set(names.split())}
        for each in (*found["problems"], *found["hints"]):
            damage(world, each["mend"].partition(", or give")[0])
        checked(Exit.DONE)

    @pytest.mark.parametrize(
        ("table", "column"),
        [("wallets", "status"), ("money_operations", "answer_by"), ("payments", "paid_at")],
    )
    def test_a_column_that_is_not_there(self, world: World, table: str, column: str) -> None:
        damage(world, f"ALTER TABLE {table} RENAME {column} TO theirs")
        assert column in named(checked(Exit.MISCONFIGURED))[table]

    @pytest.mark.parametrize("table", ["subscriptions", "installation", "runs"])
    def test_a_table_that_is_not_there(self, world: World, table: str) -> None:
        damage(world, f"ALTER TABLE {table} RENAME TO elsewhere")
        assert named(checked(Exit.MISCONFIGURED))[table] == {table}

    def test_a_view_in_its_place(self, world: World) -> None:
        """Its rows can be read, and not locked."""
        damage(
            world,
            "ALTER TABLE subscriptions RENAME TO theirs",
            "CREATE VIEW subscriptions AS SELECT theirs.* FROM theirs LEFT JOIN users ON users.id = user_id",
        )
        assert named(checked(Exit.MISCONFIGURED))["subscriptions"] == {"subscriptions"}

    def test_an_installation_without_a_name(self, world: World) -> None:
        damage(world, "DELETE FROM installation")
        assert named(checked(Exit.MISCONFIGURED)) == {"installation": {"id"}}

    @pytest.mark.only("postgresql")
    def test_a_ledger_trigger_that_does_something_else(self, world: World) -> None:
        nothing = "BEGIN RETURN NULL; END"
        damage(
            world,
            f"CREATE OR REPLACE FUNCTION ledger_add() RETURNS trigger LANGUAGE plpgsql AS $${nothing}$$",
        )
        assert named(checked(Exit.MISCONFIGURED)) == {"ledger_entries": {"ledger_entries_add"}}

    def test_what_the_application_adds_is_its_own(self, world: World) -> None:
        damage(world, *ADDITIONS)
        world.refuse(money_operations, "attempt", 77)
        found = checked(Exit.DONE)
        assert found["problems"] == []

    def test_an_index_for_speed_is_a_hint(self, world: World) -> None:
        damage(world, "DROP INDEX ix_sessions_coming")
        found = checked(Exit.DONE)
        assert named(found, "hints") == {"sessions": {"ix_sessions_coming"}}
        damage(world, found["hints"][0]["mend"])
        assert checked(Exit.DONE)["hints"] == []

    @pytest.mark.only("postgresql")
    def test_so_is_a_rule_that_older_rows_were_not_held_against(self, world: World) -> None:
        rule = "CHECK (balance_minor >= 0)"
        damage(
            world,
            "ALTER TABLE wallets DROP CONSTRAINT ck_wallets_balance_minor",
            f"ALTER TABLE wallets ADD CONSTRAINT ck_wallets_balance_minor {rule} NOT VALID",
        )
        found = checked(Exit.DONE)
        assert named(found, "hints") == {"wallets": {"ck_wallets_balance_minor"}}
        damage(world, found["hints"][0]["mend"])
        assert checked(Exit.DONE)["hints"] == []

    @pytest.mark.only("postgresql")
    def test_another_name_is_as_good(self, world: World) -> None:
        damage(
            world,
            "ALTER INDEX uq_money_operations_open RENAME TO theirs",
            "ALTER TABLE wallets RENAME CONSTRAINT ck_wallets_kind TO ck_theirs",
        )
        checked(Exit.DONE)

    @pytest.mark.only("postgresql")
    def test_the_session_has_no_say_in_it(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        options = "-cTimeZone%3DAsia/Tokyo -cDateStyle%3DGerman -cquote_all_identifiers%3Don"
        monkeypatch.setenv(
            "DATABASE_URL", f"{world.settings.database_url}?options={options.replace(' ', '%20')}"
        )
        checked(Exit.DONE)

    def test_what_stumbles_over_it_names_the_check(self, world: World) -> None:
        damage(world, "ALTER TABLE orders RENAME COLUMN payment_failure TO theirs")
        done = command("why", PROCESSOR, "1")
        assert done.exit_code == Exit.UNEXPECTED
        assert "jobctl db check" in done.err

    def test_as_text_each_is_a_line(self, world: World) -> None:
        damage(world, "DROP INDEX uq_money_operations_open", "DROP INDEX ix_sessions_coming")
        done = command("db", "check")
        problem, hint, _ = done.out.splitlines()
        assert done.exit_code == Exit.MISCONFIGURED
        assert "CREATE UNIQUE INDEX uq_money_operations_open" in problem
        assert "CREATE INDEX ix_sessions_coming" in hint


@pytest.mark.only("postgresql")
class TestRights:
    @pytest.fixture
    def role(self, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        """Give a role that has exactly the rights which the jobs use, for jobctl to run as."""
        name = f"jobctl_{uuid4().hex}"
        grants = [
            f"GRANT {', '.join(RIGHTS.get(each, KEPT))} ON {each} TO {name}" for each in metadata.tables
        ]
        damage(world, f"CREATE ROLE {name} LOGIN", *grants, f"GRANT SELECT ON jobctl_version TO {name}")
        url = str(world.settings.database_url)
        monkeypatch.setenv("DATABASE_URL", url.replace("postgres@", f"{name}@"))
        yield name
        damage(world, f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    def test_those_that_the_jobs_use_will_do(self, role: str) -> None:
        assert checked(Exit.DONE)["problems"] == []

    @pytest.mark.parametrize("right", ["UPDATE", "INSERT", "SELECT"])
    def test_one_that_is_missing(self, world: World, role: str, right: str) -> None:
        damage(world, f"REVOKE {right} ON money_operations FROM {role}")
        found = checked(Exit.MISCONFIGURED)
        assert named(found) == {"money_operations": {right}}
        damage(world, found["problems"][0]["mend"])
        checked(Exit.DONE)

    def test_rows_that_may_be_hidden(self, world: World, role: str) -> None:
        damage(world, "ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
        found = checked(Exit.MISCONFIGURED)
        assert named(found) == {"orders": {"orders"}}
        damage(world, found["problems"][0]["mend"])
        checked(Exit.DONE)


class TestMoney:
    """A run that has something to ask for asks for nothing that could not be written down."""

    def refused(self, done: Done, world: World, ledger: list[Any]) -> None:
        assert done.exit_code == Exit.MISCONFIGURED
        assert ledger == []
        assert world.rows(money_operations) == []

    @pytest.mark.parametrize("name", ["uq_money_operations_open", "uq_money_operations_succeeded"])
    def test_without_the_claim_on_a_subject(self, market: Market, name: str) -> None:
        market.order()
        damage(market.world, f"DROP INDEX {name}")
        done = market.run(AUTHORIZER)
        self.refused(done, market.world, market.sandbox.ledger())
        assert name in done.err
        assert market.world.rows(runs) == []

    @pytest.mark.parametrize("name", ["uq_money_operations_open", "uq_money_operations_succeeded"])
    @pytest.mark.parametrize("attendance", ["all_present", "none_showed"])
    def test_nothing_is_captured_or_released(self, market: Market, name: str, attendance: str) -> None:
        order = market.held(market.past_session(attendance))
        before = market.sandbox.ledger()
        damage(market.world, f"DROP INDEX {name}")
        done = market.run(PROCESSOR)
        assert (done.exit_code, market.sandbox.ledger()) == (Exit.MISCONFIGURED, before)
        assert market.kinds(order) == [("authorize", "succeeded")]

    @pytest.mark.parametrize("name", ["uq_money_operations_open", "uq_money_operations_succeeded"])
    def test_nothing_is_renewed(self, club: Club, name: str) -> None:
        club.member()
        damage(club.world, f"DROP INDEX {name}")
        self.refused(done := club.run(AUTOPAYMENTS), club.world, club.sandbox.ledger())
        assert name in done.err

    @pytest.mark.parametrize(
        ("lacks", "named"),
        [
            ("DROP INDEX uq_money_operations_open", "uq_money_operations_open"),
            ("ALTER TABLE wallets RENAME status TO theirs", "ALTER TABLE wallets ADD COLUMN status"),
        ],
    )
    def test_nothing_is_given_back_of_escrow(self, bazaar: Bazaar, lacks: str, named: str) -> None:
        payment = bazaar.transaction(bazaar.request(created_at=ago(hours=49)))
        bazaar.at_paystack(payment, "success")
        owed = {"status": "completed", "escrow_status": "void", "paid_at": ago(hours=2)}
        bazaar.world.change(wallet_transactions, payment, **owed, refund_refused_at=ago(days=2))
        damage(bazaar.world, lacks)
        done = bazaar.run(CLEANUP)
        assert named in done.err
        self.refused(done, bazaar.world, [e for e in bazaar.sandbox.ledger() if e.kind == "refund"])

    def test_with_nothing_due_nobody_looks(self, market: Market) -> None:
        damage(market.world, "DROP INDEX uq_money_operations_open")
        assert market.run(AUTHORIZER).exit_code == Exit.DONE

    def test_what_another_domain_lacks_stops_no_payment(self, market: Market) -> None:
        market.order()
        damage(market.world, "ALTER TABLE credit_balances RENAME TO theirs")
        assert market.run(AUTHORIZER).counts == {"held": 1}

    def test_subscriptions_whose_rows_cannot_be_locked(self, club: Club) -> None:
        for _ in range(5):
            club.member()
        damage(
            club.world,
            "ALTER TABLE subscriptions RENAME TO theirs",
            "CREATE VIEW subscriptions AS SELECT theirs.* FROM theirs LEFT JOIN users ON users.id = user_id",
        )
        self.refused(club.run(AUTOPAYMENTS), club.world, club.sandbox.ledger())

    @pytest.mark.only("postgresql")
    def test_numbers_that_are_taken(self, club: Club) -> None:
        """As after a restore; the sentence says what mends it."""
        made = club.member()
        damage(club.world, "SELECT setval('payments_id_seq', 1, false)")
        self.refused(done := club.run(AUTOPAYMENTS), club.world, club.sandbox.ledger())
        mend = "SELECT setval('payments_id_seq', 1)"
        assert mend in done.err
        damage(club.world, mend)
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        assert len(club.renewals(made)) == 1

    def test_nor_does_recovery(self, market: Market) -> None:
        market.held()
        operation = market.world.rows(money_operations)[0]
        values = {"status": "unknown", "settled_at": None, "concluded_at": None}
        market.world.change(money_operations, operation.id, **values)
        damage(market.world, "ALTER TABLE subscriptions RENAME TO theirs")
        market.pass_time(hours=1)
        assert market.run(SETTLER).exit_code == Exit.MISCONFIGURED
        assert market.world.one(money_operations, operation.id).status == "unknown"
