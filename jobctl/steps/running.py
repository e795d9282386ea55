"""What every step of one run shares: the options, the stop signal, the connection, the run record."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import IO

from sqlalchemy import Connection

from jobctl.db import Database
from jobctl.errors import Exit, worst
from jobctl.history import RunRecord
from jobctl.job import At, ScopeDownError
from jobctl.locks import Locks
from jobctl.tables.types import Key


@dataclass(frozen=True)
class Options:
    """The options of one invocation, as every job takes them."""

    dry_run: bool = False
    since: datetime | None = None
    as_of: datetime | None = None
    limit: int | None = None
    only: Key | None = None
    as_json: bool = False
    share: bool = False
    fail_if_locked: bool = False
    every: timedelta | None = None
    lasting: timedelta | None = None  # --for
    concurrency: int | None = None
    verbosity: int = 0

    @property
    def bounded(self) -> bool:
        """Tell whether they leave out rows that are due."""
        return any(each is not None for each in (self.since, self.limit, self.only))

    def recorded(self) -> dict[str, object]:
        """Return what a run record keeps of them: those that were given."""
        given = {
            name: value
            for name, value in vars(self).items()
            if value and name not in {"as_json", "verbosity"}
        }
        return {name: value if isinstance(value, int) else str(value) for name, value in given.items()}


class Stop:
    """Whether the run has been told to stop; once it has, the grace for what is under way runs."""

    def __init__(self, grace: timedelta) -> None:
        self.grace = grace.total_seconds()
        self.exit_code: Exit | None = None
        self.deadline: float | None = None
        self.told = threading.Event()
        self.wake: Callable[[], None] = lambda: None

    def now(self, exit_code: Exit | None = None) -> None:
        """Stop; safe in a signal handler."""
        if self.deadline is None:
            self.exit_code = exit_code
            self.deadline = time.monotonic() + self.grace
            self.told.set()
        self.wake()

    def wait(self, seconds: float) -> bool:
        return self.told.wait(seconds)

    def grace_left(self) -> float | None:
        """Return the seconds left to wait for what is under way; None: as long as it takes."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


@dataclass
class Running:
    """One run (one tick, with --every): its instant, and what it has come to so far."""

    at: At
    options: Options
    database: Database
    locks: Locks
    stop: Stop
    record: RunRecord
    out: IO[str]
    tell: Callable[[str], None] = lambda _: None  # prints lines of the job's own, unless it is to be quiet
    attempted: int = 0
    began: float = field(default_factory=time.monotonic)
    exit_code: Exit = Exit.DONE
    complaints: list[str] = field(default_factory=list)
    stuck: set[tuple[str, Key]] = field(default_factory=set)  # rows that stay claimed, and were named
    closed: set[str] = field(default_factory=set)  # scopes that were found down, for all steps
    down: dict[str, ScopeDownError] = field(default_factory=dict)  # those, with the reason
    up: set[str] = field(default_factory=set)  # scopes that were found up
    in_vain: set[str] = field(default_factory=set)  # scopes where something failed that may pass

    @property
    def stopping(self) -> bool:
        return self.stop.told.is_set()

    @property
    def run_id(self) -> int:
        assert self.record.id is not None, "a change before the run record"
        return self.record.id

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        before, errors, findings = self.record.id, self.record.errors, self.record.findings
        try:
            with self.database.transaction() as connection:
                yield connection
        except BaseException:
            self.record.errors, self.record.findings = errors, findings  # none of those was written
            if before is None and self.record.id is not None:  # nor was the record itself
                self.locks.release_run(self.record.id)
                self.record.id = None
            raise

    def moment(self) -> At:
        """Return what decisions of this moment depend on. A dry run never asks: its time stands still."""
        passed = timedelta(seconds=time.monotonic() - self.began)
        return replace(self.at, moment=self.at.now + passed)

    def clock(self) -> datetime:
        """Return the present by the database's clock, as far as this process can tell; in any thread."""
        return self.at.now + timedelta(seconds=time.monotonic() - self.began)

    def open_record(self, connection: Connection) -> int:
        return self.record.open(connection, self.locks, self.at.now)

    def left(self) -> int:
        """Return how many more rows --limit allows."""
        limit = self.options.limit
        return 1_000_000_000 if limit is None else max(0, limit - self.attempted)

    def close_scope(self, down: ScopeDownError) -> None:
        """Ask nothing more of it in this run; why is said once, though others find other words for it."""
        self.closed.add(down.scope)
        first = self.down.setdefault(down.scope, down)
        told = first if first.exit_code == down.exit_code else down
        self.fail(down.exit_code, f"{down.scope} is closed for this run: {told.reason}")

    def fail(self, exit_code: Exit, complaint: str) -> None:
        """Note what ails the run as a whole; what is said twice is noted once."""
        self.exit_code = worst(self.exit_code, exit_code)
        if complaint not in self.complaints:
            self.complaints.append(complaint)
