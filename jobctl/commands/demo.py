"""`jobctl demo`: the jobs at work on a small made-up marketplace."""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, insert, inspect, select

from jobctl import logs, migrating
from jobctl.commands import (
    demo_checkout,
    demo_credits,
    demo_marketplace,
    demo_sessions,
    demo_subscriptions,
    health,
)
from jobctl.commands.shared import table
from jobctl.db import Database, check_embedded, clock, current_revision, installation_of, open_database
from jobctl.errors import Exit, LockHeldError, MisconfiguredError
from jobctl.locks import FileLocks
from jobctl.output import Output
from jobctl.registry import JOBS, entry
from jobctl.runner import Invocation, run
from jobctl.settings import Settings
from jobctl.steps.running import Options, Stop
from jobctl.tables.notifications import channel_preferences, notifications, users

INSTALLATION = "demodemo"  # what tells a demo's database from a real one
OURS = re.compile(
    rf"{INSTALLATION}\.notification-[0-9]+\.(eml|txt)"
)  # as the console channel names its files

PEOPLE = (
    ("Anna Gruber", "anna@example.com", "de-AT", "Europe/Vienna"),
    ("佐藤 健二", "kenji@example.jp", "ja", "Asia/Tokyo"),
    ("María López", "maria@example.mx", "es-MX", "America/Mexico_City"),
    ("Tom Baker", "tom@example.com", "en-US", "America/New_York"),
    ("Nadia Haddad", "nadia at example", "fr", "Africa/Cairo"),
    ("Olga Petrova", "olga@example.org", "en", "Europe/Riga"),
)


def messages(now: datetime) -> Iterator[dict[str, Any]]:
    """Yield what the marketplace's application has queued, as it would."""
    soon, day = now + timedelta(minutes=15), timedelta(days=1)
    session = {"starts_at": soon.isoformat(), "join_url": "https://market.example/join/4711"}
    receipt = {"description": "a session with Anna Gruber", "paid_at": (now - day).isoformat()}
    yield reminder(1, {**session, "partner": "María López"}, soon)
    yield reminder(3, {**session, "partner": "Anna Gruber"}, soon)
    yield message(3, "payment-receipt", "transactional", {**receipt, "amount": amount(45_000, "MXN")})
    yield message(2, "welcome", "account", {})
    yield message(2, "welcome", "account", {}, channel="tray")
    yield message(4, "weekly-digest", "marketing", {"experts": ["Anna Gruber", "佐藤 健二"]})
    yield message(4, "payment-receipt", "transactional", {**receipt, "amount": amount(2_500, "USD")})
    yield message(5, "welcome", "account", {})
    over = now - timedelta(hours=1)
    yield reminder(6, {**session, "partner": "Tom Baker", "starts_at": over.isoformat()}, over)
    yield message(1, "weekly-digest", "marketing", {"experts": ["佐藤 健二"]}) | {"send_after": now + day}


def message(
    user_id: int, template: str, category: str, context: dict[str, Any], *, channel: str = "email"
) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "channel": channel,
        "template": template,
        "category": category,
        "context": context,
        "send_after": None,
        "expires_at": None,
    }


def reminder(user_id: int, context: dict[str, Any], starts_at: datetime) -> dict[str, Any]:
    return message(user_id, "session-reminder", "reminder", context) | {"expires_at": starts_at}


def amount(minor: int, currency: str) -> dict[str, Any]:
    return {"minor": minor, "currency": currency}


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("jobctl-demo"),
    show_default=True,
    help="Where the demo's own database goes.",
)
def demo(*, folder: Path) -> int:
    """See the jobs at work on a small made-up marketplace.

    Creates an embedded database in a folder of its own, runs notification-sender on it, walks two sessions
    through their lives, and sees to some subscriptions, money in escrow, checkout sessions and credits.
    Messages are printed, none is sent; payments go to imitations of Stripe, YooKassa and Paystack. Can be
    run again, and touches no database but a demo's.
    """
    settings = Settings(jobctl_home=folder, console_folder=folder / "outbox")
    logs.set_up(settings.log_format, 0, ())
    refuse_the_image()
    prepare(settings)
    with FileLocks(settings.embedded_path) as locks:
        if not locks.take("demo", share=False):
            raise LockHeldError(f"another demo is at work in {folder}: wait for it, or name another --folder")
        create(settings)
        return show(settings, folder)


