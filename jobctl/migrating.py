"""Bringing the database to the schema that this code needs, through Alembic."""

import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.schema import CreateSchema

from jobctl import db
from jobctl.errors import MisconfiguredError
from jobctl.locks import FileLocks, wait_for
from jobctl.settings import Settings
from jobctl.tables.frame import installation

UPGRADE_LOCK = zlib.crc32(b"jobctl db upgrade")
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
PATIENCE = 60.0  # seconds; another pod's upgrade may take its time
KEY_LENGTH = 8
# A table or an index by the same name is there already; there is no schema to make them in.
IN_THE_WAY = ("42P07", "42710", "3F000")
OF_ITS_OWN = {
    "postgresql": "give jobctl a database of its own, or a schema: DATABASE_SCHEMA=jobctl",
    "sqlite": "set JOBCTL_HOME to a folder of jobctl's own",
}


def migrations() -> Path:
    """Return the folder of migrations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    shipped = package / "migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


def upgrade(settings: Settings, name: str | None = None) -> tuple[str | None, str]:
    """Bring the database to the newest schema; return the migration before and after.

    Creates the embedded database where there is none. A new database becomes the installation `name`,
    by default a random one.

    Safe to run in several places at once: one does the work, the others wait for it.
    """
    if not settings.database_url:
        prepare_embedded(settings)
    with db.translated(settings), exclusive(settings) as connection:
        if connection.dialect.name == "postgresql":
            refuse_old_postgres(connection)
            make_schema(connection, settings)
        before = db.current_revision(connection)
        if before is not None and before > db.SCHEMA:
            raise MisconfiguredError(db.wrong_schema(before))
        if before != db.SCHEMA:
            migrate(connection)
        if before is None:
            connection.execute(insert(installation).values(id=name or random_name()))
    return before, db.SCHEMA


def random_name() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(KEY_LENGTH))


def prepare_embedded(settings: Settings) -> None:
    if settings.jobctl_embedded == "never" and not settings.database_file:
        db.check_embedded(settings)
    if not settings.embedded_path.parent.is_dir():
        raise MisconfiguredError(db.no_home(settings))
    if settings.embedded_path.exists():
        db.check_embedded(settings)
        refuse_others(settings)


def refuse_others(settings: Settings) -> None:
    """Raise MisconfiguredError, before anything is written, where the file is of another program."""
    from jobctl.tables.every import metadata  # noqa: PLC0415 (only where the file is there already)

    database = db.Database(settings, read_only=True, name="jobctl db upgrade")
    try:
        with database.transaction() as connection:
            if db.current_revision(connection) is not None:
                return
            theirs = sorted(set(metadata.tables).intersection(inspect(connection).get_table_names()))
    finally:
        database.close()
    if theirs:
        there = f"{settings.embedded_path.absolute()} has tables of another program ({', '.join(theirs)})"
        raise MisconfiguredError(f"{there}: {OF_ITS_OWN['sqlite']}; nothing was changed")


@contextmanager
def exclusive(settings: Settings) -> Iterator[Connection]:
    """Open a transaction that no other upgrade can be in at the same time."""
    engine = db.engine(settings, create=True, name="jobctl db upgrade")
    if settings.database_url:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
            yield connection
        return
    with FileLocks(settings.embedded_path) as locks:
        wait_for(lambda: locks.take("upgrade", share=False), PATIENCE, waiting)
        plain = engine.raw_connection()
        # Readers and one writer at once; the file remembers it. No transaction may be open.
        plain.cursor().execute("PRAGMA journal_mode = WAL")
        plain.close()
        with engine.begin() as connection:
            yield connection


def waiting(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def refuse_old_postgres(connection: Connection) -> None:
    version = int(connection.scalar(text("SHOW server_version_num")) or 0)
    if version < db.OLDEST_POSTGRES:
        raise MisconfiguredError(f"this is PostgreSQL {version // 10000}; jobctl needs 14 or newer")


def make_schema(connection: Connection, settings: Settings) -> None:
    """Make the schema that DATABASE_SCHEMA names, where there is none."""
    schema = settings.database_schema
    if schema and not connection.dialect.has_schema(connection, schema):
        connection.execute(CreateSchema(schema))


def in_the_way(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state in IN_THE_WAY if state else "already exists" in str(error.orig)  # SQLite has no other word


def migrate(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 (no job pays for it)
    from alembic.config import Config  # noqa: PLC0415 (the same)

    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except (ProgrammingError, OperationalError) as error:
        said = db.first_line(error.orig or error)
        if not in_the_way(error):
            raise
        advice = OF_ITS_OWN[connection.dialect.name]
        raise MisconfiguredError(f"{said}: {advice}; nothing was changed") from error
