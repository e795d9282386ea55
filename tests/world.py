"""A database with people in it, and the ways to run jobctl on it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Table, insert, select, text, update

from jobctl import cli, registry
from jobctl.db import engine
from jobctl.errors import Exit
from jobctl.output import Output
from jobctl.runner import Invocation, run
from jobctl.settings import Settings
from jobctl.steps.running import Options, Stop
from jobctl.tables.frame import audit_trail, run_errors, runs
from jobctl.tables.notifications import channel_preferences, notifications, users
from jobctl.tables.sessions import attendees, sessions

# Past, so that what is due at it is due to real processes as well.
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
JOBCTL = Path(sys.executable).with_name("jobctl")


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def ahead(**span: float) -> datetime:
    return NOW + timedelta(**span)


@dataclass
class Done:
    """What an invocation came to."""

    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.document["counts"]
        return counts


@dataclass
class World:
    """A migrated database; `settings` may be changed before a run."""

    settings: Settings
    stop: Stop = field(default_factory=lambda: Stop(timedelta(seconds=8)))

    def __enter__(self) -> Self:
        self.engine = engine(self.settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()

    def configure(self, **values: Any) -> None:
        self.settings = replace(self.settings, **values)

    # ── people and messages ──────────────────────────────────────────────────────────────────

    def user(self, **values: Any) -> int:
        given = {"name": "Anna", "email": "anna@example.com", "created_at": ago(days=30)} | values
        return self.add(users, given)

    def message(self, user_id: int | None = None, **values: Any) -> int:
        """Queue a message that is due, to a user of its own where none is named."""
        defaults: dict[str, Any] = {
            "user_id": self.user() if user_id is None and "user_id" not in values else user_id,
            "channel": "tray",
            "template": "welcome",
            "context": {},
            "queued_at": ago(minutes=1),
        }
        return self.add(notifications, defaults | values)

    def messages(self, count: int, **values: Any) -> list[int]:
        """Queue many messages, each to a user of its own with the address uN@example.com."""
        with self.engine.begin() as connection:
            people = [
                {"name": f"U{n}", "email": f"u{n}@example.com", "created_at": ago(days=1)}
                for n in range(count)
            ]
            connection.execute(insert(users), people)
            ids = connection.scalars(select(users.c.id).order_by(users.c.id.desc()).limit(count)).all()
            queued = {"channel": "tray", "template": "welcome", "context": {}, "queued_at": ago(minutes=1)}
            rows = [{**queued, **values, "user_id": each} for each in reversed(ids)]
            connection.execute(insert(notifications), rows)
            found = select(notifications.c.id).order_by(notifications.c.id.desc()).limit(count)
            return sorted(connection.scalars(found).all())

    def opt_out(self, user_id: int, channel: str, category: str = "*", *, accepted: bool = False) -> None:
        preference = {"user_id": user_id, "channel": channel, "category": category, "accepted": accepted}
        self.add(channel_preferences, preference)

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────

    def session(self, **values: Any) -> int:
        """Book a session that starts in ten minutes and lasts an hour, of two people of its own."""
        starts_at = values.get("starts_at", ahead(minutes=10))
        given = {"starts_at": starts_at, "ends_at": starts_at + timedelta(hours=1), "created_at": ago(days=7)}
        given |= values
        for role, name in (("expert_id", "Eva"), ("consumer_id", "Carl")):
            if role not in given:
                given[role] = self.user(name=name, email=f"{name.lower()}@example.com")
        return self.add(sessions, given)

    def attend(self, session_id: int, user_id: int) -> None:
        self.add(attendees, {"session_id": session_id, "user_id": user_id, "joined_at": NOW})

    def booked(self, session_id: int) -> Any:
        return self.one(sessions, session_id)

    def told(self) -> list[tuple[int, str, str]]:
        """Return who was told what by which channel, as it was queued."""
        return [(each.user_id, each.channel, each.template) for each in self.rows(notifications)]

    # ── the tables ───────────────────────────────────────────────────────────────────────────

    def add(self, table: Table, values: Mapping[str, Any]) -> int:
        with self.engine.begin() as connection:
            key = connection.execute(insert(table).values(values)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def change(self, table: Table, row_id: int, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == row_id).values(values))

    def refuse(self, table: Table, column: str, value: int | str) -> None:
        """Have the database refuse from now on to write rows with that value."""
        rule = f"ALTER TABLE {table} ADD CONSTRAINT no CHECK ({column} <> {value!r}) NOT VALID"
        trigger = f"ON {table} WHEN NEW.{column} = {value!r} BEGIN SELECT RAISE(ABORT, 'no'); END"
        on_sqlite = [f"CREATE TRIGGER no_{verb} BEFORE {verb} {trigger}" for verb in ("INSERT", "UPDATE")]
        with self.engine.begin() as connection:
            for each in [rule] if self.settings.database_url else on_sqlite:
                connection.execute(text(each))

    def allow(self, table: Table) -> None:
        """Have the database refuse nothing of that table any more."""
        rule = f"ALTER TABLE {table} DROP CONSTRAINT no"
        with self.engine.begin() as connection:
            for each in (
                [rule] if self.settings.database_url else ["DROP TRIGGER no_INSERT", "DROP TRIGGER no_UPDATE"]
            ):
                connection.execute(text(each))

    def forbid(self, table: Table, when: str, *, silently: bool = False) -> None:
        """Have a trigger of the application's refuse from now on updates of which that is true.

        silently: it leaves the row as it is, and says nothing.
        """
        raised = "RAISE EXCEPTION 'not this one'"
        raises = "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS"
        trigger = f"CREATE TRIGGER forbid BEFORE UPDATE ON {table}"
        on_postgres = [
            f"{raises} $$ BEGIN {'RETURN NULL' if silently else raised}; END $$",
            f"{trigger} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION forbid()",
        ]
        raised = "RAISE(IGNORE)" if silently else "RAISE(ABORT, 'not this one')"
        on_sqlite = [f"{trigger} WHEN {when} BEGIN SELECT {raised}; END"]
        with self.engine.begin() as connection:
            for each in on_postgres if self.settings.database_url else on_sqlite:
                connection.execute(text(each))

    def permit(self, table: Table) -> None:
        """Have that trigger refuse nothing any more."""
        with self.engine.begin() as connection:
            connection.execute(
                text("DROP TRIGGER forbid" + (f" ON {table}" if self.settings.database_url else ""))
            )

    def rows(self, table: Table) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key.columns)))

    def one(self, table: Table, row_id: int) -> Any:
        (row,) = (each for each in self.rows(table) if each.id == row_id)
        return row

    def row(self, message_id: int) -> Any:
        return self.one(notifications, message_id)

    def statuses(self) -> dict[int, str]:
        return {each.id: each.status for each in self.rows(notifications)}

    def last_run(self) -> Any:
        return self.rows(runs)[-1]

    def errors(self) -> list[Any]:
        return self.rows(run_errors)

    def failed(self, done: Done) -> list[int | str]:
        """Return the rows that a run named as failed."""
        run = done.document["run"]
        return [each.row_key or each.row_id for each in self.errors() if each.run_id == run]

    def trail(self) -> list[Any]:
        return self.rows(audit_trail)

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every table's content, on PostgreSQL with the version of each row."""
        with self.engine.connect() as connection:
            return {name: content(connection, name) for name in table_names(connection)}

    # ── running ──────────────────────────────────────────────────────────────────────────────

    def run(self, job: str, *, now: datetime | None = NOW, **options: Any) -> Done:
        """Run a job in this process; its report is JSON unless as_json=False."""
        chosen = Options(**{"as_json": True, **options})
        output = Output(as_json=chosen.as_json, verbosity=chosen.verbosity)
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(Invocation(registry.entry(job), chosen, self.settings, output, self.stop, now))
        return Done(int(code), out.getvalue(), err.getvalue())

    def foretold(self, job: str, **options: Any) -> tuple[list[Any], list[Any]]:
        """Run a job dry, which changes nothing, and then really; return what was shown and what was done."""
        before, trail, known = self.everything(), len(self.trail()), self.statuses()
        rows = self.run(job, dry_run=True, **options).document["rows"]
        assert self.everything() == before
        self.run(job, **options)
        shown = [
            (each["table"], each["row_id"], each["before"], each["after"], each["request"]) for each in rows
        ]
        changed: list[Any] = [
            (each.table_name, each.row_id, each.before, each.after, {}) for each in self.trail()[trail:]
        ]
        queued: list[Any] = [
            ("notifications", each.once_key, {}, {}, request_of(each))
            for each in self.rows(notifications)
            if each.id not in known
        ]
        return sorted(shown, key=repr), sorted(changed + queued, key=repr)

    def send(self, **options: Any) -> Done:
        return self.run("notification-sender", **options)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a process that works on this database."""
        # Of another checkout than the installed one, processes are to be of the same.
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        ours = kept | {"JOBCTL_HOME": str(self.settings.jobctl_home)}
        if self.settings.database_url:
            ours["DATABASE_URL"] = self.settings.database_url
        return ours | more

    def process(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a real jobctl."""
        return subprocess.Popen(
            [JOBCTL, *arguments],
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str, **environment: str) -> Done:
        """Run a real jobctl to its end."""
        process = self.process(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return Done(process.returncode, out, err)


def command(*arguments: str, given: str = "") -> Done:
    """Run a command line in this process, with the settings that os.environ has; given: its input."""
    out, err, stdin = StringIO(), StringIO(), sys.stdin
    sys.stdin = StringIO(given)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.guarded(list(arguments))
    finally:
        sys.stdin = stdin
    return Done(code, out.getvalue(), err.getvalue())


def request_of(message: Any) -> dict[str, str]:
    """Return what a dry run shows of a message that it would queue."""
    return {"template": message.template, "channel": message.channel, "to": f"user {message.user_id}"}


def exit_of(done: Done) -> Exit:
    return Exit(done.exit_code)


def table_names(connection: Connection) -> list[str]:
    catalogue = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    }
    return sorted(connection.scalars(text(catalogue[connection.dialect.name])))


def content(connection: Connection, table: str) -> list[tuple[Any, ...]]:
    version = "xmin::text, " if connection.dialect.name == "postgresql" else ""
    rows = connection.execute(text(f"SELECT {version}t.* FROM {table} t"))
    return sorted((tuple(row) for row in rows), key=repr)
