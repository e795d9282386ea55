"""`jobctl db`, and what every command says of a database that is missing, outdated, too new or not there."""

import os
import socketserver
import sqlite3
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from sqlalchemy import inspect, text

from jobctl import db
from jobctl.errors import Exit
from jobctl.settings import Settings
from jobctl.tables.frame import installation
from tests import postgres
from tests.servers import closed_port
from tests.world import JOBCTL, NOW, World, command

PASSWORD = "HORSE-STAPLE"
WORK = (
    ("notification-sender",),
    ("notification-sender", "--dry-run"),
    ("history-prune",),
    ("jobs",),
    ("jobs", "--json"),
    ("runs", "list"),
    ("runs", "show", "1"),
    ("why", "notification-sender", "1"),
    ("why", "notification-sender", "1", "--sql"),
    ("notifications", "list"),
    ("notifications", "retry", "1"),
    ("notifications", "retry", "--all"),
    ("db", "check"),
    ("db", "check", "--json"),
)
EVERY = (*WORK, ("db", "current"), ("db", "upgrade"))
each_of_work = pytest.mark.parametrize("arguments", WORK, ids=" ".join)
each_of_all = pytest.mark.parametrize("arguments", EVERY, ids=" ".join)


def environment_of(settings: Settings) -> dict[str, str]:
    ours = {"JOBCTL_HOME": str(settings.jobctl_home)}
    return ours | ({"DATABASE_URL": settings.database_url} if settings.database_url else {})


