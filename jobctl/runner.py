"""From the invocation of a job to its exit code: lock, recover, steps, record, summary."""

import importlib
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from jobctl import circuits, history, logs
from jobctl.db import Database, clock, first_line, in_the_way, open_database
from jobctl.errors import Exit, JobctlError, LockHeldError, UsageError, worst
from jobctl.history import RunRecord
from jobctl.job import (
    At,
    Due,
    DueStep,
    EffectStep,
    ListStep,
    MoneyStep,
    RecoveryStep,
    SetStep,
    SettleStep,
    Step,
)
from jobctl.locks import Locks, open_locks, wait_for
from jobctl.output import Output
from jobctl.parsing import whole
from jobctl.registry import JOBS, Entry
from jobctl.settings import Settings
from jobctl.steps import effect, listing
from jobctl.steps import set as set_step
from jobctl.steps.running import Options, Running, Stop
from jobctl.tables.frame import named_in
from jobctl.tables.types import Key

if TYPE_CHECKING:
    from jobctl.steps.booking import Owners


SOME_TIME = At(datetime(2000, 1, 1, tzinfo=UTC))  # for whoever compares no row with it


@dataclass
class Invocation:
    """One invocation of a job; all its ticks share it."""

    entry: Entry
    options: Options
    settings: Settings
    output: Output
    stop: Stop
    now: datetime | None = None  # the instant to take for the present, for tests; else the database tells

    def running(self, database: Database, locks: Locks, now: datetime, record: RunRecord) -> Running:
        since = self.options.since
        if since and since > now:
            raise UsageError(f"--since {since:%Y-%m-%dT%H:%M:%SZ} is in the future")
        at = At(now, self.settings, since, database.installation)
        out, tell = self.output.aside, self.output.tell
        return Running(at, self.options, database, locks, self.stop, record, out, tell)

    def record(self) -> RunRecord:
        return RunRecord(self.entry.name, self.options.recorded())


def steps_of(entry: Entry) -> tuple[Step, ...]:
    job = importlib.import_module(entry.module).JOB
    return job if isinstance(job, tuple) else (job,)


def due_steps(entry: Entry) -> list[DueStep]:
    """Return the steps that select rows which the job is about."""
    return [step for step in steps_of(entry) if not isinstance(step, ListStep | RecoveryStep)]


def dues_of(entry: Entry, at: At) -> list[Due]:
    return [step.due(at) for step in due_steps(entry)]


def tables_of(entry: Entry) -> list[str]:
    return list(dict.fromkeys(step.due(SOME_TIME).table.name for step in due_steps(entry)))


def run(invocation: Invocation) -> Exit:
    """Do what the options say; return the exit code. Raises JobctlError before anything was begun."""
    if invocation.options.only is not None:
        invocation = about_one(invocation)
    name = f"jobctl {invocation.entry.name}"
    logs.context["job"] = invocation.entry.name
    dry = invocation.options.dry_run
    with (
        open_database(invocation.settings, read_only=dry, name=name) as database,
        open_locks(invocation.settings) as locks,
    ):
        return (dry_run if dry else real_run)(invocation, database, locks)


def about_one(invocation: Invocation) -> Invocation:
    """Read what --only names; raises UsageError where it could name rows of several tables."""
    tables = tables_of(invocation.entry)
    if len(tables) > 1:
        several = f"{invocation.entry.name} works on several tables ({', '.join(tables)})"
        raise UsageError(f"--only names one row, and {several}: leave it out, or use --limit and --since")
    only = row_named(invocation.entry, str(invocation.options.only))
    return replace(invocation, options=replace(invocation.options, only=only))


def row_named(entry: Entry, text: str) -> Key:
    """Return what names a row of the job's tables: a number, but where their key is text."""
    if by_text(entry):
        if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
            raise UsageError(f"a row of {entry.name} is named by UTF-8 text; got {text!r}")
        return text
    try:
        number: int = whole(1, 2**63 - 1)(text)
    except ValueError as expected:
        raise UsageError(f"a row of {entry.name} is named by {expected}; got {text!r}") from expected
    return number


def by_text(entry: Entry) -> bool:
    return any(named_in(step.due(SOME_TIME).key) == "row_key" for step in due_steps(entry))


def dry_run(invocation: Invocation, database: Database, locks: Locks) -> Exit:
    """Show what a real run would do, from one snapshot; nothing is locked, written or sent."""
    from jobctl.steps.preview import preview  # noqa: PLC0415 (no real run pays for it)

    record = invocation.record()
    with database.transaction() as connection, invocation.output.preview(record) as show:
        now = invocation.options.as_of or invocation.now or clock(connection)
        running = invocation.running(database, locks, now, record)
        for step in steps_of(invocation.entry):
            for shown in preview(step, running, connection):
                show(shown)
    for each in running.complaints:
        logs.complain(each)
    return invocation.stop.exit_code or running.exit_code


def real_run(invocation: Invocation, database: Database, locks: Locks) -> Exit:
    started = time.monotonic()
    options, job = invocation.options, invocation.entry.name
    patience = options.every.total_seconds() if options.every else 0.0
    if not wait_for(lambda: locks.take_job(job, share=options.share), patience, invocation.stop.wait):
        return overlapped(invocation, database, locks)
    loop = Loop(invocation, database, locks, invocation.record())
    try:
        history.mark_the_dead(database, locks, loop.now())
        for _ in ticks(invocation, started):
            loop.tick()
    except JobctlError as error:
        loop.refused(error)
    except Exception as error:
        if not (told := in_the_way(error)):
            loop.fail(Exit.UNEXPECTED, f"{type(error).__name__}: {first_line(error)}")
            loop.close()
            raise
        loop.fail(told.exit_code, str(told))
    loop.fail(invocation.stop.exit_code or Exit.DONE)
    loop.close()
    return loop.exit_code


