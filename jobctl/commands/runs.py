"""`jobctl runs`: what past runs came to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from sqlalchemy import Connection, Select, func, select

from jobctl.commands.shared import NUMBER, as_json, job_argument, loaded, show, table
from jobctl.db import open_database
from jobctl.errors import UsageError
from jobctl.locks import Locks, open_locks
from jobctl.output import drift_sentence, readable, to_json
from jobctl.registry import RECORDED
from jobctl.tables.frame import audit_trail, run_errors, runs

SHOWN = 20  # changed rows and errors on a terminal; --json has all


@click.group(name="runs")
def runs_group() -> None:
    """Look at past runs: counts, changed rows, errors."""


@runs_group.command(name="list")
@job_argument(*RECORDED, required=False)
@click.option("--limit", type=NUMBER, default=20, show_default=True, help="Newest so many.")
@as_json
def list_(job: str | None, *, limit: int, as_json: bool) -> None:
    """List runs that did something, newest first."""
    settings = loaded().settings
    query = select(runs).order_by(runs.c.id.desc()).limit(limit)
    query = query.where(runs.c.job == job) if job else query
    with open_database(settings, read_only=True) as database, open_locks(settings) as locks:
        with database.transaction() as connection:
            found = [dict(row) for row in connection.execute(query).mappings()]
        rows = [line_of(each, locks) for each in found]
    header = ("run", "job", "started_at", "ended_at", "outcome", "exit_code", "counts")
    rows = rows if as_json else [(*row[:-1], counted(row[-1])) for row in rows]
    show(header, rows, json=as_json, empty="There are no runs yet.")


def line_of(run: Mapping[str, Any], locks: Locks) -> tuple[Any, ...]:
    return (
        run["id"],
        run["job"],
        run["started_at"],
        run["ended_at"],
        outcome(run, locks),
        run["exit_code"],
        run["counts"],
    )


def outcome(run: Mapping[Any, Any], locks: Locks) -> str:
    """Tell how a run went; one that never closed its record is running only if its process lives."""
    if run["ended_at"] is None and not locks.alive([run["id"]]):
        return "died"
    return str(run["outcome"])


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "-"


def given(options: Mapping[str, Any]) -> str:
    named = {
        name: ",".join(map(str, value)) if isinstance(value, list) else value
        for name, value in options.items()
    }
    return " ".join(f"{name}={readable(value)}" for name, value in named.items())


def told(drift: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(map(drift_sentence, drift))


WRITTEN: Mapping[str, Callable[[Any], str]] = {"counts": counted, "drift": told, "options": given}


@runs_group.command(name="show")
@click.argument("run_id", metavar="ID", type=NUMBER)
@as_json
def show_(run_id: int, *, as_json: bool) -> None:
    """Show one run: its counts, the rows that it changed, its errors."""
    settings = loaded().settings
    with (
        open_database(settings, read_only=True) as database,
        open_locks(settings) as locks,
        database.transaction() as connection,
    ):
        found = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().first()
        if found is None:
            raise UsageError(f"there is no run {run_id}: jobctl runs list")
        run = {**found, "outcome": outcome(found, locks)}
        (print_json if as_json else print_text)(connection, run)


def trail(run_id: int) -> Select[Any]:
    return select(audit_trail).where(audit_trail.c.run_id == run_id).order_by(audit_trail.c.id)


def errors(run_id: int) -> Select[Any]:
    return select(run_errors).where(run_errors.c.run_id == run_id).order_by(run_errors.c.id)


def key_of(row: Any) -> Any:
    return row.row_id if row.row_key is None else row.row_key


def name_of(row: Any) -> str:
    return f"{row.table_name} {readable(key_of(row))}"


def named(row: Any) -> dict[str, Any]:
    """Return a row of the trail, or an error, with the one name that the row has which it is of."""
    told = {name: value for name, value in row._asdict().items() if name != "row_key"}
    return {**told, "row_id": key_of(row)}


def print_json(connection: Connection, run: Mapping[str, Any]) -> None:
    """Stream the run as one JSON document, however many rows it changed."""
    click.echo(to_json(run)[:-1], nl=False)
    for name, query in (("changes", trail(run["id"])), ("errors", errors(run["id"]))):
        click.echo(f', "{name}": [', nl=False)
        streamed = connection.execution_options(yield_per=500).execute(query)
        for n, row in enumerate(streamed):
            click.echo(("," if n else "") + "\n" + to_json(named(row)), nl=False)
        click.echo("]", nl=False)
    click.echo("}")


def print_text(connection: Connection, run: Mapping[str, Any]) -> None:
    for name, value in run.items():
        if value not in (None, {}, []):
            write = WRITTEN.get(name, readable)
            click.echo(f"{name.replace('_', ' '):11} {write(value)}")
    failed = connection.execute(errors(run["id"]).limit(SHOWN)).all()
    changed = connection.execute(trail(run["id"]).limit(SHOWN)).all()
    if failed:
        click.echo("\n" + table(("row", "error"), [(name_of(each), each.error) for each in failed]))
    if changed:
        rows = [(name_of(each), changes(each.before, each.after)) for each in changed]
        click.echo("\n" + table(("row", "change"), rows))
    total = connection.scalar(select(func.count()).select_from(trail(run["id"]).subquery())) or 0
    if total > SHOWN:
        click.echo(f"… and {total - SHOWN} more (--json shows all)")


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    different = [name for name in after if before.get(name) != after[name]]
    return ", ".join(f"{name}: {readable(before.get(name))} → {readable(after[name])}" for name in different)
