"""The migrations build what the tables say, and the indexes carry the statements that they are for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command as command_of_alembic
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, case, create_engine, insert, inspect, literal, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema

from jobctl import db, migrating
from jobctl.db import VERSION_TABLE
from jobctl.errors import LockHeldError, UnreachableError
from jobctl.locks import FileLocks
from jobctl.settings import Settings
from jobctl.tables.every import metadata
from jobctl.tables.notifications import notifications
from jobctl.tables.sessions import orders, sessions
from jobctl.tables.subscriptions import payments, plans, subscriptions
from tests.world import NOW, World, ago, ahead, command

SETTLED, QUEUED, LATER = 32_000, 300, 1_000
DOUBLED = 5  # times, since rows are made faster from rows than from Python


@pytest.fixture
def by_the_tables(world: World, tmp_path: Path) -> tuple[Engine, str | None]:
    """Give a place built from the tables' declarations: another file, or another schema."""
    if world.engine.dialect.name == "sqlite":
        # A pool would keep a connection open, which Python reports.
        other = create_engine(f"sqlite:///{tmp_path / 'declared.db'}", poolclass=NullPool)
        metadata.create_all(other)
        return other, None
    with world.engine.begin() as connection:
        connection.execute(CreateSchema("declared"))
        there = connection.execution_options(schema_translate_map={None: "declared"})
        metadata.create_all(there)
    return world.engine, "declared"


def schema_of(engine: Engine, schema: str | None) -> dict[str, Any]:
    """Return all that the database itself knows of its tables, in an order of ours."""
    found = inspect(engine)
    tables = [each for each in found.get_table_names(schema) if each != VERSION_TABLE]
    kinds = ["get_columns", "get_pk_constraint", "get_foreign_keys"]
    kinds += ["get_unique_constraints", "get_check_constraints", "get_indexes"]
    return {
        each: {kind: in_order(getattr(found, kind)(each, schema), schema) for kind in kinds}
        for each in tables
    }


def in_order(told: Any, schema: str | None) -> Any:
    if isinstance(told, list):
        return sorted((in_order(each, schema) for each in told), key=str)
    if isinstance(told, dict):
        where = {"referred_schema"}  # of a foreign key: in another schema another one
        return {name: in_order(value, schema) for name, value in sorted(told.items()) if name not in where}
    if isinstance(told, str | int | bool | None):
        # PostgreSQL names the schema of a sequence in a default.
        return told.replace(f"{schema}.", "") if isinstance(told, str) and schema else told
    return str(told)


def test_alembic_sees_nothing_left_to_do(world: World) -> None:
    # SQLite numbers rows by itself and has no IDENTITY, which Alembic takes for a missing default.
    defaults = world.engine.dialect.name == "postgresql"
    with world.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": defaults,
                "version_table": VERSION_TABLE,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_the_migrated_schema_is_the_declared_one(
    world: World, by_the_tables: tuple[Engine, str | None]
) -> None:
    """Also in what Alembic doesn't compare: CHECKs, the conditions of partial indexes, computed columns."""
    declared = schema_of(*by_the_tables)
    assert set(declared) == set(metadata.tables)
    assert schema_of(world.engine, None) == declared


def test_the_code_is_written_for_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrating.migrations()))
    assert ScriptDirectory.from_config(config).get_heads() == [db.SCHEMA]


@contextmanager
def at_migration(empty: Settings, revision: str) -> Iterator[Connection]:
    """Bring a database to an earlier migration, and give the transaction that does."""
    config = Config()
    config.set_main_option("script_location", str(migrating.migrations()))
    with migrating.exclusive(empty) as connection:
        config.attributes["connection"] = connection
        command_of_alembic.upgrade(config, revision)
        connection.execute(text("INSERT INTO installation (id) VALUES ('aaaaaaaa')"))
        yield connection


def test_an_upgrade_keeps_the_audit_trail(empty: Settings) -> None:
    """On SQLite its table is made anew, so that rows may be named by text."""
    said = "'2026-03-02T12:00:00.000000Z', 'users', 17, '{}', '{\"a\": 1}'"
    with at_migration(empty, "0006") as connection:
        columns = "id, run_id, at, table_name, row_id, before, after"
        connection.exec_driver_sql(f"INSERT INTO audit_trail ({columns}) VALUES (5, 3, {said})")
    assert migrating.upgrade(empty) == ("0006", db.SCHEMA)
    with World(empty) as world:
        (kept,) = world.trail()
        assert (kept.id, kept.run_id, kept.table_name, kept.row_id) == (5, 3, "users", 17)
        assert (kept.at, kept.after, kept.row_key) == (NOW, {"a": 1}, None)


