"""The one SELECT behind a step: what help names, `why` explains, a dry run shows and a run handles."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, select, tuple_

from jobctl.job import Due
from jobctl.tables.types import Key

After = tuple[datetime | None, Key]
BLOCK = 4096  # numbers whose bits are kept together


class Seen:
    """Keys of rows that a run has had in hand: a bit for a number, so that a million need little room."""

    def __init__(self) -> None:
        self.bits: dict[int, int] = {}  # of so many numbers each
        self.texts: set[str] = set()

    def add(self, key: Key) -> None:
        if isinstance(key, str):
            self.texts.add(key)
            return
        block, place = divmod(key, BLOCK)
        self.bits[block] = self.bits.get(block, 0) | 1 << place

    def __contains__(self, key: Key) -> bool:
        if isinstance(key, str):
            return key in self.texts
        block, place = divmod(key, BLOCK)
        return bool(self.bits.get(block, 0) >> place & 1)


class Selection:
    """The due rows of a step, in pages by (`order`, key), so that a run meets a row once."""

    def __init__(self, due: Due, since: datetime | None, only: Key | None, also: Sequence[Key] = ()) -> None:
        """Take `also` the rows of these numbers, though a run that died has them claimed."""
        self.due, self.key = due, due.key
        self.order: ColumnElement[Any] = self.key if due.order is None else due.order
        self.conditions = due.conditions(since)
        if only is not None:
            self.conditions.append(self.key == only)
        if "claimed_by" in due.table.c:
            nobodys = due.table.c.claimed_by.is_(None)
            self.conditions.append(nobodys | self.key.in_(also) if also else nobodys)

    def keys(self) -> Select[Any]:
        return select(self.key).select_from(self.due.rows).where(*self.conditions)

    def one(self) -> Select[Any]:
        return self.keys().order_by(self.order).limit(1)

    def count(self, cap: int) -> Select[Any]:
        """Count the due rows, no further than `cap`: a backlog of millions is a backlog."""
        return select(func.count()).select_from(self.keys().limit(cap).subquery())

    def rows(self) -> Select[Any]:
        """Select rows as the job reads them, their place in the order last."""
        columns = [each.label(name) for name, each in self.due.read.items()]
        place = self.order.label("place_in_order")
        return select(*columns, place).select_from(self.due.rows).where(*self.conditions)

    def page(self, *, first: bool) -> Select[Any]:
        """Select a page of rows; `place` has its parameters."""
        rows = self.rows()
        if not first:
            # Typed as the columns are: on SQLite an instant compares only in its stored form.
            after = (
                bindparam("after_place", type_=self.order.type),
                bindparam("after_key", type_=self.key.type),
            )
            rows = rows.where(tuple_(self.order, self.key) > tuple_(*after))
        return rows.order_by(self.order, self.key).limit(bindparam("page_size", type_=Integer()))

    @staticmethod
    def place(after: After | None, size: int) -> dict[str, Any]:
        if after is None:
            return {"page_size": size}
        return {"page_size": size, "after_place": after[0], "after_key": after[1]}
