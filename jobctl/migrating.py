"""Bringing the database to the schema that this code needs, through Alembic."""

import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from jobctl import db
from jobctl.errors import MisconfiguredError
from jobctl.locks import FileLocks, wait_for
from jobctl.settings import Settings
from jobctl.tables.frame import installation

UPGRADE_LOCK = zlib.crc32(b"jobctl db upgrade")
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
PATIENCE = 60.0  # seconds; another pod's upgrade may take its time
KEY_LENGTH = 8
IN_THE_WAY = ("already exists", "no schema has been selected")
OF_ITS_OWN = (
    "give jobctl a database of its own, or a schema (CREATE SCHEMA jobctl, then "
    "?options=-csearch_path%3Djobctl at the end of DATABASE_URL)"
)


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
    if settings.jobctl_embedded == "never":
        db.check_embedded(settings)
    if not settings.jobctl_home.is_dir():
        raise MisconfiguredError(db.no_home(settings))


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
        if not any(hint in said for hint in IN_THE_WAY):
            raise
        raise MisconfiguredError(f"{said}: {OF_ITS_OWN}; nothing was changed") from error
