"""The only way to change anything: rows chosen, audited and updated by the same statement.

On PostgreSQL a batch is one statement (data-modifying CTEs), which no rival can get between; on SQLite
it is a few in a transaction that excludes every other writer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    bindparam,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.sql import visitors

from jobctl.db import (
    among_named,
    given_rows,
    given_values,
    id_list,
    id_list_type,
    insert_from,
    insert_once,
    json_object,
)
from jobctl.tables.frame import audit_trail, named_in
from jobctl.tables.types import Key, inline

# What says who works on a row and when it was looked at, and changes nothing for anybody outside; and what
# the ledger has each movement of.
UNAUDITED = {
    "claimed_by",
    "attempts",
    "looks",
    "next_look_at",
    "seen_pending_at",
    "confirmed_at",
    "balance_minor",
}


@dataclass(frozen=True)
class Author:
    """Who changes, and when: the run's number and the moment, or the parameters that stand for them."""

    run_id: int | BindParameter[Any]
    at: datetime | BindParameter[Any]


PARAMETERS = (
    bindparam("the_run", type_=audit_trail.c.run_id.type),
    bindparam("the_time", type_=audit_trail.c.at.type),
)
Moves = tuple[tuple[str, str], ...]  # status columns, and what they become


def moves(table: Table, values: Mapping[str, Any]) -> Moves:
    """Return the changes of status among the values, which the table's transitions have a say in."""
    return tuple((name, values[name]) for name in table.info.get("transitions", ()) if name in values)


def allowed(table: FromClause, transitions: Mapping[str, Any], moved: Moves) -> list[ColumnElement[bool]]:
    """Refuse, as conditions on the row, a change of status that its table of transitions doesn't have."""
    found: list[ColumnElement[bool]] = []
    for name, status in moved:
        origins = [old for old, new in transitions[name].items() if status in new]
        found.append(table.c[name].in_([inline(each) for each in origins]))
    return found


