"""Settling answers: what the job wants changed for a row, noted first, then written."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, Table
from sqlalchemy.exc import DBAPIError

from jobctl import changes
from jobctl.changes import Author, ChangedMeanwhileError
from jobctl.db import first_line
from jobctl.errors import Exit, JobctlError
from jobctl.history import RunRecord
from jobctl.job import Ask, At, Broken, EffectStep, ListStep, Look
from jobctl.money import Money
from jobctl.outbox import Notice, queue
from jobctl.tables.types import Key

if TYPE_CHECKING:
    from jobctl.findings import Finding

log = logging.getLogger(__name__)
EachT = TypeVar("EachT")


def in_parts(
    rows: Sequence[EachT],
    do: Callable[[Sequence[EachT]], None],
    refused: Callable[[EachT, Exception], None],
) -> None:
    """Do something to rows at once; where that fails, to each half, until what is bad stands alone.

    do: in a transaction of its own. refused: gets a row that it fails on, and what was raised. Raises
    JobctlError, which is no row's failure.
    """
    try:
        if rows:
            do(rows)
    except JobctlError:
        raise
    except Exception as error:  # noqa: BLE001 (isolation: whatever is raised is handed on, row by row)
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]) if middle else ():
            in_parts(half, do, refused)
        if not middle:
            refused(rows[0], error)


def looking(connection: Connection, *, locking: bool = True) -> Look:
    """Return how a job reads what it needs beside its row; a dry run locks nothing."""

    def look(query: Select[Any], *, lock: Table | None = None) -> Any:
        locked = query if lock is None or not locking else query.with_for_update(of=lock)
        return connection.execute(locked.limit(1)).first()

    return look


@dataclass(eq=False)
class New:
    """A row to be added: what stands for its number until it has one."""

    table: Table
    number: int | None = None

    def __str__(self) -> str:
        return f"(new in {self.table.name})"


class Write(NamedTuple):
    """A change of another row than the one in hand."""

    row: Key | New
    table: Table
    values: Mapping[str, Any]
    once: Sequence[str] = ()


@dataclass
class Noted:
    """The changes that `settle` wants for one row."""

    row: Any
    look: Look
    outcome: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    asked: list[Ask] = field(default_factory=list)
    findings: "list[Finding]" = field(default_factory=list)
    drifts: list[tuple[str, Money]] = field(default_factory=list)
    resolved: list[tuple[str, str]] = field(default_factory=list)  # keys of findings, and why
    errors: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    complaints: list[tuple[Exit, str]] = field(default_factory=list)

    def update(self, **values: Any) -> None:
        self.values |= values

    def update_beside(self, table: Table, row_id: Key, /, **values: Any) -> None:
        self.writes.append(Write(row_id, table, values))

    def insert(self, table: Table, /, *, once: Sequence[str] = (), **values: Any) -> New:
        made = New(table)
        self.writes.append(Write(made, table, values, once))
        return made

    def drift(self, what: str, amount: Money) -> None:
        self.drifts.append((what, amount))

    def notify(self, template: str, /, *, to: int, once: Sequence[Any], **more: Any) -> None:
        self.notices.append(Notice(template, to, once, **more))

    def ask(self, request: Ask, /) -> None:
        self.asked.append(request)

    def finding(self, kind: str, /, *, once: Sequence[Any], reason: str, **more: Any) -> None:
        from jobctl.findings import Finding  # noqa: PLC0415 (most runs find nothing)

        self.findings.append(Finding(kind, once, reason, **more))

    def resolve(self, kind: str, /, *, once: Sequence[Any], reason: str) -> None:
        from jobctl.findings import key_of  # noqa: PLC0415 (most runs find nothing)

        self.resolved.append((key_of(kind, once), reason))

    def error(self, reason: str) -> None:
        self.errors.append(reason)

    def say(self, line: str) -> None:
        self.said.append(line)

    def fail(self, exit_code: Exit, complaint: str) -> None:
        self.complaints.append((exit_code, complaint))


def note(step: EffectStep[Any, Any, Any, Any], at: At, row: Any, answer: Any, look: Look) -> Noted:
    """Let the job settle an answer; where that fails, let it settle the failure.

    Raises DBAPIError where what it looks at cannot be read: its transaction is over.
    """
    noted = Noted(row, look)
    try:
        noted.outcome = step.settle(at, row, answer, noted)
    except DBAPIError:
        raise
    except Exception as error:  # isolation: one bad row never stops the others
        log.debug("settle.broken", exc_info=True)
        if isinstance(answer, Broken):
            return failed(row, error, look)
        return note(step, at, row, Broken(f"{type(error).__name__}: {first_line(error)}"), look)
    return noted


def note_listed(step: ListStep[Any, Any, Any], at: At, item: Any, look: Look) -> Noted:
    """Let the job settle one thing that was listed; raises DBAPIError as `note` does."""
    noted = Noted(item, look)
    try:
        noted.outcome = step.settle(at, item, noted)
    except DBAPIError:
        raise
    except Exception as error:  # isolation: one bad item never stops the others
        log.debug("settle.broken", exc_info=True)
        return failed(item, error, look)
    return noted


def forget_known(noted: Noted, connection: Connection) -> None:
    """Leave out what was found before, and what was told of it then."""
    new = [each for each in noted.findings if each.is_new(connection)]
    if noted.findings and not new:
        noted.drifts.clear()
    noted.findings = new


def failed(row: Any, error: Exception, look: Look) -> Noted:
    reason = f"{type(error).__name__}: {first_line(error)}"
    return Noted(row, look, outcome="failed", errors=[reason])


def write(
    connection: Connection,
    table: Table,
    items: Sequence[Noted],
    record: RunRecord,
    at: At,
    *,
    claimed: bool,
    free: bool,
) -> None:
    """Write the changes of rows, with their audit rows; those that are claimed must be ours, and are freed.

    Raises ChangedMeanwhileError where a row is not ours any more, or its status forbids the change.
    """
    assert record.id is not None
    author, freed = Author(record.id, at.present), {"claimed_by": None} if free else {}
    for owner in {item.row.claimed_by for item in items}:
        theirs = {item.row.id: {**item.values, **freed} for item in items if item.row.claimed_by == owner}
        changes.update_each(connection, table, theirs, (owner or record.id) if claimed else None, author)
    write_beside(connection, items, record, at)
    for item in items:
        for reason in item.errors:
            record.error(connection, at.present, table.name, item.row.id, reason)


def write_beside(connection: Connection, items: Sequence[Noted], run: RunRecord, at: At) -> None:
    """Write what is noted beside the rows in hand, in the order that it was said in."""
    assert run.id is not None, "a change without a record"
    author = Author(run.id, at.present)
    for item in items:
        for each in item.writes:
            write_one(connection, each, author)
        for finding in item.findings:
            finding.write_down(connection, run, at.present)
        resolve_all(connection, item, author)
    queue(connection, [notice for item in items for notice in item.notices], at)


def resolve_all(connection: Connection, item: Noted, author: Author) -> None:
    if not item.resolved:
        return
    from jobctl.findings import resolve  # noqa: PLC0415 (most runs find nothing)

    for key, reason in item.resolved:
        resolve(connection, key, reason, author)


def write_one(connection: Connection, wanted: Write, author: Author) -> None:
    values = {name: known(value) for name, value in wanted.values.items()}
    if isinstance(wanted.row, New):
        wanted.row.number = changes.add_row(connection, wanted.table, values, wanted.once, author)
    else:
        changes.update_each(connection, wanted.table, {wanted.row: values}, None, author)


def known(value: Any) -> Any:
    """Return the number of a row that was added; raises ChangedMeanwhileError where it was there already."""
    if not isinstance(value, New):
        return value
    if value.number is None:
        raise ChangedMeanwhileError
    return value.number


def tally(record: RunRecord, item: Noted) -> None:
    """Count, once it is committed, what became of a row."""
    record.counts[item.outcome] += 1
    tell_drift(item, record)


def tell_drift(item: Noted, record: RunRecord) -> None:
    """Add what differs here and at a provider, be it that nothing is to be changed for it."""
    for what, amount in item.drifts:
        record.add_drift(what, amount)
