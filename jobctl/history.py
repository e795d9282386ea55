"""Run records, idle counters and item errors: what a run leaves for whoever asks later."""

import logging
import os
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from jobctl import __version__, logs
from jobctl.db import Database, insert_once
from jobctl.errors import Exit
from jobctl.locks import Locks
from jobctl.tables.frame import idle_runs, run_errors, runs

log = logging.getLogger(__name__)

OUTCOME = {
    Exit.DONE: "done",
    Exit.ITEMS_FAILED: "items failed",
    Exit.UNKNOWN_OUTCOME: "outcomes unknown",
    Exit.INTERRUPTED: "interrupted",
    Exit.TERMINATED: "interrupted",
}


@dataclass
class RunRecord:
    """One run: counted in memory, written when it first does something, closed at its end."""

    job: str
    options: Mapping[str, Any]
    id: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    errors: int = 0

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

    def error(
        self, connection: Connection, at: datetime, table: str, row_id: int | None, reason: str
    ) -> None:
        self.errors += 1
        values = {"run_id": self.id, "at": at, "table_name": table, "row_id": row_id, "error": reason}
        connection.execute(insert(run_errors).values(values))

    def close(self, connection: Connection, now: datetime, exit_code: Exit, error: str | None) -> None:
        values = {
            "ended_at": now,
            "outcome": OUTCOME.get(exit_code, "failed"),
            "exit_code": int(exit_code),
            "counts": dict(self.counts),
            "error": error,
        }
        connection.execute(update(runs).where(runs.c.id == self.id).values(values))
        log.info("run.ended", extra={"outcome": values["outcome"], "exit_code": int(exit_code)})


def note_idle(connection: Connection, job: str, now: datetime, *, overlap: bool = False) -> None:
    """Count a run that found nothing to do, or found another one at work, in the job's one row."""
    count, last = ("overlapped", "last_overlap_at") if overlap else ("idle_runs", "last_idle_at")
    row = idle_runs.c.job == job
    changed = update(idle_runs).where(row).values({count: idle_runs.c[count] + 1, last: now, "last_at": now})
    if connection.execute(changed).rowcount:
        return
    fresh = {"job": job, "idle_runs": 0, "overlapped": 0, "last_at": now} | {count: 1, last: now}
    connection.execute(insert_once(idle_runs, ("job",), fresh, connection.dialect.name))


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
