"""The dry run of steps that ask others: look-ups and lists, which change nothing where they go."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection

from jobctl import circuits
from jobctl.changes import UNAUDITED
from jobctl.db import first_line
from jobctl.job import Call, EffectStep, ListStep, Lost, Means, NotBegunError, ScopeDownError
from jobctl.steps import listing
from jobctl.steps.effect import PUT_BACK, dead_claims, decide, lost_claims
from jobctl.steps.running import Running
from jobctl.steps.selection import Selection
from jobctl.steps.settling import forget_known, looking, note, note_listed, tell_drift
from jobctl.steps.showing import Shown, beside, changed, pages, settled
from jobctl.tables.types import Key


def preview_effect(
    step: EffectStep[Any, Any, Any, Any], running: Running, connection: Connection
) -> Iterator[Shown]:
    due = step.due(running.at)
    again: list[Key] = []
    look = looking(connection, locking=False)
    for row, lost in lost_claims(due.table, dead_claims(step, running, connection), connection):
        if step.looks_up:
            again.append(row.id)
            continue
        noted = note(step, running.at, row, lost, look)
        if noted.values.get("status", "queued") == "queued":
            again.append(row.id)
        else:
            yield changed(connection, due.table, noted)
    selection = Selection(due, running.options.since, running.options.only, also=again)
    held = circuits.still_down(connection, running.record.job, running.at.now)
    for page in pages(selection, running, connection):
        rows = [step.row(*row[:-1]) for row in page]
        asked = [circuits.heeding(decide(step, running.at, row), held) for row in rows]
        answers = looked_up(step, running, asked) if step.looks_up else asked
        for row, answer in zip(rows, answers, strict=True):
            yield from foreseen(step, running, row, answer, connection)


def looked_up(step: EffectStep[Any, Any, Any, Any], running: Running, asked: Sequence[Any]) -> Iterator[Any]:
    """Make the calls, which change nothing where they go; what needs none is answered already."""
    means = reading(running, running.options.concurrency or step.concurrency(running.at.settings))
    closed: set[str] = set()
    with step.connect(running.at, means) as outside, ThreadPoolExecutor(means.concurrency) as pool:

        def answer(asked: Any) -> Any:
            if not isinstance(asked, Call):
                return asked
            if not closed.isdisjoint(asked.scopes):
                return NotBegunError(f"{', '.join(sorted(closed))} is closed for this run")
            try:
                return step.call(outside, asked.payload)
            except (ScopeDownError, NotBegunError) as error:
                closed.update([error.scope] if isinstance(error, ScopeDownError) else [])
                return error
            except Exception as error:  # noqa: BLE001 (isolation: as in a run, it is that row's)
                return Lost(f"{type(error).__name__}: {first_line(error)}")

        yield from pool.map(answer, asked)


def reading(running: Running, concurrency: int = 1) -> Means:
    return Means(running.stop, concurrency, running.out, read_only=True, clock=running.clock)


def foreseen(
    step: EffectStep[Any, Any, Any, Any], running: Running, row: Any, answer: Any, connection: Connection
) -> Iterator[Shown]:
    table = step.due(running.at).table
    if isinstance(answer, Call):
        yield Shown(table.name, row.id, "would be sent", {}, {}, answer.shown)
    elif isinstance(answer, ScopeDownError | NotBegunError):
        if isinstance(answer, ScopeDownError):
            running.close_scope(answer)
        yield Shown(table.name, row.id, PUT_BACK, {}, {}, {"reason": str(answer)})
    else:
        noted = note(step, running.at, row, answer, looking(connection, locking=False))
        forget_known(noted, connection)
        for exit_code, complaint in noted.complaints:
            running.fail(exit_code, complaint)
        if set(noted.values) - UNAUDITED:
            tell_drift(noted, running.record)
            yield changed(connection, table, noted)
            yield from beside(noted, connection)
        else:
            yield from settled(connection, table.name, noted, running)


def preview_list(step: ListStep[Any, Any, Any], running: Running, connection: Connection) -> Iterator[Shown]:
    """Show what would be recorded; asking the other side for its list changes nothing there."""
    if running.options.only is not None:
        return
    with step.connect(running.at, reading(running)) as outside:
        for source in step.sources(running.at.settings):
            try:
                until = listing.begun(step, source, running, connection)
                start, end = listing.window(step, running, until)
                for each in listing.slices(start, end, step.reach(running.at.settings)):
                    pages = step.pages(outside, source, *each)
                    yield from preview_slice(step, pages, running, connection)
            except NotBegunError:  # told to stop between two pages
                return
            except ScopeDownError as down:
                running.close_scope(down)


def preview_slice(
    step: ListStep[Any, Any, Any],
    pages: Iterable[Sequence[Any]],
    running: Running,
    connection: Connection,
) -> Iterator[Shown]:
    read = listing.reading(connection)
    news = listing.in_order(each for page in pages for each in step.news(running.at, page, read))
    for item in news[: running.left()]:
        running.attempted += 1
        noted = note_listed(step, running.at, item, looking(connection, locking=False))
        listing.for_someone(noted)
        if listing.is_news(noted, connection):
            yield from settled(connection, "listed", noted, running)
        else:
            tell_drift(noted, running.record)
