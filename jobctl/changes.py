"""The only way to change anything: rows chosen, audited and updated by the same statement.

On PostgreSQL a batch is one statement (data-modifying CTEs), which no rival can get between; on SQLite
it is a few in a transaction that excludes every other writer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from jobctl.db import among, json_object, rows_of
from jobctl.tables.frame import audit_trail
from jobctl.tables.types import inline

# What says who works on a row, and changes nothing for anybody outside.
UNAUDITED = {"claimed_by", "attempts"}


@dataclass(frozen=True)
class Author:
    """Who changes, and when: the run's number and the moment."""

    run_id: int
    at: datetime


@dataclass
class Batch:
    """Changes to rows of one table, noted until `apply`."""

    table: Table
    updates: list[Mapping[str, Any]] = field(default_factory=list)
    deleted: bool = False

    def update(self, **values: Any) -> None:
        self.updates.append(values)

    def delete(self) -> None:
        self.deleted = True

    def values(self) -> dict[str, Any]:
        return {name: value for each in self.updates for name, value in each.items()}


def allowed(table: Table, values: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Refuse, as a condition on the row, a change of status that its table of transitions doesn't have."""
    transitions = table.info.get("transitions")
    if transitions is None or "status" not in values:
        return []
    origins = [old for old, new in transitions.items() if values["status"] in new]
    return [table.c.status.in_([inline(each) for each in origins])]


def apply(
    connection: Connection, batch: Batch, chosen: Select[Any], author: Author, given: FromClause | None = None
) -> int:
    """Change the rows that `chosen` selects by their key; return how many there were.

    chosen: locks its rows by itself (`with_for_update`), waiting for others' or passing over them.
    given: a table of values, by the key, for columns that differ from row to row.
    """
    values = batch.values() | (
        {} if given is None else {each.name: each for each in given.c if each.name != "id"}
    )
    statements = (
        [delete(batch.table)] if batch.deleted else audited(batch.table, values, author, connection, given)
    )
    if connection.dialect.name == "postgresql":
        return apply_at_once(connection, batch.table, statements, chosen)
    return apply_in_turn(connection, batch.table, statements, chosen)


def audited(
    table: Table, values: Mapping[str, Any], author: Author, connection: Connection, given: FromClause | None
) -> list[Any]:
    matched = [] if given is None else [given.c.id == table.c.id]
    change = update(table).values(values).where(*matched)
    trail = audit(table, values, author, connection.dialect.name)
    return [change] if trail is None else [(trail, matched), change]


def audit(table: Table, values: Mapping[str, Any], author: Author, dialect: str) -> Any:
    """Select the audit rows of a change: from what to what, without what is personal."""
    shown = [name for name in values if name not in UNAUDITED and not table.c[name].info.get("personal")]
    if not shown:
        return None
    after = {name: value_of(table, name, values[name]) for name in shown}
    return select(
        literal(author.run_id, audit_trail.c.run_id.type),
        literal(author.at, audit_trail.c.at.type),
        inline(table.name),
        table.c.id,
        json_object({name: table.c[name] for name in shown}, dialect),
        json_object(after, dialect),
    )


def value_of(table: Table, name: str, value: Any) -> ColumnElement[Any]:
    return value if isinstance(value, ColumnElement) else literal(value, table.c[name].type)


AUDIT_COLUMNS = ["run_id", "at", "table_name", "row_id", "before", "after"]


def apply_at_once(
    connection: Connection, table: Table, statements: Sequence[Any], chosen: Select[Any]
) -> int:
    """Run all of it as one PostgreSQL statement, in which every part sees the rows as they were."""
    batch = chosen.cte("batch")
    theirs = table.c.id == batch.c.id
    *trails, change = statements
    counted = select(func.count()).select_from(batch).add_cte(change.where(theirs).cte("changed"))
    for trail, matched in trails:
        rows = insert(audit_trail).from_select(AUDIT_COLUMNS, trail.where(theirs, *matched))
        counted = counted.add_cte(rows.cte("trail"))
    return int(connection.scalar(counted) or 0)


def apply_in_turn(
    connection: Connection, table: Table, statements: Sequence[Any], chosen: Select[Any]
) -> int:
    """Run it on SQLite: the audit rows while the old row is still there, the change last."""
    theirs = table.c.id.in_(chosen)
    *trails, change = statements
    for trail, matched in trails:
        connection.execute(insert(audit_trail).from_select(AUDIT_COLUMNS, trail.where(theirs, *matched)))
    return connection.execute(change.where(theirs)).rowcount


def update_rows(
    connection: Connection,
    table: Table,
    rows: Mapping[int, Mapping[str, Any]],
    fence: ColumnElement[bool],
    author: Author,
) -> int:
    """Give each row (by id) its own values, where `fence` and the transitions still hold; return how many.

    All rows must have values for the same columns.
    """
    ids = list(rows)
    names = list(rows[ids[0]])
    same = {
        name: rows[ids[0]][name]
        for name in names
        if all(rows[each][name] == rows[ids[0]][name] for each in ids)
    }
    varying = [name for name in names if name not in same]
    dialect = connection.dialect
    conditions = [among(table.c.id, ids, dialect.name), fence, *allowed(table, same)]
    chosen = select(table.c.id).where(*conditions).with_for_update()
    given = None
    if varying:
        columns = [table.c[name] for name in ("id", *varying)]
        given = rows_of(columns, [(each, *(rows[each][name] for name in varying)) for each in ids], dialect)
    return apply(connection, Batch(table, [same]), chosen, author, given)
