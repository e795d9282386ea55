"""`jobctl credentials`: what providers' access tokens are asked for with."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from jobctl import changes, parsing
from jobctl.changes import Author
from jobctl.commands.by_hand import recorded
from jobctl.commands.shared import Text, as_json, loaded, show
from jobctl.db import open_database
from jobctl.errors import MisconfiguredError, UsageError
from jobctl.sealing import PREFIX, SealedError, new_key, seal, unseal
from jobctl.tables.marketplace import CREDENTIAL_PROVIDERS, provider_credentials

ours = provider_credentials.c
LISTED = ("id", "provider", "name", "client_id", "active", "token_expires_at", "refused_at", "updated_at")
PRINTABLE = Text(parsing.printable, "text")
SECRETS = ("client_secret", "access_token")


@click.group()
def credentials() -> None:
    """Keep what providers' access tokens are asked for with, encrypted.

    With JOBCTL_SECRET_KEY set, secrets and tokens are encrypted in the database; no command shows them.
    """


@credentials.command(name="list")
@as_json
def list_(*, as_json: bool) -> None:
    """List the credentials, without their secrets."""
    sealed = ours.client_secret.startswith(PREFIX, autoescape=True).label("encrypted")
    query = select(*(ours[name] for name in LISTED), sealed).order_by(ours.id)
    with open_database(loaded().settings) as database, database.transaction() as connection:
        rows = [(*tuple(row[:-1]), bool(row[-1])) for row in connection.execute(query)]
    show([*LISTED, "encrypted"], rows, json=as_json, empty="No credentials.")


@credentials.command()
@click.argument("name", type=PRINTABLE)
@click.option("--provider", type=click.Choice(CREDENTIAL_PROVIDERS), default=CREDENTIAL_PROVIDERS[0])
@click.option("--client-id", required=True, type=PRINTABLE, help="What the provider calls the client.")
def add(name: str, *, provider: str, client_id: str) -> None:
    """Add credentials, or change those of that NAME; the client's secret is read from standard input."""
    secret = asked_for()
    keys = loaded().settings.jobctl_secret_key

    def work(connection: Connection, author: Author, now: datetime) -> int:
        known = connection.execute(select(ours.id).where(ours.name == name)).first()
        values: dict[str, Any] = {"client_id": client_id, "client_secret": seal(keys, secret)}
        values |= {"updated_at": now, "provider": provider}
        if known is not None:
            changes.update_each(connection, provider_credentials, {known.id: values}, None, author)
        else:
            fresh = {**values, "name": name, "created_at": now}
            changes.add_row(connection, provider_credentials, fresh, (), author)
        return 1

    try:
        recorded("credentials add", {"name": name, "provider": provider}, "added or changed", work)
    except IntegrityError as error:
        raise UsageError(f"somebody else adds credentials of that name at the moment: {name}") from error
    click.echo(f"The credentials {name} are {'encrypted' if keys else 'stored, not encrypted'}.")


def asked_for() -> str:
    """Read the secret: without an echo from a terminal, else the first line of standard input."""
    secret = click.prompt("Client secret", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    try:
        return parsing.printable(secret.rstrip("\r\n"))
    except ValueError as error:
        raise UsageError("the client's secret is read from standard input, and there is none") from error


@credentials.command()
def rotate() -> None:
    """Encrypt all secrets and tokens anew, with the first of the keys in JOBCTL_SECRET_KEY."""
    keys = loaded().settings.jobctl_secret_key
    if not keys:
        raise MisconfiguredError("JOBCTL_SECRET_KEY is not set: `jobctl credentials key` makes a key")

    def work(connection: Connection, author: Author, _: datetime) -> int:
        query = select(ours.id, *(ours[name] for name in SECRETS)).with_for_update()
        rows = connection.execute(query).mappings().all()
        for row in rows:
            anew = {name: seal(keys, opened(keys, row, name)) for name in SECRETS if row[name] is not None}
            changes.update_each(connection, provider_credentials, {row["id"]: anew}, None, author)
        return len(rows)

    count = recorded("credentials rotate", {}, "encrypted anew", work)
    click.echo(f"{count} encrypted anew with the first key.")


def opened(keys: tuple[str, ...], row: Mapping[Any, Any], name: str) -> str:
    try:
        return unseal(keys, row[name])
    except SealedError as error:
        raise MisconfiguredError(f"the {name} of credentials {row['id']} cannot be read: {error}") from error


@credentials.command()
def key() -> None:
    """Make a key for JOBCTL_SECRET_KEY; it is printed, and kept nowhere."""
    click.echo(new_key())
