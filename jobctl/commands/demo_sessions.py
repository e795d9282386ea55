"""The part of the demo that walks two sessions through their lives: one is paid, one never is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import click
from sqlalchemy import Connection, func, insert, select, update

from jobctl.commands.shared import table
from jobctl.db import clock, open_database
from jobctl.errors import Exit
from jobctl.money import Money
from jobctl.output import Output
from jobctl.registry import entry
from jobctl.runner import Invocation, run
from jobctl.sandbox import SECRET_KEY, Sandbox
from jobctl.settings import Settings
from jobctl.steps.running import Options, Stop
from jobctl.tables.journal import money_operations
from jobctl.tables.notifications import users
from jobctl.tables.sessions import attendees, orders, payment_methods, sessions

PAID, UNPAID = 1, 2
SESSIONS = (  # expert, customer, the customer's card, minutes until it starts, price
    (1, 3, "pm_card_visa", 10, Money(45_000, "MXN")),
    (2, 4, "pm_card_chargeDeclined", 50, Money(2_500, "USD")),
)


def walk(settings: Settings) -> None:
    """Let the jobs do their work around two sessions, with an imitation of Stripe in this process."""
    with open_database(settings) as database, database.transaction() as connection:
        book(connection, clock(connection))
    click.echo("\nTwo sessions are booked, and an imitation of Stripe takes the payments.\n")
    with Sandbox() as stripe:
        paying = replace(settings, stripe_api_base=stripe.url, stripe_secret_key=SECRET_KEY)
        start(paying, "upcoming-session-reminder")
        start(paying, "session-payment-authorizer")
        click.echo("\nAn hour later the first one is over, and both of its participants were there.\n")
        with open_database(settings) as database, database.transaction() as connection:
            hold_the_first(connection, clock(connection))
        start(paying, "session-attendance-analyzer")
        start(paying, "session-payment-processor")
        click.echo("\nThe second one's customer gives no other card in time.\n")
        start(paying, "unpaid-session-canceller")
    click.echo("\nWhat became of the sessions:\n")
    report(settings)


def start(settings: Settings, job: str) -> Exit:
    click.echo(f"$ jobctl {job}")
    return Exit(run(Invocation(entry(job), Options(), settings, Output(), Stop(settings.stop_grace))))


def book(connection: Connection, now: datetime) -> None:
    """Write what the marketplace's application would."""
    for number, (expert, customer, card, minutes, price) in enumerate(SESSIONS, 1):
        starts_at = now + timedelta(minutes=minutes)
        session = {
            "id": number,
            "expert_id": expert,
            "consumer_id": customer,
            "starts_at": starts_at,
            "ends_at": starts_at + timedelta(hours=1),
            "join_url": f"https://market.example/join/{number}",
            "created_at": now - timedelta(days=2),
        }
        method = {
            "id": number,
            "user_id": customer,
            "provider": "stripe",
            "provider_customer": f"cus_{customer}",
            "provider_method": card,
            "created_at": now - timedelta(days=30),
        }
        order = {
            "id": number,
            "session_id": number,
            "customer_id": customer,
            "payment_method_id": number,
            "amount_minor": price.minor,
            "currency": price.currency,
            "status": "complete",
            "created_at": now - timedelta(days=2),
        }
        for into, values in ((sessions, session), (payment_methods, method), (orders, order)):
            connection.execute(insert(into).values(values))


def hold_the_first(connection: Connection, now: datetime) -> None:
    """Move the first session into the past, with both participants in it."""
    over = now - timedelta(minutes=1)
    when = {"starts_at": over - timedelta(hours=1), "ends_at": over, "ended_at": over, "status": "ended"}
    connection.execute(update(sessions).where(sessions.c.id == PAID).values(when))
    for participant in SESSIONS[0][:2]:
        came = {"session_id": PAID, "user_id": participant, "joined_at": when["starts_at"]}
        connection.execute(insert(attendees).values(came))


def report(settings: Settings) -> None:
    with open_database(settings, read_only=True) as database, database.transaction() as connection:
        rows = list(lines(connection))
    header = ("id", "expert", "customer", "price", "session", "attendance", "payment", "asked of Stripe")
    click.echo(table(header, rows))


def lines(connection: Connection) -> Iterator[tuple[object, ...]]:
    expert, customer = users.alias("expert"), users.alias("customer")
    booked = (
        select(sessions, orders.c.amount_minor, orders.c.currency, orders.c.payment_status)
        .add_columns(expert.c.name.label("expert"), customer.c.name.label("customer"))
        .join(orders, orders.c.session_id == sessions.c.id)
        .join(expert, expert.c.id == sessions.c.expert_id)
        .join(customer, customer.c.id == sessions.c.consumer_id)
        .order_by(sessions.c.id)
    )
    for row in connection.execute(booked):
        made = select(func.group_concat(money_operations.c.kind + " " + money_operations.c.status, ", "))
        theirs = (money_operations.c.subject == "order") & (money_operations.c.subject_id == row.id)
        asked = connection.scalar(made.where(theirs))
        price = Money(row.amount_minor, row.currency)
        yield row.id, row.expert, row.customer, price, row.status, row.attendance, row.payment_status, asked
