"""`jobctl jobs`: every job, when it runs, how its last run went, how many rows wait."""

import click
from sqlalchemy import Connection, select

from jobctl.commands.shared import as_json, loaded, show
from jobctl.db import Database, clock, open_database
from jobctl.job import At
from jobctl.registry import JOBS, Entry
from jobctl.runner import due_steps
from jobctl.settings import Settings
from jobctl.steps.selection import Selection
from jobctl.tables.frame import idle_runs, runs

MOST = 10_000  # a longer backlog is shown as "more than"


@click.command()
@as_json
def jobs(*, as_json: bool) -> None:
    """List every job with its schedule, last run and waiting rows."""
    settings = loaded().settings
    with open_database(settings, read_only=True) as database, database.transaction() as connection:
        header = ("job", "schedule", "last_run", "outcome", "waiting", "summary")
        rows = [row_of(each, database, connection, settings) for each in JOBS]
    show(header, rows, json=as_json, empty="")


def row_of(
    entry: Entry, database: Database, connection: Connection, settings: Settings
) -> tuple[object, ...]:
    at = At(clock(connection), settings, installation=database.installation)
    schedule = f"every {entry.every}" if entry.every else entry.cron
    return (entry.name, schedule, *last_run(entry, connection), waiting(entry, at, connection), entry.summary)


def last_run(entry: Entry, connection: Connection) -> tuple[object, str]:
    """Return when the job last ran, idle or not, and how that went."""
    newest = (
        select(runs.c.started_at, runs.c.outcome).where(runs.c.job == entry.name).order_by(runs.c.id.desc())
    )
    run = connection.execute(newest.limit(1)).first()
    idle = connection.scalar(select(idle_runs.c.last_idle_at).where(idle_runs.c.job == entry.name))
    if run and (not idle or run.started_at >= idle):
        return run.started_at, run.outcome
    return (idle, "nothing was due") if idle else (None, "never ran")


def waiting(entry: Entry, at: At, connection: Connection) -> int | str:
    selections = [Selection(step.due(at), None, None) for step in due_steps(entry)]
    count = sum(connection.scalar(each.count(MOST + 1)) or 0 for each in selections)
    return f"more than {MOST}" if count > MOST else count