def permitted(rows: FromClause, table: Table, values: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    return allowed(rows, table.info.get("transitions", {}), moves(table, values))


class Part(NamedTuple):
    """What follows from a batch of rows: what is read of them, and the statements made of that."""

    source: Select[Any]
    effects: Callable[[Select[Any]], Sequence[Any]]


def trail_of(table: Table, values: Mapping[str, Any], author: Author, dialect: str) -> list[Part]:
    """Return the audit rows of a change: from what to what."""
    shown = audited_of(table, values)
    if not shown:
        return []
    return [Part(audit(table, table.name, shown, author, dialect), into_the_trail)]


def into_the_trail(rows: Select[Any]) -> Sequence[Any]:
    return [insert(audit_trail).from_select(rows.selected_columns.keys(), rows)]


def audited_of(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a change the trail keeps: nothing that is personal."""
    if table.info.get("history"):  # its rows are a history themselves
        return {}
    return {
        name: value
        for name, value in values.items()
        if name not in UNAUDITED and not table.c[name].info.get("personal")
    }


def audit(
    table: FromClause, name: str, shown: Mapping[str, Any], author: Author, dialect: str
) -> Select[Any]:
    after = {each: value_of(table, each, value) for each, value in shown.items()}
    return trail_rows(
        table.c.id,
        value_of(audit_trail, "run_id", author.run_id),
        value_of(audit_trail, "at", author.at),
        inline(name),
        json_object({each: table.c[each] for each in shown}, dialect),
        json_object(after, dialect),
    )


def trail_rows(key: ColumnElement[Any], *values: ColumnElement[Any]) -> Select[Any]:
    """Select rows as the audit trail has them: which one, by which run and when, of what table, what."""
    named = zip(("run_id", "at", "table_name", "before", "after"), values, strict=True)
    return select(key.label(named_in(key)), *(each.label(name) for name, each in named))


def value_of(table: FromClause, name: str, value: Any) -> ColumnElement[Any]:
    return value if isinstance(value, ColumnElement) else literal(value, table.c[name].type)


@dataclass(frozen=True)
class Plan:
    """A change of a batch: its parts, and the statement that changes the rows themselves, the last of all.

    change: None where they stay as they are.

    rows: what the parts may read: the table, or the joins that begin with it. computed: expressions that
    are worked out once for each row.
    """

    table: Table
    rows: FromClause
    parts: Sequence[Part]
    change: Any
    values: Mapping[str, Any] = field(default_factory=dict)
    computed: Sequence[ColumnElement[Any]] = ()
    sums: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)  # what to sum up over the rows
    after: Sequence[Part] = ()  # of rows beside it, which are read until then as they were


def summed(sums: Mapping[str, ColumnElement[Any]]) -> Select[Any]:
    return select(*(func.sum(each).label(name) for name, each in sums.items()))


def at_once(plan: Plan, chosen: Select[Any]) -> tuple[CTE, Select[Any], ColumnElement[int]]:
    """Make all of it one PostgreSQL statement.

    Returns the batch, a select to choose results by, and how many rows were changed: fewer where a trigger of
    the database keeps some as they are.

    Whatever is read of the rows is read as they were locked; elsewhere in this statement older ones show.
    """
    names = names_of(plan)
    batch = chosen.add_columns(*[each.label(name) for each, name in names.items()]).cte("batch")
    known: dict[Any, Any] = {each: batch.c[name] for each, name in names.items()}
    known[plan.table.c.id] = batch.c.id

    def replaced(element: Any, **_: Any) -> Any:
        return known.get(element)

    def within(element: Any) -> Any:
        found: Any = visitors.replacement_traverse(element, {}, replaced)
        return found

    change = plan.change
    result = within(summed(plan.sums)).select_from(batch)
    if plan.values:
        new = {
            name: within(value) if isinstance(value, ColumnElement) else value
            for name, value in plan.values.items()
        }
        change = change.values(new)
    rows: CTE = batch
    if change is not None:
        rows = change.where(plan.table.c.id == batch.c.id).returning(plan.table.c.id).cte("changed")
    effects = (each for part in (*plan.parts, *plan.after) for each in part.effects(within(part.source)))
    for n, effect in enumerate(effects):
        result = result.add_cte(effect.cte(f"effect_{n}"))
    return batch, result, select(func.count()).select_from(rows).scalar_subquery()


def names_of(plan: Plan) -> dict[ColumnElement[Any], str]:
    """Name what the plan reads of its rows, computed expressions and columns."""
    values = [each for each in plan.values.values() if isinstance(each, ColumnElement)]
    sources = [part.source for part in (*plan.parts, *plan.after)]
    expressions: list[Any] = [*sources, *values, *plan.sums.values()]
    read = [each for expression in expressions for each in visitors.iterate(expression)]
    met = {id(each) for each in read}
    computed = {each: f"computed_{n}" for n, each in enumerate(plan.computed) if id(each) in met}
    tables = set(visitors.iterate(plan.rows))
    columns = {
        each: f"{each.table.name}_{each.name}"
        for each in read
        if isinstance(each, Column) and each.table in tables and each is not plan.table.c.id
    }
    return computed | columns


def in_turn(plan: Plan, theirs: ColumnElement[bool]) -> tuple[list[Any], Any]:
    """Order it for SQLite: what follows from the rows while they are as they were, then their change.

    Returns that change again, as the second.
    """

    def effects(parts: Sequence[Part]) -> list[Any]:
        rows = [part.effects(part.source.select_from(plan.rows).where(theirs)) for part in parts]
        return [each for effects in rows for each in effects]

    change = plan.change.values(plan.values) if plan.values else plan.change
    changes = [] if change is None else [change.where(theirs)]
    return [*effects(plan.parts), *changes, *effects(plan.after)], changes[0] if changes else None


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
    rows: Mapping[Key, Mapping[str, Any]],
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
    *before, last = row_update(shape, dialect.name)
    for each in before:
        connection.execute(each, values)
    if dialect.name == "postgresql":
        return int(connection.scalar(last, values) or 0)
    return connection.execute(last, values).rowcount


class ChangedMeanwhileError(Exception):
    """A row is no longer ours, or not in a state that its change may start from."""


def update_each(
    connection: Connection,
    table: Table,
    rows: Mapping[Any, Mapping[str, Any]],
    owner: int | None,
    author: Author,
) -> None:
    """Do `update_rows` on rows of any columns; raises ChangedMeanwhileError unless all are changed."""
    alike: dict[Any, dict[Key, Mapping[str, Any]]] = {}
    for each, values in rows.items():
        if values:
            alike.setdefault((tuple(sorted(values)), moves(table, values)), {})[each] = values
    for group in alike.values():
        if update_rows(connection, table, group, owner, author) != len(group):
            raise ChangedMeanwhileError


def add_row(
    connection: Connection, table: Table, values: Mapping[str, Any], once: Sequence[str], author: Author
) -> int | None:
    """Insert a row; return its number, or None where it is there already by its unique columns `once`."""
    first, *trail = adding(table, tuple(values), tuple(once), connection.dialect.name)
    given = {f"new_{name}": value for name, value in values.items()}
    the_run = {"the_run": author.run_id, "the_time": author.at}
    number: int | None = connection.scalar(first, {**given, **the_run})
    for each in trail if number is not None else ():
        connection.execute(each, {**the_run, "the_row": number})
    return number


@lru_cache
def adding(table: Table, names: tuple[str, ...], once: tuple[str, ...], dialect: str) -> Sequence[Any]:
    """Build what `add_row` runs, once for each shape; PostgreSQL does it in one statement."""
    values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    shown = audited_of(table, values)
    fresh = insert_once(table, once, values, dialect)
    if not shown:
        return [fresh.returning(table.c.id)]
    if dialect == "postgresql":
        made = fresh.returning(table.c.id, *(table.c[name] for name in shown)).cte("made")
        trail = addition(made, table.name, shown, dialect)
        (into,) = into_the_trail(trail)
        return [into.returning(audit_trail.c[named_in(table.c.id)])]
    trail = addition(table, table.name, shown, dialect).where(table.c.id == bindparam("the_row"))
    return [fresh.returning(table.c.id), *into_the_trail(trail)]


def adding_from(
    table: Table, rows: Select[Any], names: Sequence[str], *, once: bool, dialect: str
) -> Sequence[Any]:
    """Build what adds the rows that a SELECT finds, and the trail, to which `the_added` names them."""
    fresh = insert_from(table, names, rows, (), dialect) if once else insert(table).from_select(names, rows)
    shown = audited_of(table, dict.fromkeys(names))
    if not shown:
        return [fresh]
    if dialect == "postgresql":
        made = fresh.returning(table.c.id, *(table.c[name] for name in shown)).cte()
        return into_the_trail(addition(made, table.name, shown, dialect))
    theirs = among_named(table.c.id, bindparam("the_added", type_=id_list_type(table.c.id, dialect)), dialect)
    return [
        fresh.returning(table.c.id),
        *into_the_trail(addition(table, table.name, shown, dialect).where(theirs)),
    ]


def addition(rows: FromClause, name: str, shown: Iterable[str], dialect: str) -> Select[Any]:
    """Return the audit rows of rows that were added: from nothing."""
    before, after = json_object({}, dialect), json_object({each: rows.c[each] for each in shown}, dialect)
    return trail_rows(rows.c.id, *PARAMETERS, inline(name), before, after)


@lru_cache
def row_update(shape: Shape, dialect: str) -> Sequence[Any]:
    """Build what `update_rows` runs, once for each shape: building it takes longer than running it."""
    table, moved, owned = shape.table, shape.moved, shape.owned
    ids = bindparam("the_ids", type_=id_list_type(table.c.id, dialect))
    conditions = [
        among_named(table.c.id, ids, dialect),
        *allowed(table, table.info.get("transitions", {}), moved),
    ]
    if owned:
        # No `=`, which would have PostgreSQL look for these rows among all that the run has claimed.
        owner = bindparam("the_owner", type_=table.c.claimed_by.type)
        conditions.append(table.c.claimed_by.is_not_distinct_from(owner))
    plan = row_plan(shape, dialect)
    chosen = select(table.c.id).where(*conditions).with_for_update()
    if dialect != "postgresql":
        return in_turn(plan, table.c.id.in_(chosen))[0]
    _, result, changed = at_once(plan, chosen)
    return [result.add_columns(changed)]


def row_plan(shape: Shape, dialect: str) -> Plan:
    table, same, varying, _, _ = shape
    author = Author(*PARAMETERS)
    new: dict[str, Any] = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in same}
    if not varying:
        return Plan(table, table, trail_of(table, new, author, dialect), update(table), new)
    given = given_rows([table.c[name] for name in ("id", *varying)], dialect)
    matched = given.c.id == table.c.id
    new |= {name: given.c[name] for name in varying}
    # What is personal mostly is what varies; the trail then needs nothing of the given table.
    needs = set(varying) & set(audited_of(table, new))
    trail = [
        Part(each.source.where(matched), each.effects) if needs else each
        for each in trail_of(table, new, author, dialect)
    ]
    return Plan(table, table, trail, update(table).where(matched), new)
