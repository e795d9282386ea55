"""`jobctl db`: create, upgrade and check the database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from sqlalchemy import Connection

from jobctl import migrating
from jobctl.checks.comparing import Lack
from jobctl.checks.ready import all_lacks
from jobctl.commands.shared import as_json, loaded
from jobctl.db import (
    SCHEMA,
    Database,
    check_embedded,
    current_revision,
    installation_of,
    wrong_schema,
)
from jobctl.errors import Exit, MisconfiguredError
from jobctl.output import legible, to_json
from jobctl.settings import Settings


@click.group()
def db() -> None:
    """Create, upgrade and check the database."""


@db.command()
def upgrade() -> None:
    """Bring the database to the schema that this jobctl needs.

    Creates the embedded database where there is none. Safe to run in several places at once.
    """
    settings = loaded().settings
    before, after = migrating.upgrade(settings)
    where = "PostgreSQL" if settings.database_url else str(settings.embedded_path.absolute())
    if before == after:
        click.echo(f"The database ({where}) is at migration {after} already; nothing was done.")
    else:
        click.echo(f"The database ({where}) was brought from {before or 'nothing'} to migration {after}.")


@contextmanager
def reading(settings: Settings, name: str) -> Iterator[Connection]:
    """Open the database to read it, whatever it is like."""
    if not settings.database_url:
        check_embedded(settings)
    database = Database(settings, read_only=True, name=name)
    try:
        with database.transaction() as connection:
            yield connection
    finally:
        database.close()


@db.command()
def current() -> None:
    """Print the migration that the database is at."""
    with reading(loaded().settings, "jobctl db current") as connection:
        click.echo(current_revision(connection) or "none")


@db.command()
@as_json
def check(*, as_json: bool) -> int:
    """Tell whether the database has all that jobctl relies on: exit code 0, 69 or 78.

    It can be reached and is at the right migration; the tables have their columns, constraints, indexes and
    triggers; jobctl's role has its rights on them; what numbers new rows is not behind them. Each line says
    what is wrong and which statement mends it; one that begins with a dash is a hint, and leaves the exit
    code at 0. What an application has added to the tables is no fault. Nothing is written.
    """
    with reading(loaded().settings, "jobctl db check") as connection:
        if (revision := current_revision(connection)) != SCHEMA:
            raise MisconfiguredError(wrong_schema(revision, connection))
        found, kind = all_lacks(connection), connection.dialect.name
        grave = any(each.grave for each in found)
        installation = None if grave else installation_of(connection)
    if as_json:
        parts: dict[str, list[dict[str, str]]] = {"problems": [], "hints": []}
        for each in found:
            parts["problems" if each.grave else "hints"].append(each.told())
        click.echo(to_json({"database": kind, "installation": installation, "ok": not grave, **parts}))
    else:
        tell(found, kind, installation)
    return Exit.MISCONFIGURED if grave else Exit.DONE


def tell(found: Sequence[Lack], kind: str, installation: str | None) -> None:
    for each in found:
        click.echo(f"{'✗' if each.grave else '-'} {legible(str(each))}")
    if installation is None:
        click.echo(f"The {kind} database is not ready.")
    else:
        click.echo(f"The {kind} database of installation {installation} is ready.")
