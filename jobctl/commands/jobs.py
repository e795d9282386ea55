"""`jobctl jobs`: every job, when it runs, how its last run went, how many rows wait."""

from collections.abc import Sequence
from typing import Any

import click
from sqlalchemy import Connection, RowMapping, select

from jobctl import circuits
from jobctl.backlog import MOST, backlog_of
from jobctl.commands.runs import outcome
from jobctl.commands.shared import as_json, loaded, show
from jobctl.db import clock, open_database
from jobctl.history import outcome_of
from jobctl.job import At
from jobctl.locks import Locks, open_locks
from jobctl.logs import redact
from jobctl.output import legible, to_json
from jobctl.registry import JOBS, Entry
from jobctl.tables.frame import idle_runs, runs

SHOWN = ("job", "schedule", "last_run", "outcome", "waiting", "put_off", "oldest")


@click.command()
@as_json
def jobs(*, as_json: bool) -> None:
    """List every job with its schedule, last run and waiting rows, and what is down.

    Rows are counted up to 10,001, so that a backlog of millions answers as fast: those that are due, and
    those that were put off since something failed. JSON has more: how many of them a dead run has claimed,
    the last success, overlaps.
    """
    settings = loaded().settings
    with (
        open_database(settings, read_only=True) as database,
        open_locks(settings) as locks,
        database.transaction() as connection,
    ):
        at = At(clock(connection), settings, installation=database.installation)
        rows = [row_of(each, at, connection, locks) for each in JOBS]
        down = circuits.open_ones(connection)
    if as_json:
        click.echo(to_json([{**row, "down": of(row["job"], down)} for row in rows]))
        return
    show(SHOWN, [tuple(cell(row[name]) for name in SHOWN) for row in rows], json=False, empty="")
    for each in down:
        click.echo(f"{each['job']}: {legible(redact(circuits.sentence(each)))}")


def of(job: str, down: Sequence[RowMapping]) -> list[dict[str, Any]]:
    theirs = [dict(each) for each in down if each["job"] == job]
    return [{name: each[name] for name in each if name not in ("id", "job")} for each in theirs]


def cell(value: Any) -> Any:
    return f"more than {MOST:,}" if isinstance(value, int) and value > MOST else value


def row_of(entry: Entry, at: At, connection: Connection, locks: Locks) -> dict[str, Any]:
    last, told = last_run(entry, connection, locks)
    waits = backlog_of(entry, at, connection, locks)
    noted = connection.execute(select(idle_runs).where(idle_runs.c.job == entry.name)).first()
    return {
        "job": entry.name,
        "schedule": f"every {entry.every}" if entry.every else entry.cron,
        "last_run": last,
        "outcome": told,
        "waiting": waits.due,
        "put_off": waits.put_off,
        "oldest": waits.oldest,
        "claimed_by_dead": waits.claimed_by_dead,
        "last_success": noted and noted.last_success_at,
        "overlapped": noted.overlapped if noted else 0,
        "last_overlap": noted and noted.last_overlap_at,
        "summary": entry.summary,
    }


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
