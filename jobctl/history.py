"""Run records, idle counters and item errors: what a run leaves for whoever asks later."""

import logging
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from jobctl import __version__, logs
from jobctl.db import Database, insert_once
from jobctl.errors import Exit
from jobctl.locks import Locks
from jobctl.money import Money
from jobctl.outside_text import storable
from jobctl.tables.frame import idle_runs, run_errors, runs
from jobctl.tables.types import Key

log = logging.getLogger(__name__)

OUTCOME = {
    Exit.DONE: "done",
    Exit.ITEMS_FAILED: "items failed",
    Exit.UNKNOWN_OUTCOME: "outcomes unknown",
    Exit.INTERRUPTED: "interrupted",
    Exit.TERMINATED: "interrupted",
}


def outcome_of(exit_code: int) -> str:
    return OUTCOME.get(Exit(exit_code), "failed")


@dataclass
class RunRecord:
    """One run: counted in memory, written when it first does something, closed at its end."""

    job: str
    options: Mapping[str, Any]
    id: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    errors: int = 0  # findings among them
    findings: int = 0
    drift: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # payments and minor units

    def add_drift(self, what: str, amount: Money) -> None:
        """Add a payment to what was found to differ here and at a provider, by what and currency."""
        sums = self.drift.setdefault((what, amount.currency), [0, 0])
        sums[0] += 1
        sums[1] += amount.minor

    def drift_document(self) -> list[dict[str, Any]]:
        return [
            {"what": what, "payments": number, "currency": currency, "amount_minor": minor}
            for (what, currency), (number, minor) in self.drift.items()
        ]

    def open(self, connection: Connection, locks: Locks, now: datetime) -> int:
        """Write the record, inside the caller's transaction; return its number.

        The lock is taken before anybody can see the record, so nobody can think the run dead.
        """
        if self.id is None:
            entry = {
                "job": self.job,
                "started_at": now,
                "outcome": "running",
                "counts": {},
                "options": dict(self.options),
                "host": platform.node(),
                "pid": os.getpid(),
                "version": __version__,
            }
            key = connection.execute(insert(runs).values(entry)).inserted_primary_key
            assert key is not None
            locks.hold_run(key[0])
            self.id = int(key[0])
            logs.context["run"] = self.id
            log.info("run.began")
        return self.id

    def error(self, connection: Connection, at: datetime, table: str, row: Key | None, reason: str) -> None:
        self.errors += 1
        values = {"run_id": self.id, "at": at, "table_name": table, "error": storable(reason)}
        named = "row_key" if isinstance(row, str) else "row_id"
        connection.execute(insert(run_errors).values({**values, named: row}))

    def tell_findings(self, connection: Connection, at: datetime) -> None:
        """Record, as errors of this run, what it was the first to find and has not told of yet."""
        from jobctl.tables.findings import findings  # noqa: PLC0415 (most runs find nothing)

        ours = (run_errors.c.run_id == self.id, run_errors.c.table_name == "findings")
        told = select(run_errors.c.row_id).where(*ours)
        new = select(findings).where(findings.c.run_id == self.id, findings.c.id.not_in(told))
        for each in connection.execute(new.order_by(findings.c.id)).all():
            self.error(connection, at, "findings", each.id, f"{each.kind}: {each.reason}")
            self.findings += 1

    def close(self, connection: Connection, now: datetime, exit_code: Exit, error: str | None) -> None:
        values = {
            "ended_at": now,
            "outcome": outcome_of(exit_code),
            "exit_code": int(exit_code),
            "counts": {storable(outcome): count for outcome, count in self.counts.items()},
            "drift": self.drift_document(),
            "error": error and storable(error),
        }
        connection.execute(update(runs).where(runs.c.id == self.id).values(values))
        log.info("run.ended", extra={"outcome": values["outcome"], "exit_code": int(exit_code)})


def note_tick(connection: Connection, job: str, now: datetime, *, idle: Exit | None, success: bool) -> None:
    """Write into the job's one row that a tick changed nothing, and how it ended, or that all went well."""
    values: dict[str, Any] = {"last_at": now}
    if idle is not None:
        values |= {"last_idle_at": now, "last_idle_exit": int(idle)}
    if success:
        values["last_success_at"] = now
    note(connection, job, values, None if idle is None else "idle_runs")


def note_overlap(connection: Connection, job: str, now: datetime) -> None:
    """Count a run that found another one at work in the job's one row."""
    note(connection, job, {"last_overlap_at": now, "last_at": now}, "overlapped")


def note(connection: Connection, job: str, values: Mapping[str, Any], counted: str | None) -> None:
    """Write into the job's one row, which is made where it lacks; count one more of `counted`."""
    more = {counted: idle_runs.c[counted] + 1} if counted else {}
    known = update(idle_runs).where(idle_runs.c.job == job).values({**values, **more})
    if connection.execute(known).rowcount:
        return
    fresh = {"job": job, "idle_runs": 0, "overlapped": 0, **values, **dict.fromkeys(more, 1)}
    connection.execute(insert_once(idle_runs, ("job",), fresh, connection.dialect.name))


def unfinished(connection: Connection, job: str) -> Sequence[Any]:
    """Return the runs of a job whose records are open, the newest first."""
    open_ones = select(runs.c.id, runs.c.started_at).where(runs.c.job == job, runs.c.ended_at.is_(None))
    return connection.execute(open_ones.order_by(runs.c.id.desc())).all()


def mark_the_dead(database: Database, locks: Locks, now: datetime) -> None:
    """Close the records of runs whose process is gone."""
    unfinished = select(runs.c.id).where(runs.c.ended_at.is_(None))
    with database.transaction() as connection:
        open_ids = set(connection.scalars(unfinished))
        dead = open_ids - locks.alive(open_ids)
        if dead:
            died = {"ended_at": now, "outcome": "died"}
            connection.execute(
                update(runs).where(runs.c.id.in_(dead), runs.c.ended_at.is_(None)).values(died)
            )
