"""`jobctl notifications`: look at messages, and queue failed ones again."""

from functools import partial

import click
from sqlalchemy import select

from jobctl.commands.by_hand import change_by_hand
from jobctl.commands.shared import NUMBER, as_json, loaded, show
from jobctl.db import Database, open_database
from jobctl.errors import UsageError
from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.tables.notifications import STATUSES
from jobctl.tables.notifications import notifications as messages
from jobctl.tables.types import inline

UNFINISHED = messages.c.status.in_([inline("failed"), inline("held")]) & messages.c.erased_at.is_(None)


@click.group()
def notifications() -> None:
    """List notifications and queue failed ones again."""


@notifications.command(name="list")
@click.option("--failed", is_flag=True, help="Those that need someone: failed, or held.")
@click.option("--status", type=click.Choice(STATUSES), help="Those in this status.")
@click.option("--user", "user_id", type=NUMBER, metavar="ID", help="Those to this user.")
@click.option("--limit", type=NUMBER, default=50, show_default=True, help="Newest so many.")
@as_json
def list_(*, failed: bool, status: str | None, user_id: int | None, limit: int, as_json: bool) -> None:
    """List notifications, newest first, with the reason of their status."""
    ours = messages.c
    names = (
        "id",
        "user_id",
        "channel",
        "template",
        "status",
        "attempts",
        "queued_at",
        "settled_at",
        "reason",
    )
    query = select(*(ours[name] for name in names)).order_by(ours.id.desc()).limit(limit)
    settings = loaded().settings
    query = query.where(UNFINISHED) if failed else query
    query = query.where(ours.status == status) if status else query
    query = query.where(ours.user_id == user_id) if user_id else query
    with open_database(settings, read_only=True) as database, database.transaction() as connection:
        rows = connection.execute(query).all()
    none = "No message failed or is held." if failed else "There are no such notifications."
    show(names, [tuple(row) for row in rows], json=as_json, empty=none)


@notifications.command()
@click.argument("ids", nargs=-1, type=NUMBER, metavar="[ID…]")
@click.option("--all", "everything", is_flag=True, help="All that failed or are held.")
def retry(ids: tuple[int, ...], *, everything: bool) -> None:
    """Queue failed or held notifications again, with all their attempts before them."""
    if bool(ids) == everything:
        raise UsageError("name the notifications to retry, or --all: jobctl notifications list --failed")
    options = {"ids": list(ids)} if ids else {"all": True}
    count = change_by_hand("notifications retry", options, again(ids), partial(refuse_others, ids))
    click.echo(f"{count} queued again; the next run of notification-sender sends them.")


def again(ids: tuple[int, ...]) -> SetStep:
    def due(_: At) -> Due:
        wanted = {"it failed or is held": UNFINISHED}
        return Due(messages, wanted | ({"it was named": messages.c.id.in_(ids)} if ids else {}))

    def change(_: At, batch: BatchChanges) -> None:
        anew = {"attempts": 0, "crashes": 0, "next_attempt_at": None, "settled_at": None, "reason": None}
        batch.update(status="queued", **anew)

    return SetStep(due, change, "queued again")


def refuse_others(ids: tuple[int, ...], _: At, database: Database) -> None:
    """Raise UsageError where a number names no failed or held message."""
    with database.transaction() as connection:
        known = set(connection.scalars(select(messages.c.id).where(UNFINISHED, messages.c.id.in_(ids))))
    if others := sorted(set(ids) - known):
        named = ", ".join(str(each) for each in others)
        raise UsageError(f"neither failed nor held, or erased: {named}; nothing was queued")