@pytest.mark.only("sqlite")
@pytest.mark.parametrize(
    "instant",
    [
        "2026-11-22 12:00:00",
        "2026-11-22T12:00:00Z",
        "2026-02-30T12:00:00.000000Z",
        "2026-02-03T24:00:00.000000Z",
        "2026-13-03T12:00:00.000000Z",
        "0000-01-01T00:00:00.000000Z",
        "9999-12-31T00:00:00.000000Z",
        "yesterday",
        "",
    ],
)
def test_sqlite_refuses_an_instant_in_another_form(world: World, instant: str) -> None:
    """Text compares as instants only where all of it is written alike."""
    message = world.message()
    with world.engine.connect() as connection, pytest.raises(Exception, match="CHECK constraint failed"):
        connection.execute(
            text("UPDATE notifications SET send_after = :instant WHERE id = :id"),
            {"instant": instant, "id": message},
        )


@pytest.mark.only("postgresql")
@pytest.mark.parametrize("instant", ["infinity", "-infinity", "4713-01-01 BC", "9999-12-31", "10000-01-01"])
def test_postgresql_refuses_an_instant_that_python_has_not(world: World, instant: str) -> None:
    """A row that cannot be read would stop all that are read with it."""
    message, user = world.message(), world.user()
    for change in (
        f"UPDATE notifications SET expires_at = '{instant}' WHERE id = {message}",
        f"UPDATE users SET deleted_at = '{instant}' WHERE id = {user}",
    ):
        with world.engine.connect() as connection, pytest.raises(IntegrityError):
            connection.execute(text(change))


@pytest.mark.parametrize("status", ["lost", "SENT", ""])
def test_no_database_takes_a_status_that_there_is_not(world: World, status: str) -> None:
    with pytest.raises(Exception, match="ck_notifications_status"):
        world.message(status=status)


@pytest.mark.parametrize("currency", ["usd", "Usd", "US", "USDT", "€€€", "US ", "US1", "ÄÖÜ", "", "USD\n"])
def test_no_database_takes_a_currency_that_is_no_code(world: World, currency: str) -> None:
    """Of a code in small letters nobody would know that its minor units are others."""
    session = world.session()
    order = {"session_id": session, "customer_id": 1, "amount_minor": 1, "created_at": NOW}
    world.add(orders, order | {"currency": "USD"})
    with pytest.raises(IntegrityError):
        world.add(orders, order | {"currency": currency})


class TestIndexes:
    """With a table as it is after some weeks: nearly all sent, some waiting for later, a few due."""

    @pytest.fixture
    def filled(self, world: World, monkeypatch: pytest.MonkeyPatch) -> World:
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        row: dict[str, Any] = {
            "user_id": None,
            "channel": "email",
            "template": "welcome",
            "context": {},
            "send_after": None,
        }
        sent = {**row, "status": "sent", "attempts": 1, "settled_at": NOW}
        waiting = {**row, "status": "queued", "attempts": 0, "settled_at": None}
        later = {**waiting, "send_after": ahead(days=3650)}
        rows = [{**sent, "queued_at": ago(minutes=n)} for n in range(SETTLED >> DOUBLED)]
        rows += [{**waiting, "queued_at": ago(seconds=n)} for n in range(QUEUED)]
        rows += [{**later, "queued_at": ago(seconds=n)} for n in range(LATER)]
        ours = notifications.c
        names = [name for name in row if name in ours] + ["status", "attempts", "settled_at", "queued_at"]
        again = select(*(ours[name] for name in names)).where(ours.status == "sent")
        with world.engine.begin() as connection:
            connection.execute(insert(notifications), rows)
            for _ in range(DOUBLED):
                connection.execute(insert(notifications).from_select(names, again))
        with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        return world

    def test_the_due_messages_are_found_by_theirs(self, filled: World) -> None:
        """Neither the sent ones nor those that wait for later are read."""
        statement = command("why", "notification-sender", "1", "--sql").out.strip().rstrip(";")
        with filled.engine.connect() as connection:
            assert len(connection.execute(text(statement.replace(":", r"\:"))).all()) == QUEUED
            for asked in (statement, f"{statement} ORDER BY notifications.due_at, notifications.id LIMIT 16"):
                assert "ix_notifications_due" in plan(connection, asked)

    def test_the_rare_ones_are_found_by_theirs(self, filled: World) -> None:
        expected = {
            "claimed_by IN (1, 2)": "ix_notifications_claimed_by",
            "status IN ('failed', 'held') ORDER BY id LIMIT 10": "ix_notifications_unfinished",
            "topic = 'session-7' AND user_id = 7 AND channel = 'email'": "ix_notifications_topic",
        }
        with filled.engine.connect() as connection:
            for condition, index in expected.items():
                assert index in plan(connection, f"SELECT id FROM notifications WHERE {condition}")


