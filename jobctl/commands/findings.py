"""`jobctl findings`: what jobs found and may not decide, until a person has resolved it."""

from collections.abc import Mapping
from typing import Any

import click
from sqlalchemy import func, literal, or_, select

from jobctl.commands.by_hand import change_by_hand
from jobctl.commands.shared import NUMBER, as_json, loaded, show
from jobctl.db import Database, open_database
from jobctl.errors import UsageError
from jobctl.findings import MISMATCH
from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.journal import NOTHING_THERE
from jobctl.money import Money
from jobctl.output import readable, to_json
from jobctl.tables.findings import findings as found
from jobctl.tables.journal import money_operations
from jobctl.tables.types import inline

ours, journal = found.c, money_operations.c
LISTED = ("id", "kind", "reason", "amount_minor", "currency", "status", "found_at")
SHOWN = ("id", "kind", "reason", "amount", "status", "found_at")
# A mismatch is named after the key of its operation.
its_key = journal.key == func.substr(ours.once_key, len(MISMATCH) + 2)


@click.group()
def findings() -> None:
    """Look at what jobs found and may not decide, and resolve it."""


@findings.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Resolved ones too.")
@click.option("--kind", help="Those of this kind: 'orphan payment'.")
@click.option("--limit", type=NUMBER, default=50, show_default=True, help="Newest so many.")
@as_json
def list_(*, everything: bool, kind: str | None, limit: int, as_json: bool) -> None:
    """List findings that need someone, newest first."""
    query = select(*(ours[name] for name in LISTED)).order_by(ours.id.desc()).limit(limit)
    query = query if everything else query.where(ours.status == inline("open"))
    query = query.where(ours.kind == kind) if kind else query
    with open_database(loaded().settings, read_only=True) as database, database.transaction() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    header, lines = (LISTED, rows) if as_json else (SHOWN, [shown(*row) for row in rows])
    show(header, lines, json=as_json, empty="Nothing needs someone.")


def shown(*row: Any) -> tuple[Any, ...]:
    """Return a line for people: an amount as they write it."""
    *first, minor, currency, status, found_at = row
    return *first, None if minor is None else Money(minor, currency), status, found_at


@findings.command(name="show")
@click.argument("finding", metavar="ID", type=NUMBER)
@as_json
def show_(finding: int, *, as_json: bool) -> None:
    """Show one finding: what was found, when, and how it was resolved."""
    with open_database(loaded().settings, read_only=True) as database:
        row = one(finding, database)
    if as_json:
        click.echo(to_json(dict(row)))
        return
    amount = {} if row["amount_minor"] is None else {"amount": Money(row["amount_minor"], row["currency"])}
    told = {name: row[name] for name in row if name not in ("amount_minor", "currency", "facts")}
    for name, value in (told | amount | row["facts"]).items():
        if value is not None:
            click.echo(f"{name.replace('_', ' '):14} {readable(value)}")
    if row["status"] == "open":
        click.echo(f"\nOnce that is put right: jobctl findings resolve {finding} --reason …")


@findings.command()
@click.argument("finding", metavar="ID", type=NUMBER)
@click.option("--reason", required=True, help="What was decided, and done.")
@click.option(
    "--nothing-there",
    is_flag=True,
    help="The provider has nothing of the hold or charge any more; the next run asks for it anew.",
)
def resolve(finding: int, *, reason: str, nothing_there: bool) -> None:
    """Mark a finding as resolved, once that is put right; what waited for it goes on.

    A hold or charge of which the provider has something else is not asked for again all the same: put its
    row right first, or say --nothing-there, of which the provider is asked first.
    """
    if not reason.strip():
        raise UsageError("--reason says what was decided, and done")

    with open_database(loaded().settings, read_only=True) as database:
        begun = begun_by(one(finding, database), database)
    if nothing_there and begun is None:
        raise UsageError(f"--nothing-there is for a {MISMATCH} of a hold or a charge")

    def due(_: At) -> Due:
        # Whoever resolved it too early may still say that there is nothing.
        either = or_(ours.status == inline("open"), literal(nothing_there))
        return Due(found, {"it is open": either, "it was named": ours.id == finding})

    def change(at: At, batch: BatchChanges) -> None:
        said = func.coalesce(ours.resolution + inline("; "), "") + reason.strip()
        batch.update(status="resolved", resolved_at=at.now, resolution=said)
        if nothing_there:
            batch.update_beside(money_operations, its_key, code=NOTHING_THERE)

    def refuse(at: At, database: Database) -> None:
        if nothing_there:
            from jobctl.commands.standing import refuse_standing  # noqa: PLC0415 (no other command pays for it)

            refuse_standing(at, begun)
        elif one(finding, database)["status"] != "open":
            raise UsageError(f"finding {finding} is resolved already: jobctl findings show {finding}")

    options = {"id": finding} | ({"nothing_there": True} if nothing_there else {})
    change_by_hand("findings resolve", options, SetStep(due, change, "resolved"), refuse)
    more = "" if begun is None else follows(finding, nothing_there=nothing_there)
    click.echo(f"Finding {finding} is resolved{more}.")


def follows(finding: int, nothing_there: bool) -> str:
    """Say what becomes of a hold or charge after its finding is resolved."""
    if nothing_there:
        return "; the next run asks for it anew, if its row is due"
    again = f"jobctl findings resolve {finding} --reason … --nothing-there"
    return f"; as long as its row asks for the same, each run names it. To ask for it anew: {again}"


def begun_by(row: Mapping[Any, Any], database: Database) -> Any:
    """Return the hold or charge that a finding is a mismatch of; None where it is of something else."""
    if row["kind"] != MISMATCH:
        return None
    its = select(journal.id, journal.provider, journal.account, journal.payment_id)
    its = its.join(found, its_key).where(ours.id == row["id"], journal.kind.in_(["authorize", "charge"]))
    with database.transaction() as connection:
        return connection.execute(its).first()


def one(finding: int, database: Database) -> Mapping[Any, Any]:
    with database.transaction() as connection:
        row = connection.execute(select(found).where(ours.id == finding)).mappings().first()
    if row is None:
        raise UsageError(f"there is no finding {finding}: jobctl findings list")
    return row
