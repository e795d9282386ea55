"""What a dry run shows: of each row what would become of it, and what would be written beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select

from jobctl.steps.running import Running
from jobctl.steps.selection import Selection
from jobctl.steps.settling import New, Noted, forget_known

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


def pages(selection: Selection, running: Running, connection: Connection) -> Iterator[Sequence[Any]]:
    """Yield the due rows page by page, up to --limit."""
    after = None
    while size := min(PAGE, running.left()):
        page = selection.page(first=after is None)
        found = connection.execute(page, selection.place(after, size)).all()
        if not found:
            return
        after = (found[-1].place_in_order, found[-1].id)
        running.attempted += len(found)
        yield found


def settled(connection: Connection, table: Table, noted: Noted, running: Running) -> Iterator[Shown]:
    """Show what a settled row changes: its own values first, then what is written beside it."""
    forget_known(noted, connection)
    for what, amount in noted.drifts:
        running.record.add_drift(what, amount)
    if noted.values or not noted.writes:
        yield changed(connection, table, noted)
    yield from beside(noted, connection)


def changed(connection: Connection, table: Table, noted: Noted) -> Shown:
    if not noted.values:
        told = {"reason": "; ".join(noted.errors)} if noted.errors else {}
        return Shown(table.name, noted.row.id, noted.outcome, {}, {}, told)
    before = before_of(connection, table, noted.row.id, noted.values)
    return Shown(table.name, noted.row.id, noted.outcome, before, noted.values, {})


def before_of(connection: Connection, table: Table, row_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    columns = [table.c[name] for name in values]
    return dict(connection.execute(select(*columns).where(table.c.id == row_id)).mappings().one())


def hidden(table: Table, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return values as a dry run may print them, which ends in logs."""
    return {name: shown(table, name, value) for name, value in values.items()}


def beside(noted: Noted, connection: Connection) -> Iterator[Shown]:
    """Show what is written beside a row."""
    for each in noted.writes:
        if each.table.info.get("history"):
            continue
        if isinstance(each.row, New):
            yield Shown(each.table.name, "new", noted.outcome, {}, hidden(each.table, each.values), {})
        else:
            before = hidden(each.table, before_of(connection, each.table, each.row, each.values))
            after = hidden(each.table, each.values)
            yield Shown(each.table.name, each.row, noted.outcome, before, after, {})
    for finding in noted.findings:
        told = {"kind": finding.kind, "reason": finding.reason, **finding.facts}
        yield Shown("findings", finding.key, "found", {}, {}, told)


def shown(table: Table, name: str, value: Any) -> Any:
    return "(personal)" if table.c[name].info.get("personal") and value else value
