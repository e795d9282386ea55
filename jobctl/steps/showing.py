"""What a dry run shows: of each row what would become of it, and what would be written beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Table, select

from jobctl.changes import UNAUDITED
from jobctl.steps.running import Running
from jobctl.steps.selection import Selection
from jobctl.steps.settling import New, Noted, Write, tell_drift
from jobctl.tables.types import Key

PAGE = 500
WITH_IT = "changed with it"


@dataclass(frozen=True)
class Shown:
    """What would become of one row: a change from what to what, a request, or both empty: a deletion."""

    table: str
    row_id: Key  # of what somebody else lists: its id there
    outcome: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    request: Mapping[str, Any]
    money: Mapping[str, Any] = field(default_factory=dict)  # amount_minor and currency of what moves here


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


def settled(connection: Connection, table: str, noted: Noted, running: Running) -> Iterator[Shown]:
    """Show what becomes of a row, by its outcome, and what is changed with it."""
    tell_drift(noted, running.record)
    changes = list(beside(noted, connection))
    if not changes or noted.errors:
        told = {"reason": "; ".join(noted.errors)} if noted.errors else {}
        changes.insert(0, Shown(table, noted.row.id, "", {}, {}, told))
    yield replace(changes[0], outcome=noted.outcome)
    yield from changes[1:]


def changed(connection: Connection, table: Table, noted: Noted) -> Shown:
    """Show what becomes of the row itself, and what a person has to see to."""
    told = {"reason": "; ".join(noted.errors)} if noted.errors else {}
    values = {name: value for name, value in noted.values.items() if name not in UNAUDITED}
    before = before_of(connection, table, noted.row.id, values)
    new = {name: value for name, value in values.items() if value != before[name]}
    return Shown(table.name, noted.row.id, noted.outcome, {name: before[name] for name in new}, new, told)


def before_of(connection: Connection, table: Table, row_id: Key, values: Mapping[str, Any]) -> dict[str, Any]:
    columns = [table.c[name] for name in values]
    return dict(connection.execute(select(*columns).where(table.c.id == row_id)).mappings().one())


def beside(noted: Noted, connection: Connection) -> Iterator[Shown]:
    """Show what is written beside a row; of what is a history itself, that its rows change, not new ones."""
    for each in noted.writes:
        if not isinstance(each.row, New):
            yield difference(each, before_of(connection, each.table, each.row, each.values))
        elif not each.table.info.get("history"):
            yield difference(each, {})
    for notice in noted.notices:
        told = {"template": notice.template, "to": f"user {notice.to}"}
        yield Shown("notifications", "new", WITH_IT, {}, {}, told)
    for finding in noted.findings:
        told = {"kind": finding.kind, "reason": finding.reason, **finding.facts}
        yield Shown("findings", finding.key, WITH_IT, {}, {}, told)


def difference(write: Write, before: Mapping[str, Any]) -> Shown:
    """Show what a write changes, of a new row what it has, as a dry run may print it, which ends in logs."""
    table = write.table
    names = [name for name, value in write.values.items() if value != before.get(name)]
    old = {name: shown(table, name, before[name]) for name in names if name in before}
    new = {name: shown(table, name, write.values[name]) for name in names}
    return Shown(table.name, "new" if isinstance(write.row, New) else write.row, WITH_IT, old, new, {})


def shown(table: Table, name: str, value: Any) -> Any:
    return "(personal)" if table.c[name].info.get("personal") and value else value
