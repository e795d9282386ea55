"""The only way to change anything: rows chosen, audited and updated by the same statement.

On PostgreSQL a batch is one statement (data-modifying CTEs), which no rival can get between; on SQLite
it is a few in a transaction that excludes every other writer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.sql import visitors

from jobctl.db import among_named, given_rows, given_values, id_list, id_list_type, json_object
from jobctl.tables.frame import audit_trail
from jobctl.tables.types import inline

# What says who works on a row, and changes nothing for anybody outside.
UNAUDITED = {"claimed_by", "attempts"}


@dataclass(frozen=True)
class Author:
    """Who changes, and when: the run's number and the moment, or the parameters that stand for them."""

    run_id: int | BindParameter[Any]
    at: datetime | BindParameter[Any]


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


Moves = tuple[tuple[str, str], ...]  # status columns, and what they become


def moves(table: Table, values: Mapping[str, Any]) -> Moves:
    """Return the changes of status among the values, which the table's transitions have a say in."""
    return tuple((name, values[name]) for name in table.info.get("transitions", ()) if name in values)


def allowed(table: Table, moved: Moves) -> list[ColumnElement[bool]]:
    """Refuse, as conditions on the row, a change of status that its table of transitions doesn't have."""
    found: list[ColumnElement[bool]] = []
    for name, status in moved:
        origins = [old for old, new in table.info["transitions"][name].items() if status in new]
        found.append(table.c[name].in_([inline(each) for each in origins]))
    return found


def apply(connection: Connection, batch: Batch, chosen: Select[Any], author: Author) -> int:
    """Change the rows that `chosen` selects by their key; return how many there were.

    chosen: locks its rows by itself (`with_for_update`), waiting for others' or passing over them. Rows
    whose status may not change so are left out.
    """
    permitted = chosen.where(*allowed(batch.table, moves(batch.table, batch.values())))
    return statements_of(batch, permitted, author, connection.dialect.name).run(connection, {})


@dataclass(frozen=True)
class Statements:
    """What a change is made of, for one dialect: on PostgreSQL one statement, on SQLite a few."""

    parts: Sequence[Any]

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run them; the last one tells how many rows there were."""
        *before, last = self.parts
        for each in before:
            connection.execute(each, values)
        if connection.dialect.name == "postgresql":
            return int(connection.scalar(last, values) or 0)
        return connection.execute(last, values).rowcount


def statements_of(
    batch: Batch, chosen: Select[Any], author: Author, dialect: str, given: FromClause | None = None
) -> Statements:
    """Build the statements of a change.

    given: a table of values, by the key, for columns that differ from row to row.
    """
    values = batch.values() | (
        {} if given is None else {each.name: each for each in given.c if each.name != "id"}
    )
    statements = (
        [delete(batch.table)] if batch.deleted else audited(batch.table, values, author, dialect, given)
    )
    if dialect == "postgresql":
        return Statements([at_once(batch.table, statements, chosen)])
    return Statements(in_turn(batch.table, statements, chosen))


def audited(
    table: Table, values: Mapping[str, Any], author: Author, dialect: str, given: FromClause | None
) -> list[Any]:
    matched = [] if given is None else [given.c.id == table.c.id]
    change = update(table).values(values).where(*matched)
    shown = audited_of(table, values)
    if not shown:
        return [change]
    # What is personal mostly is what varies; the trail then needs nothing of the given table.
    needs = matched if any(is_given(value, given) for value in shown.values()) else []
    return [(audit(table, shown, author, dialect), needs), change]


def is_given(value: Any, given: FromClause | None) -> bool:
    return given is not None and isinstance(value, ColumnElement) and any(value is each for each in given.c)


def audited_of(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a change the trail keeps: nothing that is personal."""
    return {
        name: value
        for name, value in values.items()
        if name not in UNAUDITED and not table.c[name].info.get("personal")
    }


def audit(table: Table, shown: Mapping[str, Any], author: Author, dialect: str) -> Any:
    """Select the audit rows of a change: from what to what."""
    after = {name: value_of(table, name, value) for name, value in shown.items()}
    return select(
        value_of(audit_trail, "run_id", author.run_id),
        value_of(audit_trail, "at", author.at),
        inline(table.name),
        table.c.id,
        json_object({name: table.c[name] for name in shown}, dialect),
        json_object(after, dialect),
    )


