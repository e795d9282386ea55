"""Settling answers: what the job wants changed for a row, noted first, then written."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Table

from jobctl import changes
from jobctl.changes import Author
from jobctl.db import first_line, insert_once
from jobctl.history import RunRecord
from jobctl.job import At, Broken, EffectStep, ListStep

log = logging.getLogger(__name__)


class ChangedMeanwhileError(Exception):
    """A claimed row is no longer ours, or not in a state that its change may start from."""


@dataclass
class Noted:
    """The changes that `settle` wants for one row."""

    row: Any
    outcome: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    inserts: list[tuple[Table, Sequence[str], Mapping[str, Any]]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    last_resort: bool = False  # the row's failure, noted because another change could not be

    def update(self, **values: Any) -> None:
        self.values |= values

    def insert(self, table: Table, /, *, once: Sequence[str] = (), **values: Any) -> None:
        self.inserts.append((table, once, values))

    def error(self, reason: str) -> None:
        self.errors.append(reason)


def note(step: EffectStep[Any, Any, Any, Any], at: At, row: Any, answer: Any) -> Noted:
    """Let the job settle an answer; where that fails, let it settle the failure."""
    noted = Noted(row, last_resort=isinstance(answer, Broken))
    try:
        noted.outcome = step.settle(at, row, answer, noted)
    except Exception as error:  # isolation: one bad row never stops the others
        log.debug("settle.broken", exc_info=True)
        if noted.last_resort:
            return failed(row, error)
        return note(step, at, row, Broken(f"{type(error).__name__}: {first_line(error)}"))
    return noted


def note_listed(step: ListStep[Any, Any], at: At, item: Any) -> Noted:
    """Let the job settle one thing that was listed."""
    noted = Noted(item)
    try:
        noted.outcome = step.settle(at, item, noted)
    except Exception as error:  # isolation: one bad item never stops the others
        log.debug("settle.broken", exc_info=True)
        return failed(item, error)
    return noted


def failed(row: Any, error: Exception) -> Noted:
    reason = f"{type(error).__name__}: {first_line(error)}"
    return Noted(row, outcome="failed", errors=[reason], last_resort=True)


def write(
    connection: Connection, table: Table, items: Sequence[Noted], record: RunRecord, at: datetime
) -> None:
    """Write the changes of rows that are ours, with their audit rows.

    Raises ChangedMeanwhileError where a row is not ours any more, or its status forbids the change.
    """
    assert record.id is not None
    author = Author(record.id, at)
    for group in alike(table, items):
        rows = {item.row.id: {**item.values, "claimed_by": None} for item in group}
        owner = group[0].row.claimed_by or record.id
        if changes.update_rows(connection, table, rows, owner, author) != len(rows):
            raise ChangedMeanwhileError
    for item in items:
        write_inserts(connection, item)
        for reason in item.errors:
            record.error(connection, at, table.name, item.row.id, reason)


def write_inserts(connection: Connection, item: Noted) -> None:
    for table, once, values in item.inserts:
        connection.execute(insert_once(table, once, values, connection.dialect.name))


def alike(table: Table, items: Sequence[Noted]) -> list[list[Noted]]:
    """Group items whose changes fit one statement: the same columns, statuses and owner."""

    def shape(item: Noted) -> tuple[str, ...]:
        moved = changes.moves(table, item.values)
        return (*sorted(item.values), str(moved), str(item.row.claimed_by))

    return [list(group) for _, group in groupby(sorted(items, key=shape), key=shape)]
