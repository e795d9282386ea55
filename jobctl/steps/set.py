"""The set step: rows changed by SQL, page after page, a transaction each."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.exc import DBAPIError

from jobctl import db
from jobctl.batches import Application, Applied, Asked, Batch
from jobctl.db import among, bound_waiting, gave_up_waiting, passing_over
from jobctl.errors import MisconfiguredError
from jobctl.job import Due, ScopeDownError, SetStep
from jobctl.steps.running import Running
from jobctl.steps.selection import After, Selection
from jobctl.tables.types import Key

log = logging.getLogger(__name__)
WAITED_FOR = 64  # rows at once
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
        """Return the change of those rows that nobody else has."""
        chosen = self.selection.keys().with_for_update(**passing_over(*self.locked))
        return Application(self.batch, chosen, self.dialect)

    @property
    def locked(self) -> Sequence[Table]:
        # What rows belong to before the rows, as whoever else writes both.
        return (*self.batch.due.locks, self.batch.due.table)

    def lock(self, connection: Connection, ids: Sequence[Key], *, wait: bool) -> Sequence[Key]:
        """Lock rows, and return them; what is read from then on is as whoever else had them has left it."""
        how = {"of": self.locked} if wait else passing_over(*self.locked)
        theirs = among(self.batch.due.key, ids, self.dialect)
        rows = select(self.batch.due.key).select_from(self.batch.due.rows).where(theirs)
        return connection.scalars(rows.with_for_update(**how)).all()

    def still(self, connection: Connection, ids: Sequence[Key]) -> Sequence[Key]:
        """Return those that are still due: of runs that share the work, another one had the others."""
        theirs = among(self.batch.due.key, ids, self.dialect)
        return connection.scalars(self.selection.keys().where(theirs)).all()

    def next(self, connection: Connection, after: After | None, size: int) -> Sequence[Any]:
        page = self.first if after is None else self.further
        return connection.execute(page, self.selection.place(after, size)).all()


def run(step: SetStep, running: Running) -> None:
    """Do one run of the step; a row that the database refuses is recorded, and passed over.

    Rows that somebody else has are left for the end, and then waited for: the next run may be a month away.
    """
    batch = Batch(running.at, step.due(running.at))
    step.change(running.at, batch)
    pages, place, left = Pages(batch, running), Place(), list[Key]()
    # What is summed up is told even where it comes to nothing.
    running.record.counts.update(dict.fromkeys(batch.sums, 0))
    while not running.stopping and running.left():
        try:
            with running.transaction() as connection:
                bound_waiting(connection, db.BRIEFLY)
                found = pages.next(connection, place.after, min(place.size, running.left()))
                ids = [row.id for row in found]
                done = change(connection, pages, ids, running) if found else Applied([])
        except DBAPIError as error:
            left += narrow(pages, place, running, error)
            continue
        if not found:
            break
        place.after, place.size = place_of(found[-1]), min(PAGE, place.size * 2)
        left += set(ids) - set(done.ids)
        count(step, done, running)
    for n in range(0, len(left), PAGE):
        with running.transaction() as connection:
            still = pages.still(connection, left[n : n + PAGE])
        for m in range(0, len(still), WAITED_FOR):
            wait_for(pages, step, still[m : m + WAITED_FOR], running)


def place_of(row: Any) -> After:
    return row.place_in_order, row.id


def count(step: SetStep, done: Applied, running: Running) -> None:
    running.record.counts.update({step.outcome: len(done.ids), **done.sums})
    running.attempted += len(done.ids)
    log.info("page.changed", extra={"rows": len(done.ids), "outcome": step.outcome})


def change(connection: Connection, pages: Pages, ids: Sequence[Key], running: Running) -> Applied:
    """Change those rows that are still due, and nobody's meanwhile."""
    run_id, table = running.open_record(connection), pages.batch.due.table.name
    if pages.batch.due.locks_first:
        ids = pages.lock(connection, ids, wait=False)
    done = pages.application.apply(connection, run_id, ids)
    if done.ids and pages.batch.finds:
        running.record.tell_findings(connection, running.at.now)
    for asked in pages.batch.asked if done.ids else ():
        follow(connection, asked, pages.batch.due, done.ids, running)
    for reason in pages.batch.errors:
        for each in done.ids:
            running.record.error(connection, running.at.now, table, each, reason)
    return done


def wait_for(pages: Pages, step: SetStep, ids: Sequence[Key], running: Running) -> None:
    """Change rows that somebody had, as soon as they are free; one that doesn't become so is recorded."""
    if running.stopping or not running.left():
        return
    try:
        with running.transaction() as connection:
            bound_waiting(connection, db.BRIEFLY if len(ids) > 1 else db.PATIENCE)
            pages.lock(connection, ids, wait=True)
            done = change(connection, pages, ids[: running.left()], running)
        count(step, done, running)
    except DBAPIError as error:
        middle = len(ids) // 2
        for half in (ids[:middle], ids[middle:]) if middle else ():
            wait_for(pages, step, half, running)
        if not middle:
            refuse(pages, ids[0], running, error)


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


def narrow(pages: Pages, place: Place, running: Running, error: DBAPIError) -> Sequence[Key]:
    """Halve the page that the database refused, until the bad row stands alone; record it and go on.

    Returns it instead where somebody else has it, or what belongs to it.
    """
    with running.transaction() as connection:
        page = pages.next(connection, place.after, place.size)
    if len(page) > 1:
        place.size = len(page) // 2
        return ()
    place.size = PAGE
    for row in page:
        place.after = place_of(row)
        if gave_up_waiting(error):
            return [row.id]
        refuse(pages, row.id, running, error)
    return ()


def refuse(pages: Pages, row: Key, running: Running, error: DBAPIError) -> None:
    """Record what the database had against a row's change."""
    reason = db.refusal(error)
    with running.transaction() as connection:
        running.open_record(connection)
        running.record.error(connection, running.at.now, pages.batch.due.table.name, row, reason)
    running.record.counts["failed"] += 1
    running.attempted += 1
