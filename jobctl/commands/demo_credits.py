"""The part of the demo that is about credits: a month's free ones, and paid ones that expire."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy import Connection, insert, select

from jobctl.commands.demo_sessions import start
from jobctl.commands.shared import table
from jobctl.db import clock, open_database
from jobctl.settings import Settings
from jobctl.tables.credits import credit_balances, credit_transactions, professionals
from jobctl.tables.notifications import users

# Who, how they are verified, and their free credits; the last one has no balance yet.
PROFESSIONALS = ((1, "basic", 30), (2, "comprehensive", 120), (4, "basic", None))
# Of the first one: how many were bought, how many are left, and in how many days they expire.
LOTS = ((40, 25, -1), (60, 60, 3))
JOBS = ("monthly-credits-reset", "credit-expiry", "credit-expiry-warning")


def walk(settings: Settings) -> None:
    """Let the jobs see to the credits of three professionals."""
    with open_database(settings) as database, database.transaction() as connection:
        fill(connection, clock(connection))
    click.echo("\nThree professionals have credits: 30 and 120 free ones are left of last month's.\n")
    for job in JOBS:
        start(settings, job)
    click.echo("\nWhat became of the credits:\n")
    report(settings)


def fill(connection: Connection, now: datetime) -> None:
    """Write what the marketplace's application would."""
    then = now - timedelta(days=90)
    for number, (user, status, free) in enumerate(PROFESSIONALS, 1):
        pro = {"id": number, "user_id": user, "verification_status": status, "created_at": then}
        connection.execute(insert(professionals).values(pro))
        if free is not None:
            paid = sum(left for _, left, _ in LOTS) if number == 1 else 0
            has = {"professional_id": number, "free_credits": free, "paid_credits": paid, "created_at": then}
            connection.execute(insert(credit_balances).values(has))
    connection.execute(insert(credit_transactions), list(bought(now)))


def bought(now: datetime) -> Iterator[dict[str, Any]]:
    """Yield the lots, and what was spent of them."""
    at = {"professional_id": 1, "credit_type": "paid", "free_before": 30, "free_after": 30}
    has = 0
    for amount, left, days in LOTS:
        of = {**at, "created_at": now - timedelta(days=80), "paid_before": has, "paid_after": has + amount}
        lot = {"remaining_amount": left, "expires_at": now + timedelta(days=days)}
        yield {**of, **lot, "type": "purchase", "amount": amount}
        has += amount
    spent = has - sum(left for _, left, _ in LOTS)
    gone = {"paid_before": has, "paid_after": has - spent, "remaining_amount": None, "expires_at": None}
    yield {**at, **gone, "type": "spend", "amount": -spent, "created_at": now - timedelta(days=10)}


def report(settings: Settings) -> None:
    ours, who = credit_transactions.c, professionals.c
    columns = (ours.id, users.c.name, ours.type, ours.amount, ours.free_after, ours.paid_after)
    query = (
        select(*columns)
        .join_from(credit_transactions, professionals, who.id == ours.professional_id)
        .join(users, users.c.id == who.user_id)
        .order_by(ours.id)
    )
    with open_database(settings, read_only=True) as database, database.transaction() as connection:
        rows = [tuple(each) for each in connection.execute(query)]
    click.echo(table(("id", "of", "what", "credits", "free then", "paid then"), rows))
