"""The list step: follow what somebody else lists, from a watermark on.

The window begins where the last complete run ended, less an overlap, so that missed runs heal themselves;
the watermark moves only once all that was listed is settled.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError

from jobctl.db import first_line, insert_once
from jobctl.job import ListStep, Means, ScopeDownError
from jobctl.steps.running import Running
from jobctl.steps.settling import Noted, note_listed, write_inserts
from jobctl.tables.frame import watermarks

AnyList = ListStep[Any, Any]
LAG = timedelta(minutes=1)  # what is listed may come in late by that much
OVERLAP = timedelta(minutes=10)


def run(step: AnyList, running: Running) -> None:
    """Settle all that is listed in the window and not here yet."""
    with running.transaction() as connection:
        start, end = window(step, running, connection)
    try:
        with step.connect(running.at, Means(running.stop, 1, running.out)) as outside:
            complete = all(one_page(step, running, page) for page in step.pages(outside, start, end))
    except ScopeDownError as down:
        running.fail(down.exit_code, f"{down.scope} is closed for this run: {down.reason}")
        return
    if complete and unbounded(running):
        with running.transaction() as connection:
            advance(connection, step.source, end)


def unbounded(running: Running) -> bool:
    options = running.options
    return options.since is None and options.limit is None and options.only is None


def window(step: AnyList, running: Running, connection: Connection) -> tuple[datetime, datetime]:
    """Return the window, half-open: from --since, or as far back as the last complete run and `reach` ask."""
    end = running.at.now - LAG
    if running.options.since:
        return running.options.since, end
    start = end - step.reach(running.at.settings)
    until = connection.scalar(select(watermarks.c.until).where(watermarks.c.source == step.source))
    return (min(start, until - OVERLAP) if until else start), end


def one_page(step: AnyList, running: Running, page: Sequence[Any]) -> bool:
    """Settle a page; return whether all of it was taken up."""
    with running.transaction() as connection:
        new = fresh(step, page, connection)
    taken = [] if running.stopping else new[: running.left()]
    running.attempted += len(taken)
    running.at = running.moment()
    items = [note_listed(step, running.at, each) for each in taken]
    with running.transaction() as connection:
        items = [each for each in items if is_news(each, connection)]
    try:
        with running.transaction() as connection:
            write(connection, running, items)
    except DBAPIError:
        items = [write_alone(running, item) for item in items]
    running.record.counts.update(item.outcome for item in items)
    return len(taken) == len(new) and not running.stopping


def fresh(step: AnyList, page: Sequence[Any], connection: Connection) -> list[Any]:
    known = set(connection.scalars(select(step.here).where(step.here.in_([each.id for each in page]))))
    return [each for each in page if each.id not in known]


def is_news(item: Noted, connection: Connection) -> bool:
    """Tell what is to be written from what was found before, and is listed as long as the window has it."""
    if not item.findings or item.inserts or item.errors:
        return True
    return any(each.is_new(connection) for each in item.findings)


def write(connection: Connection, running: Running, items: Sequence[Noted]) -> None:
    for item in items:
        running.open_record(connection)
        write_inserts(connection, [item], running.record, running.at)
        for reason in item.errors:
            said = f"{item.row.id}: {reason}"
            running.record.error(connection, running.at.present, "listed", None, said)


def write_alone(running: Running, item: Noted) -> Noted:
    try:
        with running.transaction() as connection:
            write(connection, running, [item])
    except DBAPIError as error:
        reason = f"the database refused it: {first_line(error.orig or error)}"
        item = Noted(item.row, outcome="failed", errors=[reason])
        with running.transaction() as connection:
            write(connection, running, [item])
    return item


def advance(connection: Connection, source: str, until: datetime) -> None:
    """Move the watermark, never back: of two runs at once the later end counts."""
    first = insert_once(watermarks, ["source"], {"source": source, "until": until}, connection.dialect.name)
    connection.execute(first)
    behind = (watermarks.c.source == source) & (watermarks.c.until < until)
    connection.execute(update(watermarks).where(behind).values(until=until))