class TestIndexesOfSessions:
    """With tables as they are after some years: nearly all sessions over and paid, some still to come."""

    @pytest.fixture
    def filled(self, world: World, monkeypatch: pytest.MonkeyPatch) -> World:
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        over = {
            "expert_id": 1,
            "consumer_id": 2,
            "status": "ended",
            "starts_at": ago(days=300),
            "ends_at": ago(days=299),
            "attendance": "all_present",
            "created_at": ago(days=301),
        }
        coming = over | {"status": "not_started", "attendance": None, "starts_at": ahead(days=3650)}
        rows = [over] * (SETTLED >> DOUBLED) + [coming | {"ends_at": ahead(days=3651)}] * QUEUED
        paid = {
            "session_id": sessions.c.id,
            "customer_id": sessions.c.consumer_id,
            "amount_minor": literal(5000),
            "currency": literal("EUR"),
            "status": literal("complete"),
            "payment_status": case((sessions.c.attendance.is_(None), "authorized"), else_="captured"),
            "created_at": sessions.c.created_at,
        }
        again = select(*(sessions.c[name] for name in over)).where(sessions.c.status == "ended")
        with world.engine.begin() as connection:
            connection.execute(insert(sessions), rows)
            for _ in range(DOUBLED):
                connection.execute(insert(sessions).from_select(list(over), again))
            connection.execute(insert(orders).from_select(list(paid), select(*paid.values())))
        with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        return world

    @pytest.mark.parametrize(
        ("job", "order", "index"),
        [
            ("upcoming-session-reminder", "sessions.starts_at, sessions.id", "ix_sessions_coming"),
            ("session-attendance-analyzer", "sessions.over_at, sessions.id", "ix_sessions_unanalysed"),
            ("session-payment-authorizer", "orders.id", "ix_orders_awaiting_payment"),
            ("session-payment-processor", "orders.id", "ix_orders_awaiting_payment"),
            ("unpaid-session-canceller", "orders.id", "ix_orders_failed"),
        ],
    )
    def test_no_job_reads_what_is_done_with(self, filled: World, job: str, order: str, index: str) -> None:
        statement = command("why", job, "1", "--sql").out.split(";")[0]
        with filled.engine.connect() as connection:
            assert index in plan(connection, f"{statement} ORDER BY {order} LIMIT 16")


