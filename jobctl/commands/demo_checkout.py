"""The part of the demo that is about checkout sessions: one is paid, one still open, one nobody knows."""

from dataclasses import replace
from datetime import timedelta

import click
from sqlalchemy import insert, select

from jobctl.commands.demo_sessions import start
from jobctl.commands.shared import table
from jobctl.db import clock, open_database
from jobctl.sandbox import BILLING_KEY, Sandbox
from jobctl.settings import Settings
from jobctl.tables.checkout import checkout_session

SESSIONS = (("abc123", "checkout_xyz789"), ("def456", "checkout_abc123"), ("ghi789", "checkout_unknown"))


def walk(settings: Settings) -> None:
    """Let the monitor ask about three sessions, with an imitation of the billing service in this process."""
    with open_database(settings) as database, database.transaction() as connection:
        opened = clock(connection) - timedelta(minutes=2)
        rows = [{"id": each, "billing_checkout_id": number, "opened_at": opened} for each, number in SESSIONS]
        connection.execute(insert(checkout_session), rows)
    click.echo("\nThree checkout sessions are open; the customer of one has just paid.\n")
    with Sandbox() as billing:
        billing.checkout(SESSIONS[0][1], "success")
        billing.checkout(SESSIONS[1][1])
        asking = {"billing_base_url": billing.url, "apikey": BILLING_KEY, "checkout_update_status": True}
        start(replace(settings, **asking), "checkout-session-monitor")  # type: ignore[arg-type] # three settings
    click.echo("\nWhat became of them:\n")
    ours = checkout_session.c
    query = select(ours.id, ours.status, ours.closed_at).order_by(ours.id)
    with open_database(settings, read_only=True) as database, database.transaction() as connection:
        rows_now = [tuple(each) for each in connection.execute(query)]
    click.echo(table(("id", "status", "closed at"), rows_now))
