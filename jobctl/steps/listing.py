"""The list step: follow what others list, from a watermark on.

The window begins where the last complete run ended, less an overlap, so that missed runs heal themselves;
the watermark moves only once all that was listed is settled. The first run of all leaves one where its
window begins, so that what it cannot come to is not missed by the first that can.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from jobctl.changes import ChangedMeanwhileError
from jobctl.db import first_line, insert_once, refusal
from jobctl.errors import Exit, JobctlError
from jobctl.job import ListStep, Means, NotBegunError, Read, ScopeDownError
from jobctl.steps.running import Running
from jobctl.steps.settling import (
    Noted,
    forget_known,
    in_parts,
    looking,
    note_listed,
    tally,
    tell_drift,
    write_beside,
)
from jobctl.tables.frame import watermarks

log = logging.getLogger(__name__)
AnyList = ListStep[Any, Any, Any]
LAG = timedelta(minutes=1)  # what is listed may come in late by that much
OVERLAP = timedelta(minutes=10)
SLICES = 64  # of a window at the most
KNOWN, FEWEST = 100, 3  # payments known to be there: how many are looked for, and prove something
MONTH = timedelta(days=30)
UNNOTICED = timedelta(days=3)  # how long a key may have been another account's
ATTEMPTS = 3  # at an item that a rival writes at the same moment
UNTOLD = "something that is listed can neither be settled nor written down as a finding: the log has why"


def run(step: AnyList, running: Running) -> None:
    """Settle all that is news in the windows; what --only names is a row, and none of these."""
    if running.options.only is not None:
        return
    with step.connect(running.at, Means(running.stop, 1, running.out, clock=running.clock)) as outside:
        for source in step.sources(running.at.settings):
            if not running.stopping and source not in running.closed:
                follow(step, source, outside, running)


def follow(step: AnyList, source: str, outside: Any, running: Running) -> None:
    complete = True
    try:
        with running.transaction() as connection:
            until = begun(step, source, running, connection)
            start, end = window(step, running, until)
            if running.options.since is None and until is None:
                advance(connection, mark(step, source, running), start)
        place = Place(step, source, start, end, running)
        for each in slices(start, end, step.reach(running.at.settings)):
            pages = place.watch(step.pages(outside, source, *each))
            complete &= Slice(step, running).take_up(pages)
            if running.stopping or not running.left():
                return
        place.prove()
        running.up.add(source)
    except NotBegunError:  # told to stop between two pages
        return
    except ScopeDownError as down:
        running.close_scope(down)
        return
    if complete and unbounded(running):
        with running.transaction() as connection:
            advance(connection, mark(step, source, running), end)


class Place:
    """Whether a source lists anything of what it must have, if it is the right place."""

    def __init__(self, step: AnyList, source: str, start: datetime, end: datetime, running: Running) -> None:
        self.source, self.missing, self.listed = source, set[str](), False
        if step.known is None:
            return
        # At the ends of the window what is written down here and there may differ by some minutes.
        within = step.known(running.at, source, start + OVERLAP, end - OVERLAP).limit(KNOWN)
        with running.transaction() as connection:
            self.missing = set(connection.scalars(within))

    def watch(self, pages: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        for page in pages:
            self.listed = self.listed or not self.missing.isdisjoint(each.id for each in page)
            yield page

    def prove(self) -> None:
        """Raise ScopeDownError where nothing of what is known was listed: the watermark must not move."""
        if len(self.missing) >= FEWEST and not self.listed:
            reason = f"it lists none of {len(self.missing)} payments that it is known to have"
            raise ScopeDownError(self.source, f"{reason}: is this the right key?", Exit.MISCONFIGURED)


def mark(step: AnyList, source: str, running: Running) -> str:
    """Name the watermark of a source: each job has come to its own, with each of our keys there."""
    return f"{running.record.job}.{step.place(running.at.settings, source)}"


def unbounded(running: Running) -> bool:
    return running.options.since is None and running.options.limit is None


def window(step: AnyList, running: Running, until: datetime | None) -> tuple[datetime, datetime]:
    """Return the window, half-open: from --since, or as far back as `until`, of before, and `reach` ask."""
    end = running.at.now - LAG
    if running.options.since:
        return min(running.options.since, end), end
    start = end - step.reach(running.at.settings)
    return (min(start, until - OVERLAP) if until else start), end


def begun(step: AnyList, source: str, running: Running, connection: Connection) -> datetime | None:
    """Return how far a source was followed: with its key, else with those that it had before.

    Of these each may have been another account's, so that the one that came least far counts, of those that
    were used in the month before the newest, and none at all for the last days.
    """
    this, until = watermarks.c.source, watermarks.c.until
    known: datetime | None = connection.scalar(select(until).where(this == mark(step, source, running)))
    if known is None:
        former = this.startswith(f"{running.record.job}.{source}", autoescape=True)
        found = connection.scalars(select(until).where(former)).all()
        lately = [each for each in found if each >= max(found) - MONTH]
        known = min([running.at.now - UNNOTICED, *lately]) if lately else None
    return known


def slices(start: datetime, end: datetime, least: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Part a window, oldest first: lists begin with the newest, and what is older counts first."""
    length = max(least, (end - start) / SLICES)
    while start < end:
        yield start, min(start + length, end)
        start += length