def value_of(table: Table, name: str, value: Any) -> ColumnElement[Any]:
    return value if isinstance(value, ColumnElement) else literal(value, table.c[name].type)


AUDIT_COLUMNS = ["run_id", "at", "table_name", "row_id", "before", "after"]


def at_once(table: Table, statements: Sequence[Any], chosen: Select[Any]) -> Any:
    """Make all of it one PostgreSQL statement: the batch is locked, then told of and changed."""
    *trails, change = statements
    told = [trail.where(*matched) for trail, matched in trails]
    # The trail reads the rows as they were locked; in the table this statement may see older ones.
    read = {each.name: each for trail in told for each in visitors.iterate(trail) if is_of(each, table)}
    batch = chosen.add_columns(*[each for name, each in read.items() if name != "id"]).cte("batch")

    changed = change.where(table.c.id == batch.c.id).cte("changed")
    counted = select(func.count()).select_from(batch).add_cte(changed)
    for trail in told:
        as_locked = visitors.replacement_traverse(
            trail, {}, lambda element, **_: batch.c[element.name] if is_of(element, table) else None
        )
        rows = insert(audit_trail).from_select(AUDIT_COLUMNS, as_locked)
        counted = counted.add_cte(rows.cte("trail"))
    return counted


def is_of(element: Any, table: Table) -> TypeGuard[Column[Any]]:
    return isinstance(element, Column) and element.table is table


def in_turn(table: Table, statements: Sequence[Any], chosen: Select[Any]) -> list[Any]:
    """Order it for SQLite: the audit rows while the old row is still there, the change last."""
    theirs = table.c.id.in_(chosen)
    *trails, change = statements
    told = [
        insert(audit_trail).from_select(AUDIT_COLUMNS, trail.where(theirs, *matched))
        for trail, matched in trails
    ]
    return [*told, change.where(theirs)]


class Shape(NamedTuple):
    """What two updates of rows share whose statement is the same."""

    table: Table
    same: tuple[str, ...]  # columns that become the same in all rows
    varying: tuple[str, ...]
    moved: Moves
    owned: bool  # whether the rows must be claimed by somebody


def update_rows(
    connection: Connection,
    table: Table,
    rows: Mapping[int, Mapping[str, Any]],
    owner: int | None,
    author: Author,
) -> int:
    """Give each row (by id) its own values, where `owner` has it claimed and the transitions allow it.

    owner: None where the caller has the rows locked, and no claim on them.
    Returns how many there were. All rows must have values for the same columns, and the same statuses.
    """
    ids, dialect = list(rows), connection.dialect
    first = rows[ids[0]]
    same = {name: value for name, value in first.items() if all(rows[each][name] == value for each in ids)}
    varying = tuple(name for name in first if name not in same)
    values = {
        "the_ids": id_list(ids, dialect.name),
        "the_owner": owner,
        "the_run": author.run_id,
        "the_time": author.at,
        **{f"new_{name}": value for name, value in same.items()},
    }
    if varying:
        columns = [table.c[name] for name in ("id", *varying)]
        listed = [(each, *(rows[each][name] for name in varying)) for each in ids]
        values |= given_values(columns, listed, dialect)
    shape = Shape(table, tuple(same), varying, moves(table, same), owner is not None)
    return row_update(shape, dialect.name).run(connection, values)


@lru_cache
def row_update(shape: Shape, dialect: str) -> Statements:
    """Build what `update_rows` runs, once for each shape: building it takes longer than running it."""
    table, same, varying, moved, owned = shape
    ids = bindparam("the_ids", type_=id_list_type(dialect))
    conditions = [among_named(table.c.id, ids, dialect), *allowed(table, moved)]
    if owned:
        # No `=`, which would have PostgreSQL look for these rows among all that the run has claimed.
        owner = bindparam("the_owner", type_=table.c.claimed_by.type)
        conditions.append(table.c.claimed_by.is_not_distinct_from(owner))
    chosen = select(table.c.id).where(*conditions).with_for_update()
    new = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in same}
    author = Author(
        bindparam("the_run", type_=audit_trail.c.run_id.type),
        bindparam("the_time", type_=audit_trail.c.at.type),
    )
    given = given_rows([table.c[name] for name in ("id", *varying)], dialect) if varying else None
    return statements_of(Batch(table, [new]), chosen, author, dialect, given)
