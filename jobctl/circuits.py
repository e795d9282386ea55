"""What is down, as a fact in the database: which scope of which job, since when, and why.

A circuit is open from the run that finds a scope down to the one that finds it up, or that finds nothing
waiting for it. Where a run cannot even begin, its circuit is that of the run itself.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, exists, select, update

from jobctl.db import insert_once
from jobctl.errors import Exit, JobctlError
from jobctl.job import Call, Due, ScopeDownError
from jobctl.logs import redact
from jobctl.outside_text import storable
from jobctl.tables.frame import circuits

RUN = "the run"


@dataclass(frozen=True)
class Author:
    """Whose run it is, when, and its number if it has one."""

    job: str
    at: datetime
    run_id: int | None = None


def note(
    connection: Connection,
    author: Author,
    down: Mapping[str, ScopeDownError],
    up: Collection[str],
    dues: Callable[[], Sequence[Due]] | None = None,
) -> bool:
    """Open circuits and close them; return whether one is open after that.

    dues: of the job, where the run found nothing due; its circuits are closed unless something was put off.
    """
    ours = circuits.c.job == author.job
    known = set(connection.scalars(select(circuits.c.scope).where(ours)))
    over = known & set(up) - down.keys()
    if known and dues is not None and not any(waits(connection, each) for each in dues()):
        over = known - down.keys()
    if over:
        connection.execute(delete(circuits).where(ours, circuits.c.scope.in_(over)))
    for each in down.values():
        open_one(connection, author, each, known=each.scope in known)
    return bool(known - over) or bool(down)


def open_one(connection: Connection, author: Author, down: ScopeDownError, *, known: bool) -> None:
    values = {
        "exit_code": int(down.exit_code),
        "reason": storable(redact(down.reason)),
        "seen_at": author.at,
        "asked_again_at": down.retry_after and author.at + down.retry_after,
    }
    if known:
        theirs = (circuits.c.job == author.job, circuits.c.scope == down.scope)
        connection.execute(update(circuits).where(*theirs).values(values))
        return
    began = {"job": author.job, "scope": down.scope, "opened_at": author.at, "run_id": author.run_id}
    once = ("job", "scope")
    connection.execute(insert_once(circuits, once, {**began, **values}, connection.dialect.name))


def waits(connection: Connection, due: Due) -> bool:
    """Tell whether rows wait that were put off."""
    if due.put_off is None:
        return False
    return bool(connection.scalar(select(exists(select(due.key).select_from(due.rows).where(due.put_off)))))


def still_down(connection: Connection, job: str, now: datetime) -> dict[str, ScopeDownError]:
    """Return the scopes that said themselves until when they are not to be asked, and it is not that time."""
    ours = select(circuits).where(circuits.c.job == job, circuits.c.asked_again_at > now)
    rows = connection.execute(ours)
    return {
        row.scope: ScopeDownError(row.scope, row.reason, Exit(row.exit_code), row.asked_again_at - now)
        for row in rows
    }


def heeding(asked: Any, held: Mapping[str, ScopeDownError]) -> Any:
    """Return what is to be asked, or the circuit that keeps it from being asked yet."""
    if not isinstance(asked, Call):
        return asked
    return next((held[each] for each in asked.scopes if each in held), asked)


def refused(error: JobctlError) -> dict[str, ScopeDownError]:
    """Return what keeps a run from beginning, or from going on, as the circuit of the run."""
    return {RUN: ScopeDownError(RUN, str(error), error.exit_code)}


def open_ones(connection: Connection) -> Sequence[RowMapping]:
    return connection.execute(select(circuits).order_by(circuits.c.opened_at, circuits.c.id)).mappings().all()


def sentence(circuit: RowMapping) -> str:
    """Say what is down, since when, and why."""
    run = f" (run {circuit['run_id']})" if circuit["run_id"] else ""
    since = f"{circuit['opened_at']:%Y-%m-%d %H:%M:%SZ}"
    what = "it cannot run" if circuit["scope"] == RUN else f"{circuit['scope']} is down"
    return (
        f"{what} since {since}{run}, exit code {circuit['exit_code']}: {' '.join(circuit['reason'].split())}"
    )