def in_order(news: Iterable[Any]) -> list[Any]:
    # Comparable even where one has no time zone, which then is that one's error.
    return sorted(news, key=lambda each: each.at.timestamp())


@dataclass
class Slice:
    """A part of the window, as far as it is taken up."""

    step: AnyList
    running: Running
    complete: bool = True  # whether all of it is settled, or written down for a person

    def take_up(self, pages: Iterable[Sequence[Any]]) -> bool:
        """Settle what is news, oldest first; return whether all of it was taken up."""
        for item in in_order(each for page in pages for each in self.news(page)):
            if self.running.stopping or not self.running.left():
                return False
            self.running.attempted += 1
            self.settle(item)
        return self.complete and not self.running.stopping

    def news(self, page: Sequence[Any]) -> Sequence[Any]:
        """Return what is news of a page; an entry that cannot even be looked up is for a person."""
        self.running.at = self.running.moment()
        found: list[Any] = []

        def look(listed: Sequence[Any]) -> None:
            with self.running.transaction() as connection:
                if self.step.seen:
                    connection.execute(self.step.seen(self.running.at, listed))
                news = in_order(self.step.news(self.running.at, listed, reading(connection)))
            found.extend(news)

        in_parts(page, look, lambda each, error: self.refuse(each, refusal(error)))
        return found

    def settle(self, item: Any, attempts: int = ATTEMPTS) -> None:
        """Settle an item, once more where a rival's transaction came between."""
        try:
            noted = settle_once(self.step, self.running, item)
        except JobctlError:
            raise
        except Exception as error:  # noqa: BLE001 (isolation: it is recorded as what became of the item)
            log.info("item.again", extra={"item": item.id, "reason": first_line(error)})
            if attempts > 1:
                self.settle(item, attempts - 1)
            else:
                self.refuse(item, why(error))
        else:
            self.count(noted)

    def refuse(self, item: Any, reason: str) -> None:
        """Make a finding of what cannot be settled; where that is refused too, the watermark waits."""
        try:
            noted = refused(self.running, item, reason)
        except JobctlError:
            raise
        except Exception as error:  # noqa: BLE001 (isolation: whatever it is, the others go on)
            log.warning("item.untold", extra={"reason": reason, "refused": first_line(error)})
            self.complete = False
            noted = untold(self.running, item)
        self.count(noted)

    def count(self, noted: Noted | None) -> None:
        if noted:
            tally(self.running.record, noted)


def reading(connection: Connection) -> Read:
    return lambda query: connection.execute(query).all()


def why(error: Exception) -> str:
    if isinstance(error, ChangedMeanwhileError):
        return "somebody else changes it at the same time, again and again"
    return refusal(error)


def settle_once(step: AnyList, running: Running, item: Any) -> Noted | None:
    with running.transaction() as connection:
        noted = note_listed(step, running.at, item, looking(connection))
        for_someone(noted)
        if not is_news(noted, connection):
            tell_drift(noted, running.record)
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


def untold(running: Running, item: Any) -> Noted:
    """Record, in constants, that something is left which no finding tells of."""
    with running.transaction() as connection:
        running.open_record(connection)
        running.record.error(connection, running.at.present, "listed", None, UNTOLD)
        return Noted(item, looking(connection), outcome="failed")


def advance(connection: Connection, source: str, until: datetime) -> None:
    """Move the watermark, never back: of two runs at once the later end counts."""
    first = insert_once(watermarks, ["source"], {"source": source, "until": until}, connection.dialect.name)
    connection.execute(first)
    behind = (watermarks.c.source == source) & (watermarks.c.until < until)
    connection.execute(update(watermarks).where(behind).values(until=until))
