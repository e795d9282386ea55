"""The claims of an effect step: rows of our own taken up, given back, and what others keep us from taking."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Table, Update, bindparam, select, update

from jobctl.db import among, among_named, id_list, id_list_type, passing_over
from jobctl.job import EffectStep
from jobctl.steps.running import Running
from jobctl.steps.selection import After, Seen, Selection
from jobctl.tables.types import Key

AnyEffect = EffectStep[Any, Any, Any, Any]
PAGE = 1000  # rows that are looked through at once for those that others have


class Claims:
    """The rows that one run of a step takes up, in their order."""

    def __init__(self, step: AnyEffect, running: Running, closed: set[str]) -> None:
        """Leave out the lanes that are `closed`, however many will be."""
        self.running, self.closed, self.lane = running, closed, step.lane
        self.marks = running.options.share or not step.polls  # whether claims are written down
        self.due = step.due(running.at)
        self.table = self.due.table
        self.selection = self.selecting(self.due.read)
        self.after: After | None = None
        self.had = Seen()  # in hand, by this run: some of them may be due still
        self.within: Sequence[Key] | None = None  # where no other rows are to be taken
        self.built: dict[tuple[Any, ...], Select[Any]] = {}  # once for each shape

    def selecting(self, read: Any) -> Selection:
        options = self.running.options
        return Selection(replace(self.due, read=read), options.since, options.only)

    @property
    def passes_over(self) -> bool:
        """Tell whether rows that others have locked are passed over; SQLite locks no rows."""
        return self.marks and not self.running.database.embedded

    # ── taking ───────────────────────────────────────────────────────────────────────────────

    def take(self, connection: Connection, room: int, ids: Sequence[Key] | None = None) -> Sequence[Any]:
        """Claim the next rows, of `ids` alone where they are given; return them as the job reads them."""
        if room <= 0:
            return []
        within = self.within if ids is None else ids
        dialect = connection.dialect.name
        values = {**self.selection.place(self.after, room), "the_owner": self.running.run_id}
        values |= {} if within is None else {"the_ids": id_list(within, dialect)}
        found = connection.execute(self.taking(dialect, some=within is not None), values).all()
        if found and self.marks and not self.passes_over:
            ids = id_list([row.id for row in found], dialect)
            connection.execute(marking(self.table, dialect), {**values, "the_ids": ids})
        return found

    def taking(self, dialect: str, *, some: bool) -> Select[Any]:
        """Return the SELECT that finds rows; on PostgreSQL it claims them as well."""
        shape = ("take", self.after is None, len(self.closed), some)
        if shape not in self.built:
            page = self.page(self.selection, dialect, some=some)
            self.built[shape] = marked_at_once(page, self.table) if self.passes_over else page
        return self.built[shape]

    def page(self, selection: Selection, dialect: str, *, some: bool) -> Select[Any]:
        page = selection.page(first=self.after is None)
        if self.closed and self.lane is not None:
            page = page.where(self.lane.not_in(list(self.closed)))
        return page.where(among_parameter(self.due.key, dialect)) if some else page

    def next(self, connection: Connection, room: int, *, ours: bool = True) -> Sequence[Any]:
        """Return the places of the next rows that `take` would claim; `ours` locks those that nobody has."""
        dialect, some = connection.dialect.name, self.within is not None
        page = self.page(self.selecting({"id": self.due.key}), dialect, some=some)
        if ours and self.passes_over:
            page = page.with_for_update(**passing_over(self.table))
        values = self.selection.place(self.after, room)
        values |= {"the_ids": id_list(self.within, dialect)} if self.within is not None else {}
        return connection.execute(page, values).all()

    def go_on_after(self, row: Any) -> None:
        self.after = (row.place_in_order, row.id)

    def count_in(self, rows: Sequence[Any]) -> None:
        """Remember that these were in hand, and go on behind them."""
        for row in rows:
            self.had.add(row.id)
        if rows:
            self.go_on_after(rows[-1])

    def begin_again(self, ids: Sequence[Key] | None) -> None:
        """Take these rows from now on, and no others; None: whatever is due."""
        self.after, self.within = None, ids

    # ── what others have ─────────────────────────────────────────────────────────────────────

    def passed_over(self, connection: Connection) -> list[Key]:
        """Return rows, in order, that are due and were not in hand: others had them then; a page at most."""
        self.after = None
        found: list[Key] = []
        while len(found) < PAGE and (rows := self.next(connection, PAGE, ours=False)):
            found += [row.id for row in rows if row.id not in self.had]
            self.go_on_after(rows[-1])
        return found[:PAGE]

    def others(self, connection: Connection, ids: Sequence[Key]) -> list[Key]:
        """Return which of these rows, a page at most, are due and locked by somebody else.

        What another run is about to claim is among them; once it is claimed it is not due to us any more.
        """
        self.begin_again(ids)
        free = {row.id for row in self.next(connection, PAGE)}
        return [row.id for row in self.next(connection, PAGE, ours=False) if row.id not in free]

    # ── giving back ──────────────────────────────────────────────────────────────────────────

    def give_back(self, connection: Connection, ids: Sequence[Key]) -> None:
        """Return rows whose call never began, with their attempt."""
        if not ids or not self.marks:
            return
        values: dict[str, Any] = {"claimed_by": None}
        if "attempts" in self.table.c:
            values["attempts"] = self.table.c.attempts - 1
        self.change(connection, ids, self.running.run_id, values)

    def free(self, connection: Connection, ids: Sequence[Key], owner: int) -> None:
        """Give up the claims on rows, where `owner` still has them."""
        self.change(connection, ids, owner, {"claimed_by": None})

    def change(self, connection: Connection, ids: Sequence[Key], owner: int, values: dict[str, Any]) -> None:
        theirs = among(self.due.key, ids, connection.dialect.name)
        connection.execute(update(self.table).where(theirs, self.table.c.claimed_by == owner).values(values))

    def left(self, connection: Connection, under_way: Sequence[Key]) -> Sequence[Key]:
        """Return the rows that this run has claimed still, but for those under way."""
        ours = self.table.c.claimed_by == self.running.run_id
        kept = among(self.due.key, under_way, connection.dialect.name)
        return connection.scalars(select(self.due.key).where(ours, ~kept)).all()


def claim_values(table: Table) -> dict[str, Any]:
    owner = {"claimed_by": bindparam("the_owner", type_=table.c.claimed_by.type)}
    return {**owner, "attempts": table.c.attempts + 1} if "attempts" in table.c else owner


def among_parameter(key: Any, dialect: str) -> Any:
    return among_named(key, bindparam("the_ids", type_=id_list_type(key, dialect)), dialect)


@cache
def marking(table: Table, dialect: str) -> Update:
    return update(table).where(among_parameter(table.c.id, dialect)).values(claim_values(table))


def marked_at_once(page: Select[Any], table: Table) -> Select[Any]:
    """Claim the rows of a page in the statement that finds them: one way to the server and back."""
    found = page.with_for_update(**passing_over(table)).cte("found")
    taken = update(table).where(table.c.id == found.c.id).values(claim_values(table)).cte("taken")
    return select(found).add_cte(taken).order_by(found.c.place_in_order, found.c.id)
