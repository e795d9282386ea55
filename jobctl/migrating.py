"""Bringing the database to the schema that this code needs, through Alembic."""

import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.schema import CreateSchema

from jobctl import db, logs
from jobctl.errors import LockHeldError, MisconfiguredError, UnreachableError
from jobctl.locks import FileLocks, wait_for
from jobctl.settings import Settings
from jobctl.tables.frame import installation

UPGRADE_LOCK = zlib.crc32(b"jobctl db upgrade")
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
TRIES, PAUSE = 10, 1.0  # seconds between
BRIEFLY = 2  # seconds to wait for a table that others have locked
# The first halves of the keys of the locks up to migration 0008, "jobj" and "jobr" in ASCII.
FORMER_KEYS = (0x6A6F626A, 0x6A6F6272)
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
    with db.translated(settings):
        for left in reversed(range(TRIES)):
            try:
                return once(settings, name)
            except DBAPIError as error:
                if not db.gave_up_waiting(error):
                    raise
                if not left:
                    said = f"a table is in use by others ({db.first_line(error.orig or error)})"
                    raise UnreachableError(f"{said}: nothing was changed, run it again") from error
                logs.complain("a table is in use by others: trying again")
            time.sleep(PAUSE)
    raise AssertionError("the last try returns, or raises")


def once(settings: Settings, name: str | None) -> tuple[str | None, str]:
    with exclusive(settings) as connection:
        if connection.dialect.name == "postgresql":
            refuse_old_postgres(connection)
            make_schema(connection, settings)
        before = db.current_revision(connection)
        if before is not None and before < "0009" and connection.dialect.name == "postgresql":
            refuse_former_runs(connection)
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
            ours = select(func.pg_try_advisory_xact_lock(UPGRADE_LOCK))
            await_others(lambda: bool(connection.scalar(ours)))
            # Whoever wants to read a table that we wait for waits behind us.
            connection.execute(text(f"SET LOCAL lock_timeout = '{BRIEFLY}s'"))
            yield connection
        return
    with FileLocks(settings.embedded_path) as locks:
        await_others(lambda: locks.take("upgrade", share=False))
        plain = engine.raw_connection()
        # Readers and one writer at once; the file remembers it. No transaction may be open.
        plain.cursor().execute("PRAGMA journal_mode = WAL")
        plain.close()
        with engine.begin() as connection:
            yield connection


def await_others(take: Callable[[], bool]) -> None:
    """Wait for another upgrade, and say so; raises LockHeldError where that takes too long."""
    if take():
        return
    logs.complain("another upgrade is at work: waiting for it")
    if not wait_for(take, PATIENCE, waiting):
        raise LockHeldError(f"another upgrade is still at work after {PATIENCE:.0f} s; nothing was changed")


def waiting(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def refuse_former_runs(connection: Connection) -> None:
    """Raise LockHeldError where a run of an earlier version is at work: its locks exclude none of ours."""
    database = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    granted = f"locktype = 'advisory' AND granted AND objsubid = 2 AND {database}"
    held = f"SELECT DISTINCT pid FROM pg_locks WHERE {granted} AND classid::bigint IN (:jobs, :runs)"  # noqa: S608
    jobs, runs = FORMER_KEYS
    pids = connection.scalars(text(held), {"jobs": jobs, "runs": runs}).all()
    if pids:
        named = ", ".join(map(str, sorted(pids)))
        raise LockHeldError(
            f"runs of an earlier version are at work in this database (its processes {named} hold their "
            "locks): let them end, start no others, and upgrade then; nothing was changed"
        )


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
