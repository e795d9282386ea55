"""What the server, its database, its role, a pooler and others say of sessions changes nothing."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text

from jobctl import migrating, session
from jobctl.db import Database
from jobctl.errors import Exit, JobctlError
from jobctl.locks import open_locks
from jobctl.settings import Settings
from jobctl.tables.notifications import notifications
from tests.pooler import MODES, POOLERS, pooled
from tests.world import World

UNUSUAL = {
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "statement_timeout": "100ms",
    "lock_timeout": "1ms",
    "idle_session_timeout": "50ms",
    "idle_in_transaction_session_timeout": "50ms",
    "default_transaction_isolation": "serializable",
    "synchronous_commit": "off",
    "escape_string_warning": "off",
}
RELIED_ON = {
    "datestyle": "ISO, DMY",
    "timezone": "UTC",
    "client_encoding": "UTF8",
    "statement_timeout": "0",
    "lock_timeout": "10s",
    "idle_session_timeout": "0",
    "transaction_isolation": "read committed",
    "synchronous_commit": "on",
    "row_security": "off",
}
THEIRS = {
    "datestyle": "German",
    "lock_timeout": "7000",
    "statement_timeout": "7000",
    "search_path": "pg_catalog",
}
pytestmark = pytest.mark.only("postgresql")


def url_of(world: World) -> str:
    return str(world.settings.database_url)


def make_unusual(world: World) -> None:
    with psycopg.connect(url_of(world), autocommit=True) as connection:
        named = sql.Identifier(connection.info.dbname)
        for name, value in UNUSUAL.items():
            alter = sql.SQL("ALTER DATABASE {} SET {} = {}")
            connection.execute(alter.format(named, sql.Identifier(name), value))


def shown(connection: "psycopg.Connection[tuple[str]]") -> dict[str, str]:
    told = {name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in {*RELIED_ON, *THEIRS}}
    return {name: row[0] for name, row in told.items() if row}


def test_what_is_relied_on_is_set(world: World) -> None:
    make_unusual(world)
    database = Database(world.settings, read_only=False, name="jobctl tests")
    with database.transaction() as connection:
        assert {name: connection.scalar(text(f"SHOW {name}")) for name in RELIED_ON} == RELIED_ON
    database.close()


def test_more_than_asynchronous_commit_is_left_as_it_is(world: World) -> None:
    with psycopg.connect(url_of(world), autocommit=True) as connection:
        named = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = remote_apply").format(named))
    made = session.connect(url_of(world), variable="DATABASE_URL", name="jobctl tests")
    assert made.execute("SHOW synchronous_commit").fetchone() == ("remote_apply",)
    made.close()


def test_unusual_settings_change_nothing(world: World) -> None:
    make_unusual(world)
    ids = world.messages(40, context={"name": "Ωμέγα"}, expires_at=None)
    done = world.call("notification-sender", "--json")
    assert (done.exit_code, done.err) == (Exit.DONE, "")
    assert {world.row(each).status for each in ids} == {"sent"}
    assert world.call("db", "check").exit_code == Exit.DONE
    assert world.call("health").exit_code == Exit.DONE


class TestPoolers:
    @pytest.fixture(params=POOLERS)
    def pooler(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.mark.parametrize("mode", MODES)
    def test_neither_we_nor_others_meet_settings_of_the_other(
        self, world: World, pooler: str, mode: str
    ) -> None:
        """The application's client keeps its own; in a pool of transactions it shares one session with us."""
        ids = world.messages(40)
        sessions, direct = (1, url_of(world)) if mode == "transaction" else (4, "")
        with (
            pooled(pooler, mode, url_of(world), sessions) as url,
            psycopg.connect(url, autocommit=True, prepare_threshold=None) as application,
        ):
            # As a client does that takes the session for its own.
            for name, value in THEIRS.items():
                application.execute(f"SET {name} = {value}".encode())
            before = shown(application)
            told = {"DATABASE_URL": url, "DATABASE_SCHEMA": "public", "DATABASE_LOCK_URL": direct}
            done = world.call("notification-sender", "--json", **told)
            assert (done.exit_code, done.err) == (Exit.DONE, "")
            assert world.call("runs", "list", **told).exit_code == Exit.DONE
            assert shown(application) == before
        assert {world.row(each).status for each in ids} == {"sent"}

    def test_locks_in_a_pool_of_transactions_are_refused_and_nothing_is_set(
        self, world: World, pooler: str
    ) -> None:
        with (
            pooled(pooler, "transaction", url_of(world)) as url,
            psycopg.connect(url, autocommit=True, prepare_threshold=None) as application,
        ):
            before = shown(application)
            done = world.call("notification-sender", DATABASE_URL=url)
            assert done.exit_code == Exit.MISCONFIGURED
            assert "DATABASE_LOCK_URL" in done.err
            assert shown(application) == before

    def test_what_it_refuses_needs_somebody(self, world: World, pooler: str) -> None:
        with pooled(pooler, "transaction", url_of(world)) as url:
            done = world.call("db", "current", DATABASE_URL=f"{url}?options=-csearch_path%3Dpublic")
        refuses = pooler == "pgbouncer"  # ours hands them on
        assert done.exit_code == (Exit.MISCONFIGURED if refuses else Exit.DONE)
        assert ("DATABASE_SCHEMA" in done.err) is refuses


