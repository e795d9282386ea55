"""The set step: rows changed by SQL, page after page by primary key, a transaction each."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, select
from sqlalchemy.exc import DBAPIError

from jobctl.batches import Asked, Batch, apply
from jobctl.changes import Author
from jobctl.db import among, first_line, passing_over
from jobctl.errors import MisconfiguredError
from jobctl.job import ScopeDownError, SetStep
from jobctl.steps.running import Running
from jobctl.steps.selection import Selection

log = logging.getLogger(__name__)
PAGE = 2000  # rows; at this size no lock is held for long, and the transaction's cost is spread well


@dataclass
class Place:
    """How far a step has come: the last key that it met, and how many rows it takes at once."""

    after: int = 0
    size: int = PAGE


def run(step: SetStep, running: Running) -> None:
    """Do one run of the step; a row that the database refuses is recorded, and passed over."""
    due = step.due(running.at)
    selection = Selection(due, running.options.since, running.options.only)
    batch = Batch(running.at, due)
    step.change(running.at, batch)
    place = Place()
    while not running.stopping and running.left():
        try:
            with running.transaction() as connection:
                found = one_page(connection, selection, batch, place, running)
        except DBAPIError as error:
            narrow(selection, place, running, error)
            continue
        if found is None:
            return
        last, count = found
        running.record.counts[step.outcome] += count
        running.attempted += count
        log.info("page.changed", extra={"rows": count, "last": last, "outcome": step.outcome})
        place.after, place.size = last, min(PAGE, place.size * 2)


def one_page(
    connection: Connection, selection: Selection, batch: Batch, place: Place, running: Running
) -> tuple[int, int] | None:
    """Change the next page of rows; return the last key of it and how many rows; None where none is left."""
    size = min(place.size, running.left())
    keys = page(selection, place.after, size).subquery()
    last = connection.scalar(select(func.max(keys.c[0])))
    if last is None:
        return None
    author = Author(running.open_record(connection), running.at.now)
    chosen = page(selection, place.after, size).where(selection.key <= last)
    due = selection.due
    ids = apply(connection, batch, chosen.with_for_update(**passing_over(due.table, *due.locks)), author)
    for asked in batch.asked if ids else ():
        follow(connection, asked, selection, ids, running)
    for reason in batch.errors:
        for each in ids:
            running.record.error(connection, running.at.now, due.table.name, each, reason)
    return last, len(ids)


def follow(
    connection: Connection, asked: Asked, selection: Selection, ids: Sequence[int], running: Running
) -> None:
    """Journal what follows from a batch, for settle-operations to send."""
    from jobctl import journal  # noqa: PLC0415 (no other step pays for it)

    rows = asked.rows.where(among(selection.due.key, ids, connection.dialect.name))
    requests = {row.id: asked.make(row) for row in connection.execute(rows)}
    try:
        written = journal.write_down(connection, running.at, running.run_id, asked.subject, requests)
    except ScopeDownError as down:
        raise MisconfiguredError(f"{down.scope} cannot be asked: {down}") from down
    for each, reason in written.refused.items():
        running.record.error(connection, running.at.now, selection.due.table.name, each, reason)


def page(selection: Selection, after: int, size: int) -> Select[tuple[int]]:
    return selection.keys().where(selection.key > after).order_by(selection.key).limit(size)


def narrow(selection: Selection, place: Place, running: Running, error: DBAPIError) -> None:
    """Halve the page that the database refused, until the bad row stands alone; record it and go on."""
    if place.size > 1:
        place.size //= 2
        return
    reason = f"the database refused its change: {first_line(error.orig or error)}"
    with running.transaction() as connection:
        place.after = connection.scalar(page(selection, place.after, 1)) or place.after
        running.open_record(connection)
        table = selection.due.table.name
        running.record.error(connection, running.at.now, table, place.after, reason)
    running.record.counts["failed"] += 1
    running.attempted += 1
    place.size = PAGE