def overlapped(invocation: Invocation, database: Database, locks: Locks) -> Exit:
    """Leave the work to the run that has it, and count that we did."""
    held_by = who_has(invocation.entry.name, database, locks)
    with database.transaction() as connection:
        history.note_overlap(connection, invocation.entry.name, clock(connection))
    if invocation.options.fail_if_locked:
        raise LockHeldError(f"another run of {invocation.entry.name} holds its lock{held_by}")
    invocation.output.overlapped(invocation.entry.name, held_by)
    return invocation.stop.exit_code or Exit.DONE


def who_has(job: str, database: Database, locks: Locks) -> str:
    """Say which process has a job's lock, and of which run, as far as that is known."""
    with database.transaction() as connection:
        at_work = history.unfinished(connection, job)
    run = next((each for each in at_work if each.id in locks.alive([each.id])), None)
    said = [f"run {run.id}, since {run.started_at:%Y-%m-%d %H:%M:%SZ}"] if run else []
    said += [holder] if (holder := locks.holder_of(job)) else []
    return f" ({'; '.join(said)})" if said else ""


def ticks(invocation: Invocation, started: float) -> Iterator[None]:
    """Yield once; with --every again at each interval, the last no later than --for minus --every.

    A tick that outlasts its interval makes the next one wait for the next interval.
    """
    yield
    every, lasting = invocation.options.every, invocation.options.lasting
    if every is None:
        return
    interval = every.total_seconds()
    last = lasting.total_seconds() / interval - 1 if lasting else math.inf
    number = 0
    while not invocation.stop.told.is_set():
        passed = time.monotonic() - started
        number = max(number + 1, math.ceil(passed / interval))
        if number > last or invocation.stop.wait(number * interval - passed):
            return
        yield


def owners() -> "Owners":
    """Return who settles which operations: all money steps that there are."""
    from jobctl.steps.booking import owners_of  # noqa: PLC0415 (no other step pays for it)

    return owners_of(step for entry in JOBS for step in steps_of(entry))


def run_step(step: Step, running: Running) -> None:
    match step:
        case SetStep():
            set_step.run(step, running)
        case EffectStep():
            effect.run(step, running)
        case ListStep():
            listing.run(step, running)
        case MoneyStep():
            from jobctl.steps import money  # noqa: PLC0415 (no other step pays for it)

            money.run(step, running, owners)
        case SettleStep():
            from jobctl.steps import money  # noqa: PLC0415 (no other step pays for it)

            money.settle_all(step, running, owners)
        case RecoveryStep():
            from jobctl.steps import money  # noqa: PLC0415 (no other step pays for it)

            money.recover(step, running, owners)


def went_well(running: Running) -> bool:
    """Tell whether a tick saw to all that was due, and there was nothing to complain of.

    Nor was it one that got nothing through, however few there were that tried.
    """
    done = running.exit_code == Exit.DONE and running.in_vain <= running.up
    return done and not running.stopping and not running.options.bounded


@dataclass
class Loop:
    """The ticks of one invocation, and the one run record that they share."""

    invocation: Invocation
    database: Database
    locks: Locks
    record: RunRecord
    exit_code: Exit = Exit.DONE
    complaints: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        return self.invocation.now or self.database.now()

    def tick(self) -> None:
        running = self.invocation.running(self.database, self.locks, self.now(), self.record)
        counted, errors = self.record.counts.total(), self.record.errors
        try:
            for step in steps_of(self.invocation.entry):
                run_step(step, running)
        finally:
            self.fail(running.exit_code, *running.complaints)
        if self.record.errors:
            self.fail(Exit.ITEMS_FAILED)
        idle = running.exit_code if self.record.counts.total() == counted else None
        success = self.record.errors == errors and went_well(running)
        nothing_due = idle == Exit.DONE and not running.options.bounded
        with self.database.transaction() as connection:
            author = circuits.Author(self.record.job, running.at.now, self.record.id)
            up = {*running.up, circuits.RUN}
            dues = partial(dues_of, self.invocation.entry, running.at) if nothing_due else None
            waits = circuits.note(connection, author, running.down, up, dues)
            if idle is not None or success:
                success = success and not waits
                history.note_tick(connection, self.record.job, running.at.now, idle=idle, success=success)

    def refused(self, error: JobctlError) -> None:
        """Note what keeps the run from beginning, or going on; where that can be written down, there too."""
        self.fail(error.exit_code, str(error))
        if error.exit_code not in (Exit.MISCONFIGURED, Exit.UNREACHABLE):
            return
        with suppress(JobctlError, DBAPIError), self.database.transaction() as connection:
            author = circuits.Author(
                self.record.job, self.invocation.now or clock(connection), self.record.id
            )
            circuits.note(connection, author, circuits.refused(error), ())

    def fail(self, exit_code: Exit, *complaints: str) -> None:
        self.exit_code = worst(self.exit_code, exit_code)
        self.complaints += [each for each in complaints if each not in self.complaints]

    def close(self) -> None:
        """Write the end into the run record, and say what the run came to."""
        if self.record.id is not None:
            # Where the database is gone the record stays open, and the next run closes it as died.
            try:
                with suppress(JobctlError), self.database.transaction() as connection:
                    now = self.invocation.now or clock(connection)
                    self.record.close(connection, now, self.exit_code, "; ".join(self.complaints) or None)
                    self.locks.release_run(self.record.id)
            except DBAPIError as error:
                if not (told := in_the_way(error)):
                    raise
                self.fail(told.exit_code, str(told))
        self.invocation.output.summary(self.record, self.exit_code, self.complaints)
