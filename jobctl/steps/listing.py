"""The list step: follow what others list, from a watermark on.

The window begins where the last complete run ended, less an overlap, so that missed runs heal themselves;
the watermark moves only once all that was listed is settled.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError

from jobctl.changes import ChangedMeanwhileError
from jobctl.db import first_line, insert_once
from jobctl.job import ListStep, Means, NotBegunError, Read, ScopeDownError
from jobctl.steps.running import Running
from jobctl.steps.settling import Noted, forget_known, looking, note_listed, tally, write_beside
from jobctl.tables.frame import watermarks

log = logging.getLogger(__name__)
AnyList = ListStep[Any, Any, Any]
LAG = timedelta(minutes=1)  # what is listed may come in late by that much
OVERLAP = timedelta(minutes=10)
SLICES = 64  # of a window at the most
ATTEMPTS = 3  # at an item that a rival writes at the same moment


def run(step: AnyList, running: Running) -> None:
    """Settle all that is news in the windows; what --only names is a row, and none of these."""
    if running.options.only is not None:
        return
    with step.connect(running.at, Means(running.stop, 1, running.out, clock=running.clock)) as outside:
        for source in step.sources(running.at.settings):
            if not running.stopping:
                follow(step, source, outside, running)


def follow(step: AnyList, source: str, outside: Any, running: Running) -> None:
    with running.transaction() as connection:
        start, end = window(step, source, running, connection)
    try:
        parts = slices(start, end, step.reach(running.at.settings))
        complete = all(one_slice(step, running, step.pages(outside, source, *each)) for each in parts)
    except NotBegunError:  # told to stop between two pages
        return
    except ScopeDownError as down:
        running.close_scope(down)
        return
    if complete and unbounded(running):
        with running.transaction() as connection:
            advance(connection, mark(source, running), end)


def mark(source: str, running: Running) -> str:
    """Name the watermark of a source: each job has come to its own."""
    return f"{running.record.job}.{source}"


def unbounded(running: Running) -> bool:
    return running.options.since is None and running.options.limit is None


def window(step: AnyList, source: str, running: Running, connection: Connection) -> tuple[datetime, datetime]:
    """Return the window, half-open: from --since, or as far back as the last complete run and `reach` ask."""
    end = running.at.now - LAG
    if running.options.since:
        return min(running.options.since, end), end
    start = end - step.reach(running.at.settings)
    known = select(watermarks.c.until).where(watermarks.c.source == mark(source, running))
    until = connection.scalar(known)
    return (min(start, until - OVERLAP) if until else start), end


def slices(start: datetime, end: datetime, least: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Part a window, oldest first: lists begin with the newest, and what is older counts first."""
    length = max(least, (end - start) / SLICES)
    while start < end:
        yield start, min(start + length, end)
        start += length


def one_slice(step: AnyList, running: Running, pages: Iterable[Sequence[Any]]) -> bool:
    """Settle what is news in a part of the window, oldest first; return whether all of it was taken up."""
    for item in in_order(each for page in pages for each in fresh(step, running, page)):
        if running.stopping or not running.left():
            return False
        running.attempted += 1
        if noted := settle(step, running, item):
            tally(running.record, noted)
    return not running.stopping


def in_order(news: Iterable[Any]) -> list[Any]:
    return sorted(news, key=lambda each: each.at)


def fresh(step: AnyList, running: Running, page: Sequence[Any]) -> Sequence[Any]:
    running.at = running.moment()
    with running.transaction() as connection:
        if step.seen and page:
            connection.execute(step.seen(running.at, page))
        return step.news(running.at, page, reading(connection))


def reading(connection: Connection) -> Read:
    return lambda query: connection.execute(query).all()


def settle(step: AnyList, running: Running, item: Any, attempts: int = ATTEMPTS) -> Noted | None:
    """Settle an item, once more where a rival's transaction came between; None where nothing changed."""
    try:
        return settle_once(step, running, item)
    except (DBAPIError, ChangedMeanwhileError) as error:
        log.info("item.again", extra={"item": item.id, "reason": first_line(error)})
        if attempts == 1:
            return refused(running, item, why(error))
    return settle(step, running, item, attempts - 1)


def why(error: Exception) -> str:
    if isinstance(error, DBAPIError):
        return f"the database refused it: {first_line(error)}"
    return "somebody else changes it at the same time, again and again"


def settle_once(step: AnyList, running: Running, item: Any) -> Noted | None:
    with running.transaction() as connection:
        noted = note_listed(step, running.at, item, looking(connection))
        for_someone(noted)
        if not is_news(noted, connection):
            return None
        write(connection, running, noted)
    return noted


def for_someone(noted: Noted) -> None:
    """Make a finding of what could not be recorded: no later run may come back to it."""
    if not noted.errors:
        return
    from jobctl.findings import Finding  # noqa: PLC0415 (most runs find nothing)

    reasons, noted.errors = noted.errors, []
    noted.findings += [Finding("listed and not recorded", [noted.row.id], each) for each in reasons]


def is_news(noted: Noted, connection: Connection) -> bool:
    """Tell what is to be written; what a person has been told of is listed as long as the window has it."""
    forget_known(noted, connection)
    return bool(noted.writes or noted.findings or noted.notices)


def write(connection: Connection, running: Running, noted: Noted) -> None:
    running.open_record(connection)
    write_beside(connection, [noted], running.record, running.at)


def refused(running: Running, item: Any, reason: str) -> Noted | None:
    with running.transaction() as connection:
        noted = Noted(item, looking(connection), outcome="failed", errors=[reason])
        for_someone(noted)
        if not is_news(noted, connection):
            return None
        write(connection, running, noted)
    return noted


def advance(connection: Connection, source: str, until: datetime) -> None:
    """Move the watermark, never back: of two runs at once the later end counts."""
    first = insert_once(watermarks, ["source"], {"source": source, "until": until}, connection.dialect.name)
    connection.execute(first)
    behind = (watermarks.c.source == source) & (watermarks.c.until < until)
    connection.execute(update(watermarks).where(behind).values(until=until))
