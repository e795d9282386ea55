"""The set step: rows changed by SQL, page after page, a transaction each."""

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from jobctl import db
from jobctl.batches import Applied, Asked, Batch
from jobctl.db import KeptAsItWasError, among, gave_up_waiting
from jobctl.errors import MisconfiguredError
from jobctl.job import Due, ScopeDownError, SetStep
from jobctl.steps.pages import PAGE, Pages, Patience, Place
from jobctl.steps.running import Running
from jobctl.steps.selection import After
from jobctl.tables.types import Key

log = logging.getLogger(__name__)
REFUSED = (DBAPIError, KeptAsItWasError)  # changes of rows


def run(step: SetStep, running: Running) -> None:
    """Do one run of the step; a row that the database refuses is recorded, and passed over.

    Rows that somebody else has are left for the end, and then waited for: the next run may be a month away.
    """
    batch = Batch(running.at, step.due(running.at))
    step.change(running.at, batch)
    pages, place, left = Pages(batch, running), Place(), list[Key]()
    patience = Patience(db.BRIEFLY)
    # What is summed up is told even where it comes to nothing.
    running.record.counts.update(dict.fromkeys(batch.sums, 0))
    while not running.stopping:
        try:
            with running.transaction() as connection, patience.waiting(connection):
                found = pages.next(connection, place.after, min(place.size, running.left()))
                ids = [row.id for row in found]
                done = change(connection, pages, ids, running, then=not patience.spent)
        except REFUSED as error:
            left += narrow(pages, place, running, error)
            continue
        if not found:
            break
        place.after, place.size = place_of(found[-1]), min(PAGE, place.size * 2)
        left += set(ids) - set(done.ids)
        count(step, done, running)
    wait_for(pages, step, left, running)


def place_of(row: Any) -> After:
    return row.place_in_order, row.id


def count(step: SetStep, done: Applied, running: Running) -> None:
    if not done.ids:
        return
    running.record.counts.update({step.outcome: len(done.ids), **done.sums})
    running.attempted += len(done.ids)
    log.info("page.changed", extra={"rows": len(done.ids), "outcome": step.outcome})


def change(
    connection: Connection, pages: Pages, ids: Sequence[Key], running: Running, *, then: bool
) -> Applied:
    """Change those rows that are still due, and nobody's meanwhile; then: as `Pages.lock` has it."""
    if not ids:
        return Applied([])
    run_id, table = running.open_record(connection), pages.batch.due.table.name
    if pages.locks_before:
        ids = pages.lock(connection, ids, wait=False, then=then)
    done = pages.application.apply(connection, run_id, ids)
    if done.ids and pages.batch.finds:
        running.record.tell_findings(connection, running.at.now)
    for asked in pages.batch.asked if done.ids else ():
        follow(connection, asked, pages.batch.due, done.ids, running)
    for reason in pages.batch.errors:
        for each in done.ids:
            running.record.error(connection, running.at.now, table, each, reason)
    return done


def wait_for(pages: Pages, step: SetStep, left: Sequence[Key], running: Running) -> None:
    """Change rows that somebody had, as soon as they are free; those that don't become so are recorded.

    All of them are given the same time, not each its own.
    """
    patience, tries = Patience(), True
    while left and tries and not running.stopping and running.left():
        tries = not patience.spent
        groups = [left[n : n + PAGE] for n in range(0, len(left), PAGE)]
        left = [each for group in groups for each in attempt(pages, step, group, running, patience)]
    if not running.stopping and running.left():
        for each in pages.still_of(left, running):
            refuse(pages, each, running, db.TOO_LONG)


def attempt(
    pages: Pages, step: SetStep, ids: Sequence[Key], running: Running, patience: Patience
) -> Sequence[Key]:
    """Change those of the rows that are free, once the first one is; return those that others still have."""
    ids = pages.still_of(ids, running)
    if not ids or running.stopping or not running.left():
        return ()
    try:
        with running.transaction() as connection, patience.waiting(connection):
            if not patience.spent:
                pages.lock(connection, ids[:1], wait=True)
            free = pages.lock(connection, ids, wait=False, then=False)
            done = change(connection, pages, free[: running.left()], running, then=False)
        count(step, done, running)
    except REFUSED as error:
        if middle := len(ids) // 2:
            halves = ids[:middle], ids[middle:]
            return [each for half in halves for each in attempt(pages, step, half, running, patience)]
        if gave_up_waiting(error):
            return ids
        refuse(pages, ids[0], running, db.refusal(error))
        return ()
    return [each for each in ids if each not in set(free)]


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


def narrow(pages: Pages, place: Place, running: Running, error: Exception) -> Sequence[Key]:
    """Halve the page that the database refused, until the bad row stands alone; record it and go on.

    Returns it instead where somebody else has it, or what belongs to it.
    """
    with running.transaction() as connection:
        page = pages.next(connection, place.after, place.size)
    if len(page) > 1:
        place.size = len(page) // 2
        return ()
    for row in page:
        place.after = place_of(row)
        if gave_up_waiting(error):
            return [row.id]  # and the next one may need the same lock
        refuse(pages, row.id, running, db.refusal(error))
    place.size = PAGE
    return ()


def refuse(pages: Pages, row: Key, running: Running, reason: str) -> None:
    """Record why a row was not changed."""
    with running.transaction() as connection:
        running.open_record(connection)
        running.record.error(connection, running.at.now, pages.batch.due.table.name, row, reason)
    running.record.counts["failed"] += 1
    running.attempted += 1
