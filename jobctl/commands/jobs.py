"""`jobctl jobs`: every job, when it runs, how its last run went, how many rows wait."""

from collections.abc import Sequence
from typing import Any

import click
from sqlalchemy import Connection, select

from jobctl.commands.runs import outcome
from jobctl.commands.shared import as_json, loaded, show
from jobctl.db import clock, open_database
from jobctl.history import outcome_of
from jobctl.job import At, Due
from jobctl.locks import Locks, open_locks
from jobctl.registry import JOBS, Entry
from jobctl.runner import due_steps
from jobctl.steps.effect import dead_owners
from jobctl.steps.selection import Selection
from jobctl.tables.frame import idle_runs, runs
from jobctl.tables.types import Key

MOST = 10_000  # waiting rows are counted no further than one more


@click.command()
@as_json
def jobs(*, as_json: bool) -> None:
    """List every job with its schedule, last run and waiting rows.

    Waiting rows are counted up to 10,001, so that a backlog of millions answers as fast.
    """
    settings = loaded().settings
    with (
        open_database(settings, read_only=True) as database,
        open_locks(settings) as locks,
        database.transaction() as connection,
    ):
        at = At(clock(connection), settings, installation=database.installation)
        rows = [row_of(each, at, connection, locks) for each in JOBS]
    header = ("job", "schedule", "last_run", "outcome", "waiting", "summary")
    if not as_json:
        rows = [(*row[:4], f"more than {MOST:,}" if row[4] > MOST else row[4], row[5]) for row in rows]
    show(header, rows, json=as_json, empty="")


def row_of(entry: Entry, at: At, connection: Connection, locks: Locks) -> tuple[Any, ...]:
    schedule = f"every {entry.every}" if entry.every else entry.cron
    last = last_run(entry, connection, locks)
    return (entry.name, schedule, *last, waiting(entry, at, connection, locks), entry.summary)


def last_run(entry: Entry, connection: Connection, locks: Locks) -> tuple[object, str]:
    """Return when the job last ran, idle or not, and how that went."""
    newest = select(runs).where(runs.c.job == entry.name).order_by(runs.c.id.desc()).limit(1)
    run = connection.execute(newest).mappings().first()
    last = select(idle_runs.c.last_idle_at, idle_runs.c.last_idle_exit).where(idle_runs.c.job == entry.name)
    at, exit_code = connection.execute(last).first() or (None, None)
    if run and (not at or run["started_at"] >= at):
        return run["started_at"], outcome(run, locks)
    if not at:
        return None, "never ran"
    return at, outcome_of(exit_code) if exit_code else "nothing was due"


def waiting(entry: Entry, at: At, connection: Connection, locks: Locks) -> int:
    dues = [step.due(at) for step in due_steps(entry)]
    selections = [Selection(each, None, None, also=left_behind(each, connection, locks)) for each in dues]
    return min(MOST + 1, sum(connection.scalar(each.count(MOST + 1)) or 0 for each in selections))


def left_behind(due: Due, connection: Connection, locks: Locks) -> Sequence[Key]:
    """Return the rows that runs had claimed which died; nothing else keeps these from the next run."""
    if "claimed_by" not in due.table.c or not (dead := dead_owners(due.table, connection, locks)):
        return ()
    return connection.scalars(select(due.key).where(due.table.c.claimed_by.in_(dead))).all()
