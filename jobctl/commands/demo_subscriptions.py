"""The part of the demo that is about subscriptions: renewed, declined, lost, nobody's, expired."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import click
from sqlalchemy import Connection, insert, select

from jobctl.commands.demo_sessions import start
from jobctl.commands.shared import table
from jobctl.db import clock, open_database
from jobctl.money import Money
from jobctl.sandbox import YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID, Sandbox
from jobctl.settings import Settings
from jobctl.tables.notifications import users
from jobctl.tables.subscriptions import payments, plans, prices, subscription_periods, subscriptions

MONTH = timedelta(days=31)
PRICE = Money(50_000, "RUB")
# Who subscribed, the saved method, how long ago the last period ended, and whether it is to be charged.
SUBSCRIBERS = (
    (3, "pm_yk_ok", timedelta(hours=1), True),
    (4, "pm_yk_insufficient_funds", timedelta(hours=1), True),
    (6, None, timedelta(days=5), False),
)
LOST = 2  # who paid, and whose webhook never came


def walk(settings: Settings) -> None:
    """Let the jobs see to three subscriptions and two payments, with an imitation of YooKassa."""
    with open_database(settings) as database, database.transaction() as connection:
        now = clock(connection)
        subscribe(connection, now)
    click.echo(
        "\nThree people have a subscription that has ended; an imitation of YooKassa takes the payments.\n"
    )
    with Sandbox() as yookassa:
        paying = replace(
            settings,
            yookassa_api_base=yookassa.url,
            yookassa_shop_id=YOOKASSA_SHOP_ID,
            yookassa_secret_key=YOOKASSA_SECRET_KEY,
        )
        start(paying, "autopayments")
        click.echo("\nTwo payments were made at YooKassa itself, and the application heard of neither.\n")
        pay(yookassa, now)
        start(paying, "matching-successful-payments")
        click.echo("\nWhat nobody paid for in its grace period ends.\n")
        start(paying, "expire-subscriptions")
    click.echo("\nWhat became of the subscriptions:\n")
    report(settings)


def subscribe(connection: Connection, now: datetime) -> None:
    """Write what the marketplace's application would: a plan, and who has paid for it until when."""
    long_ago = now - timedelta(days=300)
    plan = {"id": 1, "name": "Gold", "unit": "month", "recurring": True, "created_at": long_ago}
    price = {"plan_id": 1, "currency": PRICE.currency, "amount_minor": PRICE.minor, "valid_from": long_ago}
    connection.execute(insert(plans).values(plan))
    connection.execute(insert(prices).values(price))
    for number, (user, method, ago, charged) in enumerate(SUBSCRIBERS, 1):
        end, begin = now - ago, now - ago - MONTH
        whose = {"user_id": user, "plan_id": 1, "currency": PRICE.currency, "created_at": begin}
        midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
        days = {"started_at": begin, "ended_at": end, "billing_anchor_day": begin.day}
        next_charge = {"next_charge_at": midnight if charged else None}
        paid = {"status": "succeeded", "paid_at": begin, "confirmed_at": begin, "amount_minor": PRICE.minor}
        by = {"provider": "yookassa", "provider_payment_id": f"first-{number}", "provider_method": method}
        of = {"subscription_id": number, "payment_id": number}
        period = {"period_start": begin, "period_end": end, "created_at": begin}
        for into, values in (
            (subscriptions, {"id": number, **whose, **days, **next_charge}),
            (payments, {"id": number, "subscription_id": number, **whose, **paid, **by}),
            (subscription_periods, {**of, **period}),
        ):
            connection.execute(insert(into).values(values))


def pay(yookassa: Sandbox, now: datetime) -> None:
    """Make a payment whose metadata tells what it was for, and one that doesn't say who paid."""
    said = {"user_id": str(LOST), "plan_id": "1", "payment_provider_id": "yookassa"}
    for amount, metadata in ((PRICE, said), (Money(99_000, "RUB"), {"plan_id": "1"})):
        yookassa.pay("yookassa", amount.minor, amount.currency, metadata, at=now - timedelta(minutes=5))


def report(settings: Settings) -> None:
    with open_database(settings, read_only=True) as database, database.transaction() as connection:
        rows = list(lines(connection))
    click.echo(table(("id", "subscriber", "plan", "paid until", "status", "last payment"), rows))


def lines(connection: Connection) -> Iterator[tuple[object, ...]]:
    ours = subscriptions.c
    last = (
        select(payments.c.status)
        .where(payments.c.subscription_id == ours.id)
        .order_by(payments.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(
            ours.id, users.c.name, plans.c.name.label("plan"), ours.ended_at, ours.status, last.label("last")
        )
        .join(users, users.c.id == ours.user_id)
        .join(plans, plans.c.id == ours.plan_id)
        .order_by(ours.id)
    )
    for row in connection.execute(query):
        yield row.id, row.name, row.plan, f"{row.ended_at:%Y-%m-%d}", row.status, row.last
