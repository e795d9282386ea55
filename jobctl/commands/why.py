"""`jobctl why`: each condition of a job held against one row, with the row's values."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy import Column, ColumnElement, Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.visitors import iterate

from jobctl.commands.shared import as_json, job_argument, loaded
from jobctl.db import clock, open_database
from jobctl.errors import UsageError
from jobctl.job import UNCLAIMED, At, Due, DueStep, SetStep
from jobctl.locks import Locks, open_locks
from jobctl.output import legible, readable, to_json
from jobctl.registry import entry
from jobctl.runner import due_steps, row_named
from jobctl.steps.selection import Selection
from jobctl.tables.findings import findings, waiting
from jobctl.tables.frame import runs
from jobctl.tables.journal import money_operations
from jobctl.tables.types import Key

# When a row may become due: looked at by the hour, the day, the month; after ten years it waits for no time.
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AHEAD = (
    *(n * HOUR for n in range(1, 24)),
    *(n * DAY for n in range(1, 120)),
    *(n * 30 * DAY for n in range(4, 122)),
)
NEAR = timedelta(milliseconds=1)
OPERATION = (
    "id",
    "kind",
    "cycle",
    "attempt",
    "provider",
    "payment_id",
    "status",
    "code",
    "reason",
    "first_sent_at",
    "answer_by",
    "asked",
    "settled_at",
)
FINDING = ("id", "kind", "reason", "found_at")
# What mail and web addresses look like, and telephone numbers: digits that stand alone, and are no amount.
ADDRESS = re.compile(r"\S*(@|://)\S*|(?<![\w.+-])(\+[0-9]{6,}|[0-9]{7,})(?![\w-]|\.[0-9])")


@dataclass(frozen=True)
class Held:
    """One condition held against the row."""

    condition: str
    holds: bool
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """The run that has the row, and whether it is still at work."""

    run: int
    host: str | None
    pid: int | None
    alive: bool

    def __str__(self) -> str:
        where = f" ({self.host}, process {self.pid})" if self.host else ""
        doing = "is working on it" if self.alive else "had it and is dead; the next run settles it"
        return f"run {self.run}{where} {doing}"


@dataclass(frozen=True)
class Explanation:
    table: str
    step: str | None  # what tells it from the job's others: the word that its rows are counted under
    conditions: list[Held]
    claim: Claim | None
    due_at: datetime | None
    row: Mapping[str, Any]
    operations: Sequence[Mapping[str, Any]]
    findings: Sequence[Mapping[str, Any]]  # that it waits for

    @property
    def due(self) -> bool:
        return self.unclaimed and all(each.holds for each in self.conditions)

    @property
    def unclaimed(self) -> bool:
        """Tell whether the next run takes it: what a dead one had is as good as nobody's."""
        return not (self.claim and self.claim.alive)

    def document(self) -> dict[str, Any]:
        claim = vars(self.claim) if self.claim else None
        return vars(self) | {
            "due": self.due,
            "conditions": [vars(each) for each in self.conditions],
            "claim": claim,
        }


@click.command()
@job_argument()
@click.argument("row")
@click.option("--sql", is_flag=True, help="Print the SELECT that finds due rows, with its values.")
@as_json
def why(job: str, row: str, *, sql: bool, as_json: bool) -> None:
    """Explain why a row is, or is not, due for a job."""
    settings = loaded().settings
    steps, named = due_steps(entry(job)), row_named(entry(job), row)
    with (
        open_database(settings, read_only=True) as database,
        open_locks(settings) as locks,
        database.transaction() as connection,
    ):
        at = At(clock(connection), settings, installation=database.installation)
        if sql:
            for step in steps:
                click.echo(f"{select_of(step, at, connection)};")
            return
        found = [each for step in steps if (each := explain(step, at, named, connection, locks))]
    if not found:
        tables = ", ".join(dict.fromkeys(step.due(at).table.name for step in steps))
        raise UsageError(f"there is no row {legible(row)} in {tables}")
    if as_json:
        click.echo(to_json([each.document() for each in found]))
    else:
        click.echo("\n\n".join("\n".join(told(each, named, job)) for each in found))
        # Once, below what all steps have to say of the row.
        for each in {each.table: each for each in found}.values():
            click.echo("\n".join(known(each)))


def select_of(step: DueStep, at: At, connection: Connection) -> str:
    dialect = postgresql.dialect() if connection.dialect.name == "postgresql" else sqlite.dialect()  # type: ignore[no-untyped-call]
    query = Selection(step.due(at), at.since, None).keys()
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def explain(step: DueStep, at: At, row: Key, connection: Connection, locks: Locks) -> Explanation | None:
    due = step.due(at)
    this = select(due.table).where(due.key == row)
    values = connection.execute(this).mappings().first()
    if values is None:
        return None
    held = [
        Held(name, holds, shown_values(due, condition, row, connection))
        for (name, condition), holds in zip(due.when.items(), truths(due, row, connection), strict=True)
    ]
    return Explanation(
        table=due.table.name,
        step=step.outcome if isinstance(step, SetStep) else None,
        conditions=held,
        claim=claim_of(values, connection, locks),
        due_at=when_due(step, at, row, connection) if not all(each.holds for each in held) else None,
        row=told_of(values, due.table),
        operations=operations_on(due.table, row, connection),
        findings=findings_on(due.table, row, connection),
    )


def told_of(values: Mapping[Any, Any], of: Table) -> dict[str, Any]:
    """Return what of a row may be printed: nothing personal, and the reason without addresses."""
    told = {name: value for name, value in values.items() if not of.c[name].info.get("personal")}
    if values.get("reason"):
        told["reason"] = ADDRESS.sub("<address>", str(values["reason"]))
    return told


