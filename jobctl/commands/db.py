"""`jobctl db`: create, upgrade and check the database."""

import click

from jobctl import migrating
from jobctl.commands.shared import loaded
from jobctl.db import Database, check_embedded, current_revision, open_database
from jobctl.output import to_json


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


@db.command()
def current() -> None:
    """Print the migration that the database is at."""
    settings = loaded().settings
    if not settings.database_url:
        check_embedded(settings)
    database = Database(settings, read_only=True, name="jobctl db current")
    try:
        with database.transaction() as connection:
            click.echo(current_revision(connection) or "none")
    finally:
        database.close()


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(*, as_json: bool) -> None:
    """Tell whether the database can be reached and is at the right migration: exit 0, 69 or 78."""
    with open_database(loaded().settings, read_only=True) as database:
        kind = database.engine.dialect.name
        found = {"database": kind, "installation": database.installation, "ok": True}
    click.echo(
        to_json(found)
        if as_json
        else f"The {kind} database of installation {found['installation']} is ready."
    )