def use(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def fresh(empty: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Give a database that nobody has upgraded: on PostgreSQL an empty one, on SQLite none at all."""
    use(monkeypatch, environment_of(empty))
    return empty


@pytest.fixture
def ready(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    use(monkeypatch, environment_of(world.settings))
    return world


def installations(settings: Settings) -> list[str]:
    with World(settings) as world:
        return [each.id for each in world.rows(installation)]


def at_revision(world: World, revision: str) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE jobctl_version SET version_num = :revision"), {"revision": revision})


def upgrading(settings: Settings) -> "subprocess.Popen[str]":
    """Start a real `jobctl db upgrade`."""
    environment = {"PATH": os.environ["PATH"], **environment_of(settings)}
    return subprocess.Popen([JOBCTL, "db", "upgrade"], env=environment, stderr=subprocess.PIPE, text=True)


def finished(started: list["subprocess.Popen[str]"]) -> None:
    """Wait for upgrades; all must have succeeded, and told of nothing but that they wait for each other."""
    told = {line for process in started for line in process.communicate(timeout=60)[1].splitlines()}
    assert [process.returncode for process in started] == [0] * 3
    assert told <= {"jobctl: another upgrade is at work: waiting for it"}


class TestUpgrade:
    def test_it_makes_an_empty_database_ready(self, fresh: Settings) -> None:
        assert command("db", "upgrade").exit_code == Exit.DONE
        assert command("db", "check").exit_code == Exit.DONE
        assert command("notification-sender").exit_code == Exit.DONE

    def test_a_table_of_somebody_elses_is_left_alone(self, fresh: Settings) -> None:
        """Nor is the application's own Alembic taken for ours."""
        theirs = ("CREATE TABLE users (id integer)", "CREATE TABLE alembic_version (version_num text)")
        with db.engine(fresh, create=True).begin() as connection:
            for statement in theirs:
                connection.execute(text(statement))
        done = command("db", "upgrade")
        assert done.exit_code == Exit.MISCONFIGURED
        assert "users" in done.err
        with db.engine(fresh).connect() as connection:
            assert set(inspect(connection).get_table_names()) == {"users", "alembic_version"}

    @pytest.mark.only("sqlite")
    def test_a_file_of_somebody_elses_stays_as_it_is(self, fresh: Settings) -> None:
        """To the last byte, with nothing put beside it; and SQLite has no schemas to advise."""
        with closing(sqlite3.connect(fresh.embedded_path)) as theirs:
            theirs.execute("CREATE TABLE users (id integer)")
        before = fresh.embedded_path.read_bytes()
        done = command("db", "upgrade")
        assert done.exit_code == Exit.MISCONFIGURED
        assert "JOBCTL_HOME" in done.err
        assert "SCHEMA" not in done.err
        assert fresh.embedded_path.read_bytes() == before
        assert list(fresh.jobctl_home.iterdir()) == [fresh.embedded_path]

    @pytest.mark.only("postgresql")
    def test_a_schema_of_its_own_will_do(self, fresh: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        with db.engine(fresh).begin() as connection:
            connection.execute(text("CREATE TABLE users (id integer)"))
            connection.execute(text("CREATE SCHEMA ours"))
        monkeypatch.setenv("DATABASE_URL", f"{fresh.database_url}?options=-csearch_path%3Dours")
        assert command("db", "upgrade").exit_code == Exit.DONE
        assert command("notification-sender").exit_code == Exit.DONE

    def test_it_names_the_installation(self, fresh: Settings) -> None:
        """Eight characters that every derived key can begin with."""
        command("db", "upgrade")
        (name,) = installations(fresh)
        assert len(name) == 8
        assert name.isascii()
        assert name.isalnum()

    def test_once_more_changes_nothing(self, ready: World) -> None:
        ready.message()
        before = ready.everything()
        assert command("db", "upgrade").exit_code == Exit.DONE
        assert ready.everything() == before

    def test_several_at_once(self, fresh: Settings) -> None:
        """As pods do that start together: one does the work, the others wait for it."""
        finished([upgrading(fresh) for _ in range(3)])
        assert len(installations(fresh)) == 1

    @pytest.mark.only("postgresql")
    def test_several_that_all_found_the_database_empty(self, fresh: Settings) -> None:
        """One is held up at the first thing that it would make; the others wait for that one."""
        with psycopg.connect(str(fresh.database_url)) as blocker:
            blocker.execute("CREATE TABLE jobctl_version (version_num varchar(32) PRIMARY KEY)")
            started = [upgrading(fresh) for _ in range(3)]
            postgres.await_waiting(str(fresh.database_url), 1)
            blocker.rollback()
        finished(started)
        assert len(installations(fresh)) == 1

    def test_two_databases_are_two_installations(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        names = set()
        for n in range(3):
            folder = home / str(n)
            folder.mkdir()
            monkeypatch.setenv("JOBCTL_HOME", str(folder))
            command("db", "upgrade")
            names |= set(installations(Settings(jobctl_home=folder)))
        assert len(names) == 3

    def test_a_home_that_is_not_there_is_not_made(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JOBCTL_HOME", str(home / "missing"))
        done = command("db", "upgrade")
        assert done.exit_code == Exit.MISCONFIGURED
        assert str(home / "missing") in done.err
        assert list(home.iterdir()) == []


class TestCurrent:
    def test_of_a_database_that_is_ready(self, ready: World) -> None:
        assert command("db", "current").out.split() == [db.SCHEMA]

    @pytest.mark.parametrize("revision", ["0000", "9999"])
    def test_of_one_that_is_not(self, ready: World, revision: str) -> None:
        """Whoever looks for the reason of a 78 must be told, and not get another 78."""
        at_revision(ready, revision)
        done = command("db", "current")
        assert (done.exit_code, done.out.split()) == (Exit.DONE, [revision])

    def test_of_one_without_tables(self, fresh: Settings) -> None:
        if not fresh.database_url:
            fresh.embedded_path.touch()
        done = command("db", "current")
        assert (done.exit_code, done.out.split()) == (Exit.DONE, ["none"])


class TestCheck:
    def test_json_names_the_kind_and_the_installation(self, ready: World) -> None:
        done = command("db", "check", "--json")
        assert done.exit_code == Exit.DONE
        assert done.document == {
            "database": ready.engine.dialect.name,
            "installation": installations(ready.settings)[0],
            "ok": True,
            "problems": [],
            "hints": [],
        }

    def test_it_writes_nothing(self, ready: World) -> None:
        before = ready.everything()
        command("db", "check")
        assert ready.everything() == before


class TestNotReady:
    """No command works on a schema that it was not written for; each says which command helps."""

    @each_of_work
    def test_missing(self, fresh: Settings, arguments: tuple[str, ...]) -> None:
        done = command(*arguments)
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert "jobctl db upgrade" in done.err

    @each_of_work
    def test_without_tables(self, home: Path, arguments: tuple[str, ...]) -> None:
        (home / "jobctl.db").touch()
        done = command(*arguments)
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert "jobctl db upgrade" in done.err

    @each_of_work
    def test_older(self, ready: World, arguments: tuple[str, ...]) -> None:
        ready.message()
        at_revision(ready, "0000")
        before = ready.everything()
        done = command(*arguments)
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert "jobctl db upgrade" in done.err
        assert ready.everything() == before

    @pytest.mark.parametrize("revision", ["9999", "1000", "later"])
    @pytest.mark.parametrize("arguments", [*WORK, ("db", "upgrade")], ids=" ".join)
    def test_newer(self, ready: World, arguments: tuple[str, ...], revision: str) -> None:
        """And `db upgrade` is no help, so it is not named, and leaves the newer schema alone."""
        ready.message()
        at_revision(ready, revision)
        before = ready.everything()
        done = command(*arguments)
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert revision in done.err
        assert "jobctl db upgrade" not in done.err
        assert ready.everything() == before


@contextmanager
def only_reading(folder: Path) -> Iterator[None]:
    """Be somebody who may read the folder and write nothing into it."""
    folder.chmod(0o555)
    user = os.geteuid()
    os.seteuid(user or postgres.NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


class TestEmbedded:
    @each_of_all
    def test_never_rules_it_out_for_every_command(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
    ) -> None:
        """In a container a forgotten DATABASE_URL must not become a file that is gone tomorrow."""
        command("db", "upgrade")
        before = sorted(home.rglob("*"))
        monkeypatch.setenv("JOBCTL_EMBEDDED", "never")
        done = command(*arguments)
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert "DATABASE_URL" in done.err
        assert sorted(home.rglob("*")) == before

    def test_never_makes_no_file(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JOBCTL_EMBEDDED", "never")
        for arguments in EVERY:
            command(*arguments)
        assert list(home.iterdir()) == []

    @pytest.mark.parametrize("arguments", [*WORK, ("db", "current")], ids=" ".join)
    def test_only_db_upgrade_makes_a_file(self, home: Path, arguments: tuple[str, ...]) -> None:
        """A typing error in JOBCTL_HOME must not become a second, empty database."""
        done = command(*arguments)
        assert done.exit_code == Exit.MISCONFIGURED
        assert str(home) in done.err
        assert list(home.iterdir()) == []

    @each_of_all
    def test_a_file_that_is_no_database(self, home: Path, arguments: tuple[str, ...]) -> None:
        letter = home / "jobctl.db"
        letter.write_text("a letter to my aunt, rather longer than a database's header is " * 9)
        before = letter.read_bytes()
        done = command(*arguments)
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert str(letter) in done.err
        assert letter.read_bytes() == before

    def test_one_that_may_only_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reading takes a file beside the database, which the sentence names."""
        with TemporaryDirectory() as name:
            monkeypatch.setenv("JOBCTL_HOME", name)
            command("db", "upgrade")
            assert command("runs", "list").exit_code == Exit.DONE
            for suffix in ("shm", "wal"):  # as the last one to write would leave it
                Path(name, f"jobctl.db-{suffix}").unlink()
            Path(name, "jobctl.db").chmod(0o644)
            with only_reading(Path(name)):
                done = command("runs", "list")
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert "jobctl.db-shm" in done.err

    @each_of_all
    def test_a_folder_in_its_place(self, home: Path, arguments: tuple[str, ...]) -> None:
        (home / "jobctl.db").mkdir()
        done = command(*arguments)
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert str(home / "jobctl.db") in done.err


class Unwelcoming(socketserver.ThreadingTCPServer):
    """A PostgreSQL that asks for a password and finds it wrong."""

    daemon_threads = True
    REFUSAL = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "jobctl"\0\0'
    STARTUP = 196608  # the protocol's number; requests of encryption come before it

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Refusal)
        self.passwords: list[str] = []


class Refusal(socketserver.StreamRequestHandler):
    server: Unwelcoming

    def handle(self) -> None:
        while self.startup() != Unwelcoming.STARTUP:
            self.wfile.write(b"N")
        self.wfile.write(b"R" + struct.pack("!ii", 8, 3))
        _, length = struct.unpack("!ci", self.rfile.read(5))
        self.server.passwords.append(self.rfile.read(length - 4).rstrip(b"\0").decode())
        self.wfile.write(b"E" + struct.pack("!i", len(Unwelcoming.REFUSAL) + 4) + Unwelcoming.REFUSAL)

    def startup(self) -> int:
        length, code = struct.unpack("!ii", self.rfile.read(8))
        self.rfile.read(length - 8)
        return int(code)


@pytest.fixture
def unwelcoming() -> Iterator[Unwelcoming]:
    with Unwelcoming() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestServers:
    """A server that is away is 69, one that doesn't know us is 78; the password is in neither's message."""

    def told(self, arguments: tuple[str, ...], exit_code: Exit) -> str:
        done = command(*arguments)
        assert (done.exit_code, done.out) == (exit_code, "")
        assert PASSWORD not in done.err
        return done.err

    @each_of_all
    def test_one_that_is_away(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
    ) -> None:
        port = closed_port()
        monkeypatch.setenv("DATABASE_URL", f"postgresql://jobctl:{PASSWORD}@127.0.0.1:{port}/market")
        assert str(port) in self.told(arguments, Exit.UNREACHABLE)
        assert list(home.iterdir()) == []

    @each_of_all
    def test_one_that_finds_the_password_wrong(
        self,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        unwelcoming: Unwelcoming,
        arguments: tuple[str, ...],
    ) -> None:
        host = f"127.0.0.1:{unwelcoming.server_address[1]}"
        monkeypatch.setenv("DATABASE_URL", f"postgresql://jobctl:{PASSWORD}@{host}/market")
        assert "DATABASE_URL" in self.told(arguments, Exit.MISCONFIGURED)
        assert set(unwelcoming.passwords) == {PASSWORD}

    @pytest.mark.only("postgresql")
    @pytest.mark.parametrize("arguments", [("db", "check"), ("db", "upgrade"), ("jobs",)], ids=" ".join)
    @pytest.mark.parametrize("change", ["database", "user"])
    def test_one_that_lacks_the_database_or_the_user(
        self, ready: World, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], change: str
    ) -> None:
        parts = urlsplit(str(ready.settings.database_url))
        changed = (
            parts._replace(path="/no_such_database")
            if change == "database"
            else parts._replace(netloc=f"no_such_user:{PASSWORD}@{parts.hostname}:{parts.port}")
        )
        monkeypatch.setenv("DATABASE_URL", urlunsplit(changed))
        assert f"no_such_{change}" in self.told(arguments, Exit.MISCONFIGURED)

    @pytest.mark.parametrize(
        "rest",
        [
            "jobctl@nohost.invalid/market",
            "jobctl@certificate.invalid/does_not_exist",
            "no%20password@127.0.0.1:{closed}/invalid",
            "role%20@127.0.0.1:{closed}/certificate",
        ],
    )
    def test_a_name_is_no_reason(self, home: Path, monkeypatch: pytest.MonkeyPatch, rest: str) -> None:
        """A server that is away is 69, whatever it, the user and the database are called."""
        monkeypatch.setenv("DATABASE_URL", f"postgresql://{rest.format(closed=closed_port())}")
        for arguments in (("db", "check"), ("db", "upgrade"), ("notification-sender",)):
            self.told(arguments, Exit.UNREACHABLE)
        assert list(home.iterdir()) == []

    @pytest.mark.parametrize(
        "rest", ["127.0.0.1:1,127.0.0.1:0/m", "127.0.0.1:1,127.0.0.1:http/m", "127.0.0.1:1/m?sslmode=loud"]
    )
    def test_what_only_libpq_can_judge(self, home: Path, monkeypatch: pytest.MonkeyPatch, rest: str) -> None:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://jobctl:{PASSWORD}@{rest}")
        for arguments in (("db", "check"), ("db", "upgrade"), ("jobs",)):
            assert "DATABASE_URL" in self.told(arguments, Exit.MISCONFIGURED)
        assert list(home.iterdir()) == []

    @pytest.mark.only("postgresql")
    def test_the_second_of_two_is_taken_where_the_first_is_away(
        self, ready: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = urlsplit(str(ready.settings.database_url))
        user = parts.netloc.rpartition("@")[0]
        hosts = f"127.0.0.1:{closed_port()},{parts.hostname}:{parts.port}"
        url = f"postgresql://{user}@{hosts}{parts.path}?target_session_attrs=read-write"
        monkeypatch.setenv("DATABASE_URL", url)
        ready.message()
        for arguments in (("db", "check"), ("db", "upgrade"), ("jobs",), ("notification-sender",)):
            assert command(*arguments).exit_code == Exit.DONE

    @pytest.mark.only("postgresql")
    @pytest.mark.parametrize(
        ("path", "exit_code"),
        [("/no_such_database", Exit.MISCONFIGURED), (None, Exit.UNREACHABLE)],
        ids=["wrong", "away"],
    )
    def test_the_one_that_holds_the_locks(
        self, ready: World, monkeypatch: pytest.MonkeyPatch, path: str | None, exit_code: Exit
    ) -> None:
        parts = urlsplit(str(ready.settings.database_url))
        away = f"postgresql://jobctl:{PASSWORD}@127.0.0.1:{closed_port()}/market"
        monkeypatch.setenv("DATABASE_LOCK_URL", urlunsplit(parts._replace(path=path)) if path else away)
        message = ready.message()
        self.told(("notification-sender",), exit_code)
        assert ready.row(message).status == "queued"

    @pytest.mark.only("postgresql")
    @pytest.mark.parametrize(
        "arguments", [("notification-sender",), ("jobs",), ("runs", "list")], ids=" ".join
    )
    def test_locks_in_another_database_exclude_nobody(
        self, ready: World, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
    ) -> None:
        """Two runs would each have the job; in the database itself the same setting is welcome."""
        message = ready.message()
        parts = urlsplit(str(ready.settings.database_url))
        monkeypatch.setenv("DATABASE_LOCK_URL", urlunsplit(parts._replace(path="/postgres")))
        assert "DATABASE_LOCK_URL" in self.told(arguments, Exit.MISCONFIGURED)
        assert ready.row(message).status == "queued"
        monkeypatch.setenv("DATABASE_LOCK_URL", urlunsplit(parts))
        assert command(*arguments).exit_code == Exit.DONE

    @pytest.mark.only("postgresql")
    @pytest.mark.parametrize(
        "arguments",
        [("notification-sender",), ("history-prune",), ("notifications", "retry", "--all")],
        ids=" ".join,
    )
    def test_one_that_takes_no_changes(self, ready: World, arguments: tuple[str, ...]) -> None:
        """As a primary that has become a standby: the run says so in one sentence, and nothing is lost."""
        message = ready.message()
        failed = ready.message(status="failed", settled_at=NOW)
        with ready.engine.connect() as connection:
            name = connection.scalar(text("SELECT current_database()"))
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
            connection.commit()
        done = command(*arguments)
        assert done.exit_code == Exit.UNREACHABLE
        (line,) = done.err.splitlines()
        assert "read-only" in line
        assert (ready.row(message).status, ready.row(failed).status) == ("queued", "failed")


class TestUnexpected:
    def test_neither_the_statement_nor_its_parameters_are_printed(self, ready: World) -> None:
        """They are people's data; the driver's own words are enough."""
        with ready.engine.begin() as connection:
            connection.execute(text("DROP TABLE idle_runs"))
        done = command("notification-sender")
        assert done.exit_code == Exit.UNEXPECTED
        assert "idle_runs" in done.err
        for each in ("parameters", "SQL", "UPDATE"):
            assert each not in done.err