def show(settings: Settings, folder: Path) -> int:
    click.echo(
        f"A small marketplace with ten queued messages is in {folder}.\n\n$ jobctl notification-sender"
    )
    code = run(
        Invocation(entry("notification-sender"), Options(), settings, Output(), Stop(settings.stop_grace))
    )
    expected = code == Exit.ITEMS_FAILED
    means = ": done, and one message needs someone" if expected else ""
    click.echo(f"exit code {int(code)}{means}.\n\nWhat became of the messages:\n")
    report(settings)
    demo_sessions.walk(settings)
    demo_subscriptions.walk(settings)
    demo_marketplace.walk(settings)
    demo_checkout.walk(settings)
    demo_credits.walk(settings)
    click.echo("\nDid each job succeed when it should have?\n\n$ jobctl health")
    health.tell(list(health.look_into(settings, JOBS, named=False)))
    suggest(folder)
    return int(Exit.DONE if expected else code)


def refuse_the_image() -> None:
    """Raise MisconfiguredError where a database that is gone tomorrow is ruled out, and no other is named."""
    named = os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE")
    if os.environ.get("JOBCTL_EMBEDDED") == "never" and not named:
        raise MisconfiguredError(
            "JOBCTL_EMBEDDED=never, as in the image, rules the demo's embedded database out: "
            "set JOBCTL_EMBEDDED=auto for it"
        )


def prepare(settings: Settings) -> None:
    """Make the demo's folder, unless there is one already whose database is no demo's."""
    if settings.embedded_path.exists():
        refuse_others(settings)
    try:
        settings.jobctl_home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MisconfiguredError(
            f"{settings.jobctl_home} cannot be created ({error.strerror}): name another with --folder"
        ) from error


def create(settings: Settings) -> None:
    """Make the demo's database anew, and remove the mails of the last one."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        settings.embedded_path.with_name(f"jobctl.db{suffix}").unlink(missing_ok=True)
    for path in (settings.jobctl_home / "outbox").glob(f"{INSTALLATION}.*"):
        if OURS.fullmatch(path.name):
            path.unlink()
    migrating.upgrade(settings, INSTALLATION)
    with open_database(settings) as database, database.transaction() as connection:
        fill(connection)


def refuse_others(settings: Settings) -> None:
    check_embedded(settings)
    database = Database(settings, read_only=True, name="jobctl demo")
    try:
        with database.transaction() as connection:
            if is_a_demos(connection):
                return
    finally:
        database.close()
    raise MisconfiguredError(
        f"{settings.embedded_path} is no demo's database, the demo leaves it alone: name another --folder"
    )


def is_a_demos(connection: Connection) -> bool:
    """Tell by the installation's name, whatever the migration; what has no tables at all is nobody's."""
    if current_revision(connection) is None:
        return not inspect(connection).get_table_names()
    return installation_of(connection) == INSTALLATION


def fill(connection: Connection) -> None:
    now = clock(connection)
    names = ("name", "email", "locale", "time_zone")
    people = [
        {**dict(zip(names, each, strict=True)), "created_at": now - timedelta(days=90)} for each in PEOPLE
    ]
    connection.execute(insert(users), people)
    no_thanks = {"user_id": 4, "channel": "email", "category": "*", "accepted": False}
    connection.execute(insert(channel_preferences).values(no_thanks))
    queued = [{**each, "queued_at": now - timedelta(minutes=2)} for each in messages(now)]
    connection.execute(insert(notifications), queued)


def report(settings: Settings) -> None:
    ours = notifications.c
    query = select(
        ours.id,
        users.c.name,
        users.c.time_zone,
        ours.channel,
        ours.template,
        ours.status,
        ours.reason,
        ours.send_after,
    ).join(users, users.c.id == ours.user_id)
    with open_database(settings, read_only=True) as database, database.transaction() as connection:
        rows = connection.execute(query.order_by(ours.id)).all()
    header = ("id", "to", "time zone", "channel", "template", "status", "why")
    click.echo(table(header, [(*row[:-2], why(row)) for row in rows]))


def why(row: Any) -> str:
    if row.status == "queued" and row.send_after:
        return f"not before {row.send_after:%Y-%m-%d %H:%M}Z"
    return row.reason or ""


def suggest(folder: Path) -> None:
    # These, where they are set, would lead away from the demo.
    elsewhere = [f"{name}= " for name in ("DATABASE_URL", "JOBCTL_EMBEDDED") if os.environ.get(name)]
    prefix = f"{''.join(elsewhere)}JOBCTL_HOME={shlex.quote(str(folder))} {shlex.quote(sys.argv[0])}"
    click.echo(
        f"\nTry next:\n  {prefix} why notification-sender 10\n  {prefix} runs show 1\n"
        f"  {prefix} why session-payment-processor 2\n"
        f"  {prefix} findings show 1\n  {prefix} why autopayments 2"
    )
