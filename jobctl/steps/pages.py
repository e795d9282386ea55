"""The statements of a set step, by which it locks rows and changes them, and how long it waits for others."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, FromClause, Row, Table, select
from sqlalchemy.exc import DBAPIError

from jobctl import db
from jobctl.batches import Application, Batch
from jobctl.db import among, bound_waiting, gave_up_waiting, passing_over
from jobctl.steps.running import Running
from jobctl.steps.selection import After, Selection
from jobctl.tables.types import Key

GLANCE = timedelta(milliseconds=20)  # to wait for others' locks once that was in vain
PAGE = 2000  # rows; at this size no lock is held for long, and the transaction's cost is spread well


@dataclass
class Place:
    """How far a step has come: the last row that it met, and how many it takes at once."""

    after: After | None = None
    size: int = PAGE


@dataclass
class Patience:
    """How long a step waits for others' locks in all; several rows may need the same one."""

    left: timedelta = field(default_factory=lambda: db.PATIENCE)

    @property
    def spent(self) -> bool:
        return self.left <= GLANCE

    @contextmanager
    def waiting(self, connection: Connection) -> Iterator[None]:
        """Let statements wait for no longer than is left, which a wait in vain then takes from."""
        began = time.monotonic()
        bound_waiting(connection, max(self.left, GLANCE))
        try:
            yield
        except DBAPIError as error:
            if gave_up_waiting(error):
                self.left -= timedelta(seconds=time.monotonic() - began)
            raise


class Pages:
    """The statements of a step, which are the same for each of its pages."""

    def __init__(self, batch: Batch, running: Running) -> None:
        self.batch, self.dialect = batch, running.database.engine.dialect.name
        keys = replace(batch.due, read={"id": batch.due.key})
        self.selection = Selection(keys, running.options.since, running.options.only)
        self.first, self.further = (self.selection.page(first=each) for each in (True, False))

    @cached_property
    def application(self) -> Application:
        """Return the change of those rows that nobody else has."""
        chosen = self.selection.keys().with_for_update(**passing_over(*self.locked))
        return Application(self.batch, chosen, self.dialect)

    @property
    def locks_before(self) -> bool:
        """Tell whether rows are locked by a statement before the one that changes them; SQLite locks all."""
        due = self.batch.due
        return self.dialect == "postgresql" and (due.locks_first or bool(due.locks_then))

    @property
    def locked(self) -> Sequence[Table]:
        # What rows belong to before the rows, as whoever else writes both.
        return (*self.batch.due.locks, self.batch.due.table)

    def lock(
        self, connection: Connection, ids: Sequence[Key], *, wait: bool, then: bool = True
    ) -> Sequence[Key]:
        """Lock rows, and then what lies beside them; return those of which all could be locked.

        What is read from then on is as whoever else had them has left it. wait: for rows that others have;
        then: for what lies beside them.
        """
        due = self.batch.due
        how = {"of": self.locked} if wait else passing_over(*self.locked)
        rows = select(due.key, *(each.c.id for each in due.locks_then)).select_from(due.rows)
        found = connection.execute(rows.where(among(due.key, ids, self.dialect)).with_for_update(**how)).all()
        beside = [
            self.lock_beside(connection, each, {row[n] for row in found} - {None}, wait=then)
            for n, each in enumerate(due.locks_then, 1)
        ]
        return [row[0] for row in found if is_held(row, beside)]

    def lock_beside(self, connection: Connection, rows: FromClause, ids: set[Key], *, wait: bool) -> set[Key]:
        """Lock rows of a joined table, in the order of their ids lest two runs wait for each other."""
        theirs = select(rows.c.id).where(among(rows.c.id, list(ids), self.dialect)).order_by(rows.c.id)
        return set(connection.scalars(theirs.with_for_update(skip_locked=not wait)))

    def still_of(self, ids: Sequence[Key], running: Running) -> Sequence[Key]:
        """Return those that are still due: of runs that share the work, another one had the others."""
        theirs = self.selection.keys().where(among(self.batch.due.key, ids, self.dialect))
        with running.transaction() as connection:
            return connection.scalars(theirs).all() if ids else ()

    def next(self, connection: Connection, after: After | None, size: int) -> Sequence[Any]:
        page = self.first if after is None else self.further
        return connection.execute(page, self.selection.place(after, size)).all()


def is_held(row: Row[Any], beside: Sequence[set[Key]]) -> bool:
    ids: Sequence[Key | None] = row[1:]
    return all(each is None or each in held for each, held in zip(ids, beside, strict=True))
