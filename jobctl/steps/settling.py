"""Settling answers: what the job wants changed for a row, noted first, then written."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, Table

from jobctl import changes
from jobctl.changes import Author
from jobctl.db import first_line, insert_once
from jobctl.history import RunRecord
from jobctl.job import Ask, At, Broken, EffectStep, ListStep, Look
from jobctl.outbox import Notice, queue

if TYPE_CHECKING:
    from jobctl.findings import Finding

log = logging.getLogger(__name__)


def unread(_query: Select[Any]) -> Any:
    raise NotImplementedError("nothing can be looked up for this kind of step")


def looking(connection: Connection) -> Look:
    """Return how a job reads what it needs beside its row."""
    return lambda query: connection.execute(query.limit(1)).first()


@dataclass
class Noted:
    """The changes that `settle` wants for one row."""

    row: Any
    look: Look = unread
    outcome: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    besides: list[tuple[Table, int, Mapping[str, Any]]] = field(default_factory=list)
    inserts: list[tuple[Table, Sequence[str], Mapping[str, Any]]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    asked: list[Ask] = field(default_factory=list)
    findings: "list[Finding]" = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    last_resort: bool = False  # the row's failure, noted because another change could not be

    def update(self, **values: Any) -> None:
        self.values |= values

    def update_beside(self, table: Table, row_id: int, /, **values: Any) -> None:
        self.besides.append((table, row_id, values))

    def insert(self, table: Table, /, *, once: Sequence[str] = (), **values: Any) -> None:
        self.inserts.append((table, once, values))

    def notify(self, template: str, /, *, to: int, once: Sequence[Any], **more: Any) -> None:
        self.notices.append(Notice(template, to, once, **more))

    def ask(self, request: Ask, /) -> None:
        self.asked.append(request)

    def finding(self, kind: str, /, *, once: Sequence[Any], reason: str, **more: Any) -> None:
        from jobctl.findings import Finding  # noqa: PLC0415 (most runs find nothing)

        self.findings.append(Finding(kind, once, reason, **more))

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


def write(connection: Connection, table: Table, items: Sequence[Noted], record: RunRecord, at: At) -> None:
    """Write the changes of rows that are ours, with their audit rows.

    Raises ChangedMeanwhileError where a row is not ours any more, or its status forbids the change.
    """
    assert record.id is not None
    author = Author(record.id, at.present)
    for owner in {item.row.claimed_by for item in items}:
        theirs = {
            item.row.id: {**item.values, "claimed_by": None} for item in items if item.row.claimed_by == owner
        }
        changes.update_each(connection, table, theirs, owner or record.id, author)
    write_inserts(connection, items, record, at)
    for item in items:
        for reason in item.errors:
            record.error(connection, at.present, table.name, item.row.id, reason)


def write_inserts(connection: Connection, items: Sequence[Noted], run: RunRecord, at: At) -> None:
    assert run.id is not None, "a change without a record"
    author = Author(run.id, at.present)
    for item in items:
        for table, row_id, values in item.besides:
            changes.update_each(connection, table, {row_id: values}, None, author)
        for table, once, values in item.inserts:
            connection.execute(insert_once(table, once, values, connection.dialect.name))
        for finding in item.findings:
            finding.write_down(connection, run, at.present)
    queue(connection, [notice for item in items for notice in item.notices], at)
