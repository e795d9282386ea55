"""`jobctl operations`: the journal of money operations, as it stands."""

import re

import click
from sqlalchemy import String, cast, select

from jobctl.commands.shared import NUMBER, Text, as_json, loaded, show
from jobctl.db import open_database
from jobctl.tables.journal import money_operations

NAMES = (
    "id",
    "subject",
    "kind",
    "cycle",
    "attempt",
    "provider",
    "amount_minor",
    "currency",
    "payment_id",
    "status",
    "code",
    "first_sent_at",
    "answer_by",
)


def subject(written: str) -> tuple[str, int]:
    """Read what is paid, as the list has it: its name and number."""
    found = re.fullmatch(r"([a-z]+)-([1-9][0-9]{0,17})", written)
    if not found:
        raise ValueError("what is paid, such as order-17")
    return found[1], int(found[2])


@click.group()
def operations() -> None:
    """List money operations: what was asked of providers, and what became of it."""


@operations.command(name="list")
@click.option("--open", "unsettled", is_flag=True, help="Those that are not settled yet.")
@click.option("--subject", "what", type=Text(subject, "subject"), help="Those on this: order-17.")
@click.option("--limit", type=NUMBER, default=50, show_default=True, help="Newest so many.")
@as_json
def list_(*, unsettled: bool, what: tuple[str, int] | None, limit: int, as_json: bool) -> None:
    """List money operations, newest first."""
    ours = money_operations.c
    columns = {name: ours[name] for name in NAMES}
    named = (ours.subject + "-" + cast(ours.subject_id, String)).label("subject")
    query = select(*(columns | {"subject": named}).values()).order_by(ours.id.desc()).limit(limit)
    query = query.where(ours.settled_at.is_(None)) if unsettled else query
    query = query.where(ours.subject == what[0], ours.subject_id == what[1]) if what else query
    with open_database(loaded().settings, read_only=True) as database, database.transaction() as connection:
        rows = connection.execute(query).all()
    none = "Nothing is unsettled." if unsettled else "There are no such operations."
    show(NAMES, [tuple(row) for row in rows], json=as_json, empty=none)
