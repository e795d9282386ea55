"""`jobctl notifications`: look at messages, and queue failed ones again."""

from collections import Counter

import click
from sqlalchemy import select

from jobctl.changes import Author, Batch, apply
from jobctl.commands.shared import as_json, loaded, show
from jobctl.db import clock, open_database
from jobctl.errors import Exit, UsageError
from jobctl.history import RunRecord
from jobctl.locks import open_locks
from jobctl.tables.notifications import STATUSES
from jobctl.tables.notifications import notifications as messages
from jobctl.tables.types import inline

UNFINISHED = messages.c.status.in_([inline("failed"), inline("held")])
PAGE = 2000


@click.group()
def notifications() -> None:
    """List notifications and queue failed ones again."""


@notifications.command(name="list")
@click.option("--failed", is_flag=True, help="Those that need someone: failed and held.")
@click.option("--status", type=click.Choice(STATUSES), help="Those in this status.")
@click.option("--user", "user_id", type=click.IntRange(1), metavar="ID", help="Those to this user.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Newest so many.")
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
    query = query.where(UNFINISHED) if failed else query
    query = query.where(ours.status == status) if status else query
    query = query.where(ours.user_id == user_id) if user_id else query
    with open_database(loaded().settings, read_only=True) as database, database.transaction() as connection:
        rows = connection.execute(query).all()
    none = "No message failed or is held." if failed else "There are no such notifications."
    show(names, [tuple(row) for row in rows], json=as_json, empty=none)


@notifications.command()
@click.argument("ids", nargs=-1, type=click.IntRange(1), metavar="[ID…]")
@click.option("--all", "everything", is_flag=True, help="All that failed or are held.")
def retry(ids: tuple[int, ...], *, everything: bool) -> None:
    """Queue failed or held notifications again, with all their attempts before them."""
    if bool(ids) == everything:
        raise UsageError("name the notifications to retry, or --all: jobctl notifications list --failed")
    settings = loaded().settings
    batch = Batch(messages)
    batch.update(
        status="queued", attempts=0, next_attempt_at=None, claimed_by=None, settled_at=None, reason=None
    )
    wanted = UNFINISHED if everything else UNFINISHED & messages.c.id.in_(ids)
    record = RunRecord("notifications retry", {"ids": list(ids)} if ids else {"all": True})
    with open_database(settings) as database, open_locks(settings) as locks:
        count = 0
        while True:
            with database.transaction() as connection:
                page = select(messages.c.id).where(wanted).order_by(messages.c.id).limit(PAGE)
                if connection.scalar(page.limit(1)) is None:
                    break
                now = clock(connection)
                author = Author(record.open(connection, locks, now), now)
                count += apply(connection, batch, page.with_for_update(), author)
        if record.id is not None:
            record.counts = Counter({"queued again": count})
            with database.transaction() as connection:
                record.close(connection, clock(connection), Exit.DONE, None)
    click.echo(f"{count} queued again; the next run of notification-sender sends them.")
    if missing := len(set(ids)) - count if ids else 0:
        raise UsageError(f"{missing} of those numbers name no failed or held notification")
