"""What a person changes by a command leaves a run record and an audit trail, as what a job changes."""

import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobctl.changes import Author
from jobctl.commands.shared import loaded
from jobctl.db import Database, clock, open_database
from jobctl.errors import Exit
from jobctl.history import RunRecord
from jobctl.job import At, SetStep
from jobctl.locks import open_locks
from jobctl.steps import set as set_step
from jobctl.steps.running import Options, Running, Stop


def change_by_hand(
    name: str,
    options: Mapping[str, Any],
    step: SetStep,
    refuse: Callable[[At, Database], None] = lambda _at, _database: None,
) -> int:
    """Change the rows of a step, under the command's name; return how many there were.

    refuse: raises what forbids all of it, before anything is changed.
    """
    settings = loaded().settings
    with open_database(settings) as database, open_locks(settings) as locks:
        at = At(database.now(), settings, installation=database.installation)
        refuse(at, database)
        record, stop = RunRecord(name, options), Stop(settings.stop_grace)
        set_step.run(step, Running(at, Options(), database, locks, stop, record, sys.stdout))
        if record.id is not None:
            with database.transaction() as connection:
                record.close(connection, clock(connection), Exit.DONE, None)
            locks.release_run(record.id)
    return record.counts.total()


Work = Callable[[Connection, Author, datetime], int]


def recorded(name: str, options: Mapping[str, Any], outcome: str, work: Work) -> int:
    """Change rows in one transaction, under the command's name; return what `work` does, how many."""
    settings = loaded().settings
    with open_database(settings) as database, open_locks(settings) as locks:
        record = RunRecord(name, options)
        with database.transaction() as connection:
            now = clock(connection)
            run_id = record.open(connection, locks, now)
            record.counts[outcome] = work(connection, Author(run_id, now), now)
            record.close(connection, clock(connection), Exit.DONE, None)
        locks.release_run(run_id)
    return record.counts.total()