class TestIndexesOfSubscriptions:
    """With tables as they are after some years: nearly all over and paid, some active or not confirmed."""

    @pytest.fixture
    def filled(self, world: World, monkeypatch: pytest.MonkeyPatch) -> World:
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        plan_id = world.add(plans, {"name": "Gold", "unit": "month", "recurring": True, "created_at": NOW})
        over = {
            "plan_id": plan_id,
            "currency": "RUB",
            "billing_anchor_day": 1,
            "status": "expired",
            "started_at": ago(days=400),
            "ended_at": ago(days=370),
            "created_at": ago(days=400),
        }
        still = {"status": "active", "ended_at": ahead(days=3650), "next_charge_at": ahead(days=3650)}
        paid = {
            "user_id": 0,
            "plan_id": plan_id,
            "provider": "yookassa",
            "amount_minor": 50_000,
            "currency": "RUB",
            "status": "succeeded",
            "paid_at": ago(days=370),
            "confirmed_at": ago(days=370),
            "created_at": ago(days=370),
        }
        kinds = [paid | {"confirmed_at": None}, paid | {"confirmed_at": None, "status": "pending"}]
        many, some = range(SETTLED >> DOUBLED), range(QUEUED)
        with world.engine.begin() as connection:
            connection.execute(insert(subscriptions), [{**over, "user_id": n} for n in many])
            connection.execute(insert(payments), [paid for _ in many])
            for table, names in ((subscriptions, [*over, "user_id"]), (payments, list(paid))):
                again = select(*(table.c[name] for name in names))
                for _ in range(DOUBLED):
                    connection.execute(insert(table).from_select(names, again))
            connection.execute(insert(subscriptions), [{**over, **still, "user_id": n} for n in some])
            numbered = [
                {**each, "provider_payment_id": f"{each['status']}-{n}"} for n in some for each in kinds
            ]
            connection.execute(insert(payments), numbered)
        with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        return world

    @pytest.mark.parametrize(
        ("job", "order", "index"),
        [
            ("autopayments", "subscriptions.next_charge_at, subscriptions.id", "ix_subscriptions_"),
            ("matching-pending-payments", "payments.created_at, payments.id", "ix_payments_pending"),
            (
                "matching-successful-payments",
                "coalesce(payments.paid_at, payments.created_at), payments.id",
                "ix_payments_unconfirmed",
            ),
        ],
    )
    def test_no_job_reads_what_is_done_with(self, filled: World, job: str, order: str, index: str) -> None:
        statement = command("why", job, "1", "--sql").out.split(";")[0]
        with filled.engine.connect() as connection:
            assert index in plan(connection, f"{statement} ORDER BY {order} LIMIT 16")


def plan(connection: Connection, statement: str) -> str:
    """Ask the database how it would run a statement."""
    explain = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    rows = connection.execute(text(f"{explain} {statement}".replace(":", r"\:")))
    return "\n".join(" ".join(map(str, row)) for row in rows)


@pytest.mark.only("sqlite")
def test_sqlite_refuses_what_is_no_json(world: World) -> None:
    """A row that cannot be read would stop all that are read with it."""
    message = world.message()
    with world.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(text("UPDATE notifications SET context = '{no' WHERE id = :id"), {"id": message})


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("instant", ["2028-02-29T23:59:59.999999Z", "2026-12-31T00:00:00.000000Z"])
def test_sqlite_takes_an_instant_at_any_edge(world: World, instant: str) -> None:
    message = world.message()
    with world.engine.begin() as connection:
        statement = text("UPDATE notifications SET send_after = :instant WHERE id = :id")
        connection.execute(statement, {"instant": instant, "id": message})
    assert world.row(message).send_after.isoformat(timespec="microseconds") == instant.replace("Z", "+00:00")


@pytest.mark.only("postgresql")
class TestOthersAtWork:
    """What others do in the database while it is upgraded."""

    @contextmanager
    def held(self, empty: Settings, statement: str) -> Iterator[None]:
        with psycopg.connect(str(empty.database_url)) as connection:
            connection.execute(statement.encode())
            yield

    def test_a_run_of_an_earlier_version_keeps_it_from_being_upgraded(self, empty: Settings) -> None:
        """The locks of the two exclude nobody."""
        with at_migration(empty, "0008"):
            pass
        with self.held(empty, "SELECT pg_advisory_lock(1785684594, 7)"), pytest.raises(LockHeldError):
            migrating.upgrade(empty)
        assert migrating.upgrade(empty) == ("0008", db.SCHEMA)

    def test_a_table_in_use_is_waited_for_briefly_and_often(
        self, empty: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrating, "PAUSE", 0.01)
        monkeypatch.setattr(migrating, "TRIES", 2)
        with at_migration(empty, "0008"):
            pass
        in_use = self.held(empty, "LOCK TABLE notifications IN ACCESS SHARE MODE")
        with in_use, pytest.raises(UnreachableError):
            migrating.upgrade(empty)
        assert migrating.upgrade(empty) == ("0008", db.SCHEMA)


def test_another_upgrade_is_waited_for_no_longer_than_that(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "PATIENCE", 0.3)
    with other_upgrade(empty), pytest.raises(LockHeldError):
        migrating.upgrade(empty)
    assert migrating.upgrade(empty) == (None, db.SCHEMA)


@contextmanager
def other_upgrade(empty: Settings) -> Iterator[None]:
    if not empty.database_url:
        with FileLocks(empty.embedded_path) as locks:
            assert locks.take("upgrade", share=False)
            yield
        return
    with psycopg.connect(str(empty.database_url)) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [migrating.UPGRADE_LOCK])
        yield
