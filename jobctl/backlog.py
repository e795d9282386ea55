"""The rows that wait for a job: which are due, which were put off, which a dead run has claimed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from jobctl.job import At, Due
from jobctl.locks import Locks
from jobctl.registry import Entry
from jobctl.runner import dues_of
from jobctl.steps.effect import dead_owners
from jobctl.steps.selection import Selection
from jobctl.tables.types import Key

MOST = 10_000  # rows are counted no further than one more


@dataclass
class Backlog:
    """How many rows of a job wait, at most one more than MOST of each kind."""

    due: int = 0  # also those that a dead run has claimed
    put_off: int = 0
    claimed_by_dead: int = 0
    oldest: datetime | None = None  # since when the first of those that are due is so, where that is known


def backlog_of(entry: Entry, at: At, connection: Connection, locks: Locks) -> Backlog:
    found = Backlog()
    for due in dues_of(entry, at):
        left = left_behind(due, connection, locks)
        found.due += connection.scalar(Selection(due, None, None, also=left).count(MOST + 1)) or 0
        found.put_off += number_put_off(due, connection)
        found.claimed_by_dead += len(left)
    found.due, found.put_off = min(MOST + 1, found.due), min(MOST + 1, found.put_off)
    found.oldest = oldest_of(entry, at, connection)
    return found


def left_behind(due: Due, connection: Connection, locks: Locks) -> Sequence[Key]:
    """Return the rows that runs had claimed which died; nothing else keeps these from the next run."""
    if "claimed_by" not in due.table.c or not (dead := dead_owners(due.table, connection, locks)):
        return ()
    return connection.scalars(select(due.key).where(due.table.c.claimed_by.in_(dead))).all()


def number_put_off(due: Due, connection: Connection) -> int:
    if due.put_off is None:
        return 0
    rows = select(due.key).select_from(due.rows).where(due.put_off).limit(MOST + 1)
    return connection.scalar(select(func.count()).select_from(rows.subquery())) or 0


def oldest_of(entry: Entry, at: At, connection: Connection) -> datetime | None:
    """Return since when the first row in the job's order is due, if its steps tell that."""
    found = [
        connection.scalar(first(each, each.waits_since))
        for each in dues_of(entry, at)
        if each.waits_since is not None
    ]
    return min((each for each in found if each), default=None)


def first(due: Due, since: ColumnElement[Any]) -> Select[Any]:
    selection = Selection(due, None, None)
    found = select(since).select_from(due.rows).where(*selection.conditions)
    return found.order_by(selection.order, selection.key).limit(1)
