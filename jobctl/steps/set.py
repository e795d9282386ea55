"""The set step: rows changed by SQL, page after page, a transaction each."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from jobctl.batches import Application, Asked, Batch
from jobctl.db import among, first_line, passing_over
from jobctl.errors import MisconfiguredError
from jobctl.job import Due, ScopeDownError, SetStep
from jobctl.steps.running import Running
from jobctl.steps.selection import After, Selection
from jobctl.tables.types import Key

log = logging.getLogger(__name__)
PAGE = 2000  # rows; at this size no lock is held for long, and the transaction's cost is spread well


@dataclass
class Place:
    """How far a step has come: the last row that it met, and how many it takes at once."""

    after: After | None = None
    size: int = PAGE


class Pages:
    """The statements of a step, which are the same for each of its pages."""

    def __init__(self, batch: Batch, running: Running) -> None:
        self.batch, self.dialect = batch, running.database.engine.dialect.name
        keys = replace(batch.due, read={"id": batch.due.key})
        self.selection = Selection(keys, running.options.since, running.options.only)
        self.first, self.further = (self.selection.page(first=each) for each in (True, False))

    @cached_property
    def application(self) -> Application:
        due = self.batch.due
        chosen = self.selection.keys().with_for_update(**passing_over(due.table, *due.locks))
        return Application(self.batch, chosen, self.dialect)

    def next(self, connection: Connection, after: After | None, size: int) -> Sequence[Any]:
        page = self.first if after is None else self.further
        return connection.execute(page, self.selection.place(after, size)).all()


def run(step: SetStep, running: Running) -> None:
    """Do one run of the step; a row that the database refuses is recorded, and passed over."""
    batch = Batch(running.at, step.due(running.at))
    step.change(running.at, batch)
    pages, place = Pages(batch, running), Place()
    while not running.stopping and running.left():
        try:
            with running.transaction() as connection:
                found = pages.next(connection, place.after, min(place.size, running.left()))
                count = change(connection, pages, found, running) if found else 0
        except DBAPIError as error:
            narrow(pages, place, running, error)
            continue
        if not found:
            return
        place.after, place.size = place_of(found[-1]), min(PAGE, place.size * 2)
        running.record.counts[step.outcome] += count
        running.attempted += count
        log.info("page.changed", extra={"rows": count, "last": found[-1].id, "outcome": step.outcome})


def place_of(row: Any) -> After:
    return row.place_in_order, row.id


def change(connection: Connection, pages: Pages, found: Sequence[Any], running: Running) -> int:
    """Change those of a page's rows that are still due, and nobody's meanwhile; return how many."""
    run_id, table = running.open_record(connection), pages.batch.due.table.name
    ids = pages.application.apply(connection, run_id, [row.id for row in found])
    for asked in pages.batch.asked if ids else ():
        follow(connection, asked, pages.batch.due, ids, running)
    for reason in pages.batch.errors:
        for each in ids:
            running.record.error(connection, running.at.now, table, each, reason)
    return len(ids)


def follow(connection: Connection, asked: Asked, due: Due, ids: Sequence[Key], running: Running) -> None:
    """Journal what follows from a batch, for settle-operations to send."""
    from jobctl.steps import journalling  # noqa: PLC0415 (no other step pays for it)

    rows = asked.rows.where(among(due.key, ids, connection.dialect.name))
    requests = {row.id: asked.make(row) for row in connection.execute(rows)}
    try:
        written = journalling.write_down(connection, running.at, running.run_id, asked.subject, requests)
    except ScopeDownError as down:
        raise MisconfiguredError(f"{down.scope} cannot be asked: {down}") from down
    for each, reason in written.refused.items():
        running.record.error(connection, running.at.now, due.table.name, each, reason)


def narrow(pages: Pages, place: Place, running: Running, error: DBAPIError) -> None:
    """Halve the page that the database refused, until the bad row stands alone; record it and go on."""
    if place.size > 1:
        place.size //= 2
        return
    reason = f"the database refused its change: {first_line(error.orig or error)}"
    with running.transaction() as connection:
        running.open_record(connection)
        for row in pages.next(connection, place.after, 1):
            place.after = place_of(row)
            running.record.error(connection, running.at.now, pages.batch.due.table.name, row.id, reason)
            running.record.counts["failed"] += 1
            running.attempted += 1
    place.size = PAGE