def test_rows_that_a_policy_hides_are_an_error(world: World) -> None:
    """And not a job that has nothing to do."""
    world.messages(3)
    with role(url_of(world)) as theirs:
        with world.engine.begin() as connection:
            connection.execute(text("ALTER TABLE notifications ENABLE ROW LEVEL SECURITY"))
        done = world.call("notification-sender", DATABASE_URL=theirs)
    assert done.exit_code == Exit.MISCONFIGURED
    assert "row-level security" in done.err


@contextmanager
def role(url: str) -> Iterator[str]:
    """Give the URL of another role, which has all rights on what is in the schema `public`."""
    with psycopg.connect(url, autocommit=True) as connection:
        named = f"jobs_{connection.info.dbname}"
        connection.execute(f"CREATE ROLE {named} LOGIN".encode())
        for kind in ("TABLES", "SEQUENCES"):
            connection.execute(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {named}".encode())
        try:
            yield make_url(url).set(username=named).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP OWNED BY {named}".encode())
            connection.execute(f"DROP ROLE {named}".encode())


def test_a_locked_table_holds_no_run_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(session.NEEDED, "lock_timeout", "100ms")
    world.messages(3)
    with world.engine.begin() as application:
        application.execute(text("LOCK TABLE notifications"))
        done = world.send()
    assert (done.exit_code, world.failed(done)) == (Exit.UNREACHABLE, [])
    assert world.send().counts == {"sent": 3}


def test_a_cancelled_statement_is_no_outage(world: World) -> None:
    """It is that statement's own failure, as one is that waits for a lock in vain."""
    ids = world.messages(3)
    with world.engine.begin() as application:
        application.execute(text("LOCK TABLE inbox IN SHARE MODE"))
        with cancelling(url_of(world)):
            done = world.send()
    assert (done.exit_code, sorted(world.failed(done))) == (Exit.ITEMS_FAILED, ids)


@contextmanager
def cancelling(url: str) -> Iterator[None]:
    """Cancel whatever waits for a lock, as a person does at the server."""
    over = threading.Event()

    def cancel() -> None:
        waiting = "datname = current_database() AND wait_event_type = 'Lock'"
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.wait(0.02):
                connection.execute(
                    f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {waiting}".encode()
                )

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Refusing(threading.Thread):
    """A server that refuses whoever comes, in its own language."""

    def __init__(self, code: str, *, closing: bool = False) -> None:
        """Refuse with a code or, `closing`, hang up without a word."""
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://jobctl@127.0.0.1:{self.listener.getsockname()[1]}/market"
        fields = {"S": "ВАЖНО", "V": "FATAL", "C": code, "M": "отказано"}
        told = b"".join(f"{name}{value}".encode() + b"\0" for name, value in fields.items()) + b"\0"
        self.answer = b"" if closing else b"E" + struct.pack("!i", 4 + len(told)) + told

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client:
                    if client.recv(1 << 16)[4:8] == struct.pack("!i", 80877103):
                        client.sendall(b"N")
                        client.recv(1 << 16)
                    client.sendall(self.answer)

    def __enter__(self) -> str:
        self.start()
        return self.url

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


PASSING = {"57P03": "starting", "53300": "too many clients", "57P01": "shutting down", "08006": "lost"}
FOR_SOMEBODY = {
    "28P01": "wrong password",
    "28000": "no entry for the host",
    "3D000": "no such database",
    "42501": "no right to connect",
    "42704": "no such parameter",
    "08P01": "refused by a pooler",
}


@pytest.mark.parametrize("code", [*PASSING, *FOR_SOMEBODY])
def test_codes_are_told_apart_in_any_language(code: str) -> None:
    with Refusing(code) as url, pytest.raises(JobctlError) as told:
        session.connect(url, variable="DATABASE_URL", name="jobctl tests")
    assert told.value.exit_code == (Exit.UNREACHABLE if code in PASSING else Exit.MISCONFIGURED)


WRONG_URLS = {
    "sslmode=require": Exit.MISCONFIGURED,
    "sslmode=maybe": Exit.MISCONFIGURED,
    "nonsense=1": Exit.MISCONFIGURED,
    "service=nowhere": Exit.MISCONFIGURED,
    "options=-cfoo%3D1": Exit.MISCONFIGURED,
    "port=1": Exit.UNREACHABLE,
    "host=nowhere.invalid": Exit.UNREACHABLE,
    "host=/nowhere": Exit.UNREACHABLE,
}


@pytest.mark.parametrize("wrong", WRONG_URLS)
def test_what_a_url_asks_for_in_vain(world: World, wrong: str) -> None:
    name = wrong.partition("=")[0]
    url = make_url(url_of(world))
    if name == "host":
        url = url.set(host="", port=None)
    if name == "port":
        url = url.set(port=None)
    with pytest.raises(JobctlError) as told:
        session.connect(f"{url.render_as_string(hide_password=False)}?{wrong}", variable="X", name="tests")
    assert told.value.exit_code == WRONG_URLS[wrong]


def test_what_answers_nothing_passes() -> None:
    """A proxy, say, whose server is away."""
    with Refusing("00000", closing=True) as url, pytest.raises(JobctlError) as told:
        session.connect(url, variable="DATABASE_URL", name="jobctl tests")
    assert told.value.exit_code == Exit.UNREACHABLE


class TestSchemas:
    def test_two_installations_share_a_database(self, empty: Settings) -> None:
        """Each sees its own rows, and an upgrade makes the schema."""
        ours, theirs = (replace(empty, database_schema=each) for each in ("ours", "Theirs"))
        for each in (ours, theirs):
            migrating.upgrade(each)
        with World(ours) as world, World(theirs) as others:
            ids = world.messages(3)
            assert others.rows(notifications) == []
            assert others.send().counts == {}
            assert world.send().counts == {"sent": 3}
            assert {world.row(each).status for each in ids} == {"sent"}
            assert world.call("db", "check", DATABASE_SCHEMA="ours").exit_code == Exit.DONE

    def test_their_runs_keep_no_lock_from_each_other(self, empty: Settings) -> None:
        """Also where runs have the same numbers; a dead one of ours is not kept alive by theirs."""
        ours, theirs = (replace(empty, database_schema=each) for each in ("ours", "theirs"))
        for each in (ours, theirs):
            migrating.upgrade(each)
        with World(ours) as world, open_locks(theirs) as others:
            assert others.take_job("notification-sender", share=False)
            others.hold_run(7)
            message = world.message(claimed_by=7, attempts=1)
            assert world.send().counts["sent"] == 1
            assert world.row(message).status == "sent"
            with open_locks(ours) as locks:
                locks.hold_run(7)
                assert locks.alive([7]) == others.alive([7]) == {7}

    def test_where_there_are_tables_is_said(self, empty: Settings) -> None:
        migrating.upgrade(replace(empty, database_schema="ours"))
        with World(empty) as world:
            done = world.call("jobs")
            assert (done.exit_code, "DATABASE_SCHEMA=ours" in done.err) == (Exit.MISCONFIGURED, True)

    def test_a_schema_that_the_role_may_not_use_is_named(self, empty: Settings) -> None:
        migrating.upgrade(replace(empty, database_schema="ours"))
        with World(empty) as world, role(url_of(world)) as theirs:
            for schema in ("", "ours"):
                done = world.call("jobs", DATABASE_URL=theirs, DATABASE_SCHEMA=schema)
                assert (done.exit_code, "GRANT USAGE ON SCHEMA ours" in done.err) == (
                    Exit.MISCONFIGURED,
                    True,
                )
