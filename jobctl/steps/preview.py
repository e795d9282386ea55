"""The dry run: the same selection and decisions, from one read-only snapshot, shown and not done."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Table, select

from jobctl.changes import Batch, value_of
from jobctl.job import (
    At,
    Call,
    EffectStep,
    ListStep,
    Lost,
    Means,
    NotBegunError,
    ScopeDownError,
    SetStep,
    Step,
)
from jobctl.steps import listing
from jobctl.steps.effect import DIED, PUT_BACK, dead_claims, decide
from jobctl.steps.running import Running
from jobctl.steps.selection import Selection
from jobctl.steps.settling import Noted, note, note_listed

PAGE = 500


@dataclass(frozen=True)
class Shown:
    """What would become of one row: a change from what to what, a request, or both empty: a deletion."""

    table: str
    row_id: int | str  # of what somebody else lists: its id there
    outcome: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    request: Mapping[str, Any]


def preview(step: Step, running: Running, connection: Connection) -> Iterator[Shown]:
    match step:
        case SetStep():
            return preview_set(step, running, connection)
        case EffectStep():
            return preview_effect(step, running, connection)
        case ListStep():
            return preview_list(step, running, connection)


def pages(selection: Selection, running: Running, connection: Connection) -> Iterator[Any]:
    """Yield the due rows page by page, up to --limit."""
    after = None
    while size := min(PAGE, running.left()):
        page = selection.page(first=after is None)
        found = connection.execute(page, selection.place(after, size)).all()
        if not found:
            return
        after = (found[-1].place_in_order, found[-1].id)
        for row in found:
            running.attempted += 1
            yield row


def preview_effect(
    step: EffectStep[Any, Any, Any, Any], running: Running, connection: Connection
) -> Iterator[Shown]:
    due = step.due(running.at)
    again: list[int] = []
    for row in dead_claims(step, running, connection):
        noted = note(step, running.at, row, Lost(DIED))
        if noted.values.get("status", "queued") == "queued":
            again.append(row.id)
        else:
            yield changed(connection, due.table, noted)
    selection = Selection(due, running.options.since, running.options.only, also=again)
    for row in pages(selection, running, connection):
        yield foreseen(step, running.at, step.row(*row[:-1]), connection, due.table)


def foreseen(
    step: EffectStep[Any, Any, Any, Any], at: At, row: Any, connection: Connection, table: Table
) -> Shown:
    asked = decide(step, at, row)
    if isinstance(asked, Call):
        return Shown(table.name, row.id, "would be sent", {}, {}, asked.shown)
    if isinstance(asked, ScopeDownError | NotBegunError):
        return Shown(table.name, row.id, PUT_BACK, {}, {}, {"reason": str(asked)})
    return changed(connection, table, note(step, at, row, asked))


def changed(connection: Connection, table: Table, noted: Noted) -> Shown:
    columns = [table.c[name] for name in noted.values]
    before = connection.execute(select(*columns).where(table.c.id == noted.row.id)).mappings().one()
    return Shown(table.name, noted.row.id, noted.outcome, dict(before), noted.values, {})


def preview_set(step: SetStep, running: Running, connection: Connection) -> Iterator[Shown]:
    due = step.due(running.at)
    batch = Batch(due.table)
    step.change(running.at, batch)
    selection = Selection(
        replace(due, read=batch_columns(batch), order=None), running.options.since, running.options.only
    )
    for row in pages(selection, running, connection):
        named = row_named(row)
        before = {name: shown(due.table, name, named[f"before_{name}"]) for name in batch.values()}
        after = {name: named[f"after_{name}"] for name in batch.values()}
        yield Shown(due.table.name, row.id, step.outcome, before, after, {})


def shown(table: Table, name: str, value: Any) -> Any:
    """Return a value as a dry run may print it, which ends in logs."""
    return "(personal)" if table.c[name].info.get("personal") and value else value


def preview_list(step: ListStep[Any, Any], running: Running, connection: Connection) -> Iterator[Shown]:
    """Show what would be recorded; asking the other side for its list changes nothing there."""
    start, end = listing.window(step, running, connection)
    with step.connect(running.at, Means(running.stop, 1, running.out)) as outside:
        for page in step.pages(outside, start, end):
            for item in listing.fresh(step, page, connection)[: running.left()]:
                running.attempted += 1
                yield from recorded(note_listed(step, running.at, item))


def recorded(noted: Noted) -> Iterator[Shown]:
    for table, _, values in noted.inserts:
        yield Shown(table.name, noted.row.id, noted.outcome, {}, values, {})
    for reason in noted.errors:
        yield Shown("listed", noted.row.id, noted.outcome, {}, {}, {"reason": reason})


def row_named(row: Any) -> Mapping[str, Any]:
    named: Mapping[str, Any] = row._asdict()
    return named


def batch_columns(batch: Batch) -> dict[str, Any]:
    """Select what the change reads and what it would write, by the expressions of the change itself."""
    columns: dict[str, Any] = {"id": batch.table.c.id}
    for name, value in batch.values().items():
        columns[f"before_{name}"] = batch.table.c[name]
        columns[f"after_{name}"] = value_of(batch.table, name, value)
    return columns
