"""What the benchmarks share: a database with people and their messages, commands and what they took."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from tests import postgres

JOBCTL = str(Path(sys.executable).with_name("jobctl"))
LAUNCHER = str(Path(__file__).with_name("launcher.py"))
# What would decide for the benchmark, or, in the last case, make every start compile its modules anew.
UNWANTED = ("DATABASE_URL", "DATABASE_LOCK_URL", "JOBCTL_HOME", "PYTHONDONTWRITEBYTECODE")
NUMBER = count()
MAIL = {"SMTP_HOST": "127.0.0.1", "SMTP_TLS": "none", "EMAIL_FROM": "Market <hello@example.com>"}

NUMBERS = {
    "postgresql": "generate_series(1, :count) AS numbers(n)",
    "sqlite": "(WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < :count) "
    "SELECT n FROM up) AS numbers",
}
# A message each millisecond, the last of them an hour ago: the queue's order is the order of the ids.
QUEUED_AT = {
    "postgresql": "now() - interval '1 hour' - (:count - n) * interval '1 millisecond'",
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-1 hour', "
    "'-' || ((:count - n) / 1000.0) || ' seconds')",
}


@dataclass(frozen=True)
class Took:
    """What a command took; seconds, MiB."""

    wall: float
    cpu: float
    peak: float
    code: int


@dataclass(frozen=True)
class World:
    """A migrated database of our own, and the environment in which a command works on it."""

    folder: Path
    server: str | None = None  # None: SQLite
    name: str = ""
    url: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        database = {"DATABASE_URL": self.url} if self.server else {}
        return {**inherited, "JOBCTL_HOME": str(self.folder), **database, **self.settings}

    @contextmanager
    def engine(self, **options: Any) -> Iterator[Engine]:
        url = self.url or f"sqlite:///{self.folder / 'jobctl.db'}"
        made = create_engine(url, poolclass=NullPool, **options)
        try:
            yield made
        finally:
            made.dispose()

    def execute(self, statement: str, **values: Any) -> None:
        with self.engine() as engine, engine.begin() as connection:
            connection.execute(text(statement), values)

    def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        with self.engine() as engine, engine.connect() as connection:
            return connection.execute(text(statement), values).all()

    def number(self, statement: str, **values: Any) -> int:
        return int(self.rows(statement, **values)[0][0])

    def jobctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [JOBCTL, *arguments], env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout

    def take(self, *command: str, output: str = os.devnull) -> Took:
        """Run a command, the program first and by its path; return what it took."""
        launched = [sys.executable, "-I", "-S", LAUNCHER, output, *command]
        done = subprocess.run(launched, env=self.environment, stdout=subprocess.PIPE, check=True)
        took = Took(**json.loads(done.stdout))
        if took.code:
            raise SystemExit(f"exit code {took.code}: {' '.join(command)}")
        return took

    def seed(self, count: int, template: str = "welcome", context: str = "{}") -> None:
        """Add as many users, each with one e-mail that is due."""
        dialect = "postgresql" if self.server else "sqlite"
        numbers, queued_at = NUMBERS[dialect], QUEUED_AT[dialect]
        self.execute(
            "INSERT INTO users (name, email, locale, time_zone, created_at) "
            f"SELECT 'Anna ' || n, 'anna' || n || '@example.com', 'en', 'Europe/Vienna', {queued_at} "
            f"FROM {numbers}",
            count=count,
        )
        self.execute(
            "INSERT INTO notifications (user_id, channel, template, context, queued_at) "
            f"SELECT n, 'email', :template, {'CAST(:context AS jsonb)' if self.server else ':context'}, "
            f"{queued_at} FROM {numbers}",
            count=count,
            template=template,
            context=context,
        )
        self.settle_down()

    def settle_down(self) -> None:
        """Leave nothing of the seeding for the database to do while something is measured."""
        with self.engine(isolation_level="AUTOCOMMIT") as engine, engine.connect() as connection:
            connection.execute(text("VACUUM ANALYZE" if self.server else "ANALYZE"))
            if self.server:
                connection.execute(text("CHECKPOINT"))

    @contextmanager
    def copy(self) -> Iterator["World"]:
        """Lend a copy of this PostgreSQL database, so that each repeat begins with the same pages."""
        assert self.server
        name = f"{self.name}_copy"
        url = postgres.create_database(self.server, name, template=self.name)
        try:
            copied = World(self.folder, self.server, name, url, self.settings)
            copied.settle_down()
            yield copied
        finally:
            postgres.drop_database(self.server, name)


@contextmanager
def server() -> Iterator[str]:
    """Start a PostgreSQL that keeps what it commits, or take the one JOBCTL_TEST_DATABASE_URL names."""
    with postgres.running(durable=True) as url:
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            asked = ("server_version", "fsync", "synchronous_commit")
            told = [f"{each} {connection.scalar(text(f'SHOW {each}'))}" for each in asked]
        print(f"PostgreSQL: {', '.join(told)}; {os.cpu_count()} CPUs")
        yield url


@contextmanager
def postgres_world(server_url: str, **settings: str) -> Iterator[World]:
    name = f"jobctl_benchmark_{os.getpid()}_{next(NUMBER)}"
    with tempfile.TemporaryDirectory() as folder:
        url = postgres.create_database(server_url, name)
        try:
            world = World(Path(folder), server_url, name, url, settings)
            world.jobctl("db", "upgrade")
            yield world
        finally:
            postgres.drop_database(server_url, name)


@contextmanager
def sqlite_world(**settings: str) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), settings=settings)
        world.jobctl("db", "upgrade")
        yield world


def arguments(module_doc: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(module_doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    return parser.parse_args()


def in_turns(rounds: int, measured: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Measure each in every round, so that what else the machine does falls on all alike."""
    found: dict[str, list[Any]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, measure in measured.items():
            found[name].append(measure())
    return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def table(title: str, heading: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, the first column to the left and figures to the right."""
    lines = [list(heading), *([shown(each) for each in row] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(heading))]
    print(f"\n{title}")
    for line in lines:
        first, *rest = (
            each.ljust(w) if n == 0 else each.rjust(w)
            for n, (each, w) in enumerate(zip(line, widths, strict=True))
        )
        print("  " + "  ".join([first, *rest]).rstrip())
    sys.stdout.flush()


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