def operations_on(subject: Table, row: Key, connection: Connection) -> list[dict[str, Any]]:
    """Return the money operations of which the row is the subject, oldest first."""
    if "subject" not in subject.info:
        return []
    ours = money_operations.c
    theirs = select(*(ours[name] for name in OPERATION)).order_by(ours.id)
    theirs = theirs.where(ours.subject == subject.info["subject"], ours.subject_id == row)
    return [told_of(each, money_operations) for each in connection.execute(theirs).mappings()]


def findings_on(subject: Table, row: Key, connection: Connection) -> list[dict[str, Any]]:
    """Return the open findings that no job asks anything about the row before."""
    if "subject" not in subject.info:
        return []
    ours = findings.c
    theirs = select(*(ours[name] for name in FINDING)).where(waiting).order_by(ours.id)
    theirs = theirs.where(ours.subject == subject.info["subject"], ours.subject_id == row)
    return [told_of(each, findings) for each in connection.execute(theirs).mappings()]


def truths(due: Due, row: Key, connection: Connection) -> list[bool]:
    """Evaluate each condition on the row; a null counts as not holding, as in a WHERE."""
    query = select(*(condition.label(f"c{n}") for n, condition in enumerate(due.when.values())))
    found = connection.execute(query.select_from(due.rows).where(due.key == row)).one()
    return [bool(each) for each in found]


def shown_values(
    due: Due, condition: ColumnElement[bool], row: Key, connection: Connection
) -> Mapping[str, Any]:
    """Return the values of the columns that a condition reads of the row, under their names."""
    tables = set(iterate(due.rows))  # not those that a subquery looks into
    read = [each for each in iterate(condition) if isinstance(each, Column) and each.table in tables]
    columns = {str(each): each for each in read}
    columns = {name: each for name, each in columns.items() if not each.info.get("personal")}
    if not columns:
        return {}
    query = select(*(each.label(name) for name, each in columns.items()))
    found = connection.execute(query.select_from(due.rows).where(due.key == row)).mappings().one()
    return {name.removeprefix(f"{due.table.name}."): value for name, value in found.items()}


def claim_of(values: Mapping[Any, Any], connection: Connection, locks: Locks) -> Claim | None:
    owner = values.get("claimed_by")
    if owner is None:
        return None
    run = connection.execute(select(runs.c.host, runs.c.pid).where(runs.c.id == owner)).first()
    return Claim(owner, run and run.host, run and run.pid, owner in locks.alive([owner]))


def when_due(step: DueStep, at: At, row: Key, connection: Connection) -> datetime | None:
    """Find, by asking the conditions at other times, when they will hold if nothing but time passes."""

    def hold(ahead: timedelta) -> list[bool]:
        return truths(step.due(replace(at, now=at.now + ahead)), row, connection)

    def holds(ahead: timedelta) -> bool:
        return all(hold(ahead))

    # What does not hold now and will not by then waits for something else than time.
    if not all(then for now, then in zip(hold(timedelta(0)), hold(AHEAD[-1]), strict=True) if not now):
        return None
    late = next((each for each in AHEAD if holds(each)), None)
    if late is None:
        return None
    early = max((each for each in AHEAD if each < late), default=timedelta(0))
    while late - early > NEAR:
        middle = (early + late) / 2
        early, late = (early, middle) if holds(middle) else (middle, late)
    return at.now + late


def told(explanation: Explanation, row: Key, job: str) -> Iterator[str]:
    state = "is due" if explanation.due else "is not due"
    step = f" (its step “{explanation.step}”)" if explanation.step else ""
    yield f"{explanation.table} {readable(row)} {state} for {job}{step}:"
    # Of a step beside the main one it is enough to say what keeps the row from it.
    all_of_them = explanation.due or explanation.step is None
    for each in explanation.conditions:
        if each.holds and not all_of_them:
            continue
        values = ", ".join(f"{name} = {readable(value)}" for name, value in each.values.items())
        yield f"  {'✓' if each.holds else '✗'} {each.condition}" + (f"  ({values})" if values else "")
    if "claimed_by" in explanation.row and (all_of_them or not explanation.unclaimed):
        claim = f": {explanation.claim}" if explanation.claim else ""
        yield f"  {'✓' if explanation.unclaimed else '✗'} {UNCLAIMED}{claim}"
    if explanation.due_at:
        yield f"It will be due at {readable(explanation.due_at)}, if nothing but time passes."
    if explanation.due:
        yield f"What a run would do with it: jobctl {job} --dry-run --only {legible(shlex.quote(str(row)))}"


def known(explanation: Explanation) -> Iterator[str]:
    yield "\nThe row: " + ", ".join(f"{name} = {readable(value)}" for name, value in explanation.row.items())
    if explanation.operations:
        yield "\nIts money operations:"
    yield from map(told_operation, explanation.operations)
    if explanation.findings:
        yield "\nIt waits until a person has seen to:"
    for each in explanation.findings:
        yield "  finding {id}, {kind}: {reason}; jobctl findings show {id}".format(**each)


def told_operation(operation: Mapping[str, Any]) -> str:
    named = {name: readable(value) for name, value in operation.items()}
    said = "  {id}  {kind} {cycle}, attempt {attempt}, at {provider}: {status}".format(**named)
    said += ", {code}: {reason}".format(**named) if operation["code"] else ""
    said += "; sent {first_sent_at}".format(**named) if operation["first_sent_at"] else "; not sent yet"
    settled = "" if operation["settled_at"] else "; jobctl why settle-operations {id}".format(**named)
    return said + settled
