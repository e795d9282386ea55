"""What becomes of a batch of rows: their own changes, those of rows beside them, notifications, requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.sql import visitors

from jobctl import outbox
from jobctl.changes import (
    PARAMETERS,
    Author,
    Part,
    Plan,
    adding_from,
    at_once,
    audit,
    audited_of,
    in_turn,
    into_the_trail,
    permitted,
    summed,
    trail_of,
    value_of,
)
from jobctl.db import KeptAsItWasError, among, among_named, id_list, id_list_type
from jobctl.job import Ask, At, Beside, Due
from jobctl.outbox import Notice
from jobctl.tables.frame import named_in
from jobctl.tables.types import Key, Plus, inline


@dataclass(frozen=True)
class Neighbours:
    """A change of rows of another table that belong to those of the batch; its values are constants."""

    table: Table
    where: ColumnElement[bool]
    values: Mapping[str, Any]

    def before(self) -> Select[Any]:
        """Select them by their id, with what is about to change; the table goes by another name here."""
        theirs = self.table.alias("beside")
        columns = [theirs.c.id, *(theirs.c[name].label(f"before_{name}") for name in self.values)]
        return self.only_those(select(*columns), theirs)

    def only_those(self, rows: Select[Any], theirs: FromClause) -> Select[Any]:
        changeable = permitted(theirs, self.table, self.values)
        return rows.where(renamed(self.where, self.table, theirs), *changeable)

    def part(self, author: Author, dialect: str) -> Part:
        theirs = self.table.alias("beside")
        shown = audited_of(self.table, self.values)
        rows = self.only_those(audit(theirs, self.table.name, shown, author, dialect), theirs)

        def effects(found: Select[Any]) -> Sequence[Any]:
            locked = found.cte(f"{self.table.name}_beside")
            changed = update(self.table).values(dict(self.values))
            ids = select(locked.c[named_in(self.table.c.id)])
            trail = into_the_trail(select(*locked.c)) if shown else ()
            return [*trail, changed.where(self.table.c.id.in_(ids))]

        # What the trail is to tell must stay as it is until it is changed.
        return Part(rows.with_for_update(of=theirs) if shown else rows, effects)


def renamed(condition: ColumnElement[bool], table: Table, name: FromClause) -> ColumnElement[bool]:
    """Say a condition on a table of its alias."""

    def other(element: Any, **_: object) -> Any:
        return name.c[element.name] if getattr(element, "table", None) is table else None

    said: ColumnElement[bool] = visitors.replacement_traverse(condition, {}, other)
    return said


@dataclass(frozen=True)
class Inserted:
    """Rows of another table that are added, one for each of the batch."""

    table: Table
    once: bool
    values: Mapping[str, Any]
    of: Beside | None

    def rows(self) -> Select[Any]:
        values = (value_of(self.table, name, each).label(name) for name, each in self.values.items())
        rows = select(*values)
        return rows if self.of is None else rows.where(self.of.where).order_by(*self.of.order)

    def part(self, dialect: str) -> Part:
        def effects(found: Select[Any]) -> Sequence[Any]:
            return adding_from(self.table, found, tuple(self.values), once=self.once, dialect=dialect)

        return Part(self.rows(), effects)


@dataclass(frozen=True)
class Added:
    """Amounts that are added to columns of another table's rows, of which many may have the same.

    They leave no audit rows: what is added is a history itself. The step's Due locks the rows (`locks_then`).
    """

    table: Table
    row_id: ColumnElement[Any]
    amounts: Mapping[str, ColumnElement[Any]]

    def lines(self) -> Select[Any]:
        return select(self.row_id.label("row_id"), *(each.label(name) for name, each in self.amounts.items()))

    def sums(self, lines: FromClause) -> Select[Any]:
        """Sum lines up, of which each is a row that is added to, and how much."""
        sums = (func.sum(lines.c[name]).label(name) for name in self.amounts)
        return select(lines.c.row_id, *sums).group_by(lines.c.row_id)

    def part(self) -> Part:
        def effects(found: Select[Any]) -> Sequence[Any]:
            sums = self.sums(found.cte()).cte()
            total = {name: Plus(self.table.c[name], sums.c[name]) for name in self.amounts}
            return [update(self.table).values(total).where(self.table.c.id == sums.c.row_id)]

        return Part(self.lines(), effects)


class Asked(NamedTuple):
    """Operations that follow from the batch: one for each subject that `rows` finds beside it."""

    subject: str
    rows: Select[Any]
    make: Callable[[Any], Ask]


@dataclass
class Batch:
    """Changes to rows of one step, noted until `apply`."""

    at: At
    due: Due
    updates: list[Mapping[str, Any]] = field(default_factory=list)
    besides: list[Neighbours] = field(default_factory=list)
    inserted: list[Inserted] = field(default_factory=list)
    added: list[Added] = field(default_factory=list)
    sums: dict[str, ColumnElement[Any]] = field(default_factory=dict)
    finds: bool = False
    notices: list[Notice] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    deleted: bool = False

    def update(self, **values: Any) -> None:
        self.updates.append(values)

    def update_beside(self, table: Table, where: ColumnElement[bool], /, **values: Any) -> None:
        self.besides.append(Neighbours(table, where, values))

    def insert(self, table: Table, /, *, once: bool = False, of: Beside | None = None, **values: Any) -> None:
        self.inserted.append(Inserted(table, once, values, of))

    def add(self, table: Table, row_id: ColumnElement[Any], /, **amounts: ColumnElement[Any]) -> None:
        self.added.append(Added(table, row_id, amounts))

    def notify(self, template: str, /, *, to: Any, once: Sequence[Any], **more: Any) -> None:
        self.notices.append(Notice(template, to, once, **more))

    def ask(self, subject: str, rows: Select[Any], make: Callable[[Any], Ask]) -> None:
        self.asked.append(Asked(subject, rows, make))

    def count(self, **sums: ColumnElement[Any]) -> None:
        self.sums |= sums

    def finding(self, kind: str, /, *, once: Sequence[Any], reason: Any, **more: Any) -> None:
        from jobctl.tables.findings import findings  # noqa: PLC0415 (most jobs find nothing)

        self.finds = True
        made = {"kind": kind, "once_key": once_key(kind, once), "reason": reason, "facts": {}, **more}
        self.insert(findings, once=True, **made, run_id=PARAMETERS[0], found_at=self.at.now)

    def error(self, reason: str) -> None:
        self.errors.append(reason)

    def delete(self) -> None:
        self.deleted = True

    def values(self) -> dict[str, Any]:
        return {name: value for each in self.updates for name, value in each.items()}

    def plan(self, author: Author, dialect: str) -> Plan:
        table, values = self.due.table, self.values()
        computed = tuple(self.due.read.values())
        if self.deleted:
            return Plan(table, self.due.rows, [], delete(table))
        parts = [
            *trail_of(table, values, author, dialect),
            *(self.queue(each, dialect) for each in self.notices),
            # New rows may tell what a sum was before it is added to.
            *(each.part(dialect) for each in self.inserted),
            *(each.part() for each in self.added),
        ]
        change = update(table) if values else None
        after = [each.part(author, dialect) for each in self.besides]
        return Plan(table, self.due.rows, parts, change, values, computed, self.sums, after)

    def queue(self, notice: Notice, dialect: str) -> Part:
        rows = outbox.queued(notice, self.at, dialect)
        return Part(rows, lambda found: [outbox.insertion(found, dialect)])


class Applied(NamedTuple):
    """The keys of the rows that were changed, and what was to be counted of them."""

    ids: list[Key]
    sums: Mapping[str, int] = {}


class Application:
    """A batch as statements, which are built once: that takes longer than they take for few rows.

    chosen: selects rows by their key, and locks them by itself (`with_for_update`), waiting for others' or
    passing over them. Rows whose status may not change so are left out.
    """

    def __init__(self, batch: Batch, chosen: Select[Any], dialect: str) -> None:
        due, self.dialect = batch.due, dialect
        theirs = among_named(due.key, bindparam("the_ids", type_=id_list_type(due.key, dialect)), dialect)
        self.chosen = chosen.where(theirs, *permitted(due.table, due.table, batch.values()))
        self.now = batch.at.now
        plan = batch.plan(Author(*PARAMETERS), dialect)
        if dialect == "postgresql":
            locked, result, changed = at_once(plan, self.chosen)
            ids = func.array_agg(locked.c.id).label("ids")
            self.statements = [result.add_columns(ids, changed.label("changed"))]
        else:
            self.statements, self.change = in_turn(plan, theirs)
            self.sums = summed(plan.sums).select_from(due.rows).where(theirs) if plan.sums else None

    def apply(self, connection: Connection, run_id: int, ids: Sequence[Key]) -> Applied:
        """Change those that are still due; raises KeptAsItWasError where some stay as they are."""
        values = {"the_run": run_id, "the_time": self.now, "the_ids": id_list(ids, self.dialect)}
        if self.dialect == "postgresql":
            done = dict(connection.execute(self.statements[0], values).mappings().one())
            found = list(done.pop("ids") or [])
            self.see(done.pop("changed"), found)
            return Applied(found, {name: int(each or 0) for name, each in done.items()})
        still = list(connection.scalars(self.chosen, values))
        if not still:
            return Applied([])
        values["the_ids"] = id_list(still, self.dialect)
        sums = dict(connection.execute(self.sums, values).mappings().one()) if self.sums is not None else {}
        for each in self.statements:
            result = connection.execute(each, values)
            if each is self.change:
                self.see(result.rowcount, still)
            if result.returns_rows:  # the numbers of new rows, for the trail
                values["the_added"] = id_list(result.scalars().all(), self.dialect)
        return Applied(still, {name: int(each or 0) for name, each in sums.items()})

    def see(self, changed: int, ids: Sequence[Key]) -> None:
        if changed != len(ids):
            raise KeptAsItWasError


def once_key(kind: str, once: Sequence[Any]) -> ColumnElement[str]:
    """Derive what tells a finding from others of its kind, of a row."""
    whole: ColumnElement[str] = inline(kind)
    for each in once:
        whole = whole + inline(".") + cast(each, Text)
    return whole


def rows_beside(batch: Batch, source: Select[Any], ids: Sequence[Key], dialect: str) -> Select[Any]:
    """Say of given rows what a plan's parts say of the batch, for a dry run."""
    return source.select_from(batch.due.rows).where(among(batch.due.key, ids, dialect))
