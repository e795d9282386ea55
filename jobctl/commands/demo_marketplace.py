"""The part of the demo that is about escrow: paid though its provider was down, released, and never paid."""

from dataclasses import replace
from datetime import datetime, timedelta

import click
from sqlalchemy import Connection, func, insert, select, update

from jobctl.commands.demo_sessions import start
from jobctl.commands.shared import table
from jobctl.db import clock, open_database
from jobctl.money import Money
from jobctl.sandbox import PAYSTACK_SECRET_KEY, Sandbox
from jobctl.settings import Settings
from jobctl.tables.marketplace import requests, wallet_transactions, wallets
from jobctl.tables.notifications import users

PRICE = Money(2_500_000, "NGN")
# Who asks whom, how long ago, and by which payment; the second one never began any.
REQUESTS = ((3, 1, timedelta(hours=25), "demo-1"), (4, 2, timedelta(hours=49), None))


def walk(settings: Settings) -> None:
    """Let the jobs see to two requests, with an imitation of Paystack in this process."""
    with open_database(settings) as database, database.transaction() as connection:
        now = clock(connection)
        ask(connection, now)
    click.echo(
        "\nTwo people have asked for something; one has paid at Paystack, and nobody has told of it.\n"
    )
    with Sandbox() as paystack:
        paying = replace(settings, paystack_url=paystack.url, paystack_secret_key=PAYSTACK_SECRET_KEY)
        at = now - REQUESTS[0][2]
        paystack.pay("paystack", PRICE.minor, PRICE.currency, reference=REQUESTS[0][3], at=at)
        # So long a pause that no run waits for it.
        paystack.fault("http_429", seconds=600, times=1_000)
        code = start(paying, "payment-cleanup")
        click.echo(f"exit code {int(code)}: Paystack cannot be asked, so nothing is said of that payment.")
        click.echo("\nA little later it can.\n")
        paystack.clear_faults()
        change(settings, update(wallet_transactions).values(next_look_at=None))
        start(paying, "payment-cleanup")
    click.echo("\nThe work is done; its creator has no wallet yet.\n")
    done = {"status": "completed", "completed_at": func.coalesce(requests.c.paid_at, now)}
    change(settings, update(requests).where(requests.c.status == "in_progress").values(done))
    for job in ("wallet-creation", "escrow-release"):
        start(settings, job)
    click.echo("\nWhat became of the requests:\n")
    report(settings)


def change(settings: Settings, statement: object) -> None:
    with open_database(settings) as database, database.transaction() as connection:
        connection.execute(statement)  # type: ignore[call-overload] # an UPDATE of ours


def ask(connection: Connection, now: datetime) -> None:
    """Write what the marketplace's application would: requests, a payment, and who is verified."""
    creators = [creator for _, creator, _, _ in REQUESTS]
    connection.execute(update(users).where(users.c.id.in_(creators)).values(verified_at=now))
    price = {"amount_minor": PRICE.minor, "currency": PRICE.currency}
    for number, (user, creator, age, reference) in enumerate(REQUESTS, 1):
        of = {"user_id": user, "created_at": now - age, **price}
        connection.execute(insert(requests).values(id=number, creator_id=creator, **of))
        if reference:
            held = {"request_id": number, "provider": "paystack", "escrow_status": "pending"}
            connection.execute(insert(wallet_transactions).values(reference=reference, **held, **of))


def report(settings: Settings) -> None:
    fans, creators = users.alias("fans"), users.alias("creators")
    ours, asked, wallet = wallet_transactions.c, requests.c, wallets.c
    query = (
        select(asked.id, fans.c.name, creators.c.name, asked.status, ours.escrow_status, wallet.balance_minor)
        .join_from(requests, fans, fans.c.id == asked.user_id)
        .join(creators, creators.c.id == asked.creator_id)
        .join(wallet_transactions, ours.request_id == asked.id)
        .outerjoin(wallets, (wallet.user_id == asked.creator_id) & (wallet.currency == asked.currency))
        .order_by(asked.id)
    )
    with open_database(settings, read_only=True) as database, database.transaction() as connection:
        rows = [(*row[:-1], in_wallet(row.balance_minor)) for row in connection.execute(query)]
    click.echo(table(("id", "who asks", "whom", "request", "escrow", "the creator's wallet"), rows))


def in_wallet(minor: int | None) -> str:
    return "-" if minor is None else str(Money(minor, PRICE.currency))
