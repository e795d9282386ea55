"""The database: one connection, the differences of SQLite and PostgreSQL, the database's clock.

The only raw SQL of the product is here and in the locks.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    FromClause,
    Insert,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    column,
    create_engine,
    event,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from jobctl import private
from jobctl.errors import JobctlError, MisconfiguredError, UnreachableError
from jobctl.settings import Settings
from jobctl.tables.types import FIXED_WIDTH, Instant, Json

SCHEMA = "0010"  # the newest migration, which this code was written for
VERSION_TABLE = "jobctl_version"  # Alembic's, by a name of our own: the application may use Alembic too
OLDEST_POSTGRES = 140000
BUSY_TIMEOUT = 10  # seconds
LARGEST = 2**63  # beyond which no column has a whole number
UPGRADE = "run `jobctl db upgrade`"


class Database:
    """One connection to the database, opened at once and checked by `open_database`."""

    def __init__(self, settings: Settings, *, read_only: bool, name: str) -> None:
        self.settings, self.read_only = settings, read_only
        self.engine = engine(settings, read_only=read_only, name=name)
        with translated(settings):
            self.connection = self.engine.connect()
        self.installation = ""

    @property
    def embedded(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit what the block wrote, or nothing of it; errors of the connection come as our own."""
        with translated(self.settings), self.connection.begin():
            yield self.connection

    def now(self) -> datetime:
        with self.transaction() as connection:
            return clock(connection)

    def close(self) -> None:
        # What is broken needs no closing.
        with suppress(Exception):
            self.connection.close()


@contextmanager
def open_database(settings: Settings, *, read_only: bool = False, name: str = "jobctl") -> Iterator[Database]:
    """Open the database that the settings name; refuse one that is missing, empty, outdated or too new.

    read_only: nothing can be written through it, and all reads see one snapshot.
    """
    if not settings.database_url:
        check_embedded(settings)
    database = Database(settings, read_only=read_only, name=name)
    try:
        with database.transaction() as connection:
            revision = current_revision(connection)
            if revision != SCHEMA:
                raise MisconfiguredError(wrong_schema(revision, connection))
            database.installation = installation_of(connection)
        yield database
    finally:
        database.close()


def check_embedded(settings: Settings) -> None:
    if settings.jobctl_embedded == "never" and not settings.database_file:
        raise MisconfiguredError(
            "DATABASE_URL is not set, and JOBCTL_EMBEDDED=never rules the embedded database out: "
            "set DATABASE_URL, for example postgresql://user:password@host/database"
        )
    if not settings.embedded_path.parent.is_dir():
        raise MisconfiguredError(no_home(settings))
    if settings.embedded_path.is_dir():
        raise MisconfiguredError(
            f"{settings.embedded_path.absolute()} is a folder, not a database: remove it"
        )
    if not settings.embedded_path.exists():
        raise MisconfiguredError(
            f"there is no database at {settings.embedded_path.absolute()}: {UPGRADE} to create it there, "
            f"{'' if settings.database_file else 'set JOBCTL_HOME to the folder that holds it, '}"
            f"or set {'another ' if settings.database_file else ''}DATABASE_URL"
        )


def no_home(settings: Settings) -> str:
    named = "DATABASE_URL's folder" if settings.database_file else "JOBCTL_HOME"
    return f"{named} {settings.embedded_path.parent.absolute()} is no folder: create it, or set another"


def wrong_schema(revision: str | None, connection: Connection | None = None) -> str:
    if revision is None:
        elsewhere = tables_elsewhere(connection) if connection else ""
        return f"the database has no jobctl tables{elsewhere or f': {UPGRADE}'}"
    if revision.isdigit() and revision < SCHEMA:
        return f"the database is at migration {revision}, this jobctl needs {SCHEMA}: {UPGRADE}"
    return (
        f"the database is at migration {revision}, newer than the {SCHEMA} that this jobctl knows: "
        "deploy the newer jobctl"
    )


def tables_elsewhere(connection: Connection) -> str:
    """Say where in a PostgreSQL database there are some, whether or not our role may look into it."""
    if connection.dialect.name != "postgresql":
        return ""
    there = (
        "SELECT quote_ident(n.nspname), has_schema_privilege(n.oid, 'USAGE'), quote_ident(current_user) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = :name "
        "ORDER BY n.nspname"
    )
    found = connection.execute(text(there), {"name": VERSION_TABLE}).first()
    if not found:
        return ""
    schema, allowed, role = found
    if not allowed:
        return f" that its role may see: GRANT USAGE ON SCHEMA {schema} TO {role}"
    return f" in its schema, and schema {schema} has some: set DATABASE_SCHEMA={schema}, or {UPGRADE}"


def current_revision(connection: Connection) -> str | None:
    """Return the migration that the database is at, None where it has none of our tables."""
    exists = (
        "SELECT to_regclass(:name) IS NOT NULL"
        if connection.dialect.name == "postgresql"
        else "SELECT count(*) FROM sqlite_master WHERE name = :name"
    )
    if not connection.scalar(text(exists), {"name": VERSION_TABLE}):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM jobctl_version"))
    return revision


def installation_of(connection: Connection) -> str:
    return str(connection.scalar(text("SELECT id FROM installation")))


def engine(
    settings: Settings, *, read_only: bool = False, create: bool = False, name: str = "jobctl"
) -> Engine:
    if settings.database_url:
        return postgres_engine(settings, read_only=read_only, name=name)
    return sqlite_engine(settings.embedded_path, read_only=read_only, create=create)


def postgres_engine(settings: Settings, *, read_only: bool, name: str) -> Engine:
    from jobctl import session  # noqa: PLC0415 (no start on SQLite pays for it)

    url, schema = str(settings.database_url), settings.database_schema

    def connect() -> session.Session:
        made = session.connect(url, variable="DATABASE_URL", name=name, schema=schema)
        made.autocommit = False
        return made

    def begin(connection: Connection) -> None:
        made: Any = connection.connection.dbapi_connection
        if made.shared:
            made.settle(local=True)

    isolation: Any = "REPEATABLE READ" if read_only else "READ COMMITTED"
    made = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=NullPool,
        isolation_level=isolation,
        hide_parameters=True,  # they are people's data, and errors end in logs
    )
    event.listen(made, "begin", begin)
    return made.execution_options(postgresql_readonly=True) if read_only else made


def readable(stored: str | bytes) -> Any:
    """Read JSON; return as text what is too deep, or has numbers too long, for Python.

    Raised, the error would stop all rows that are read with this one; so it is left to whoever has the row.
    """
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return stored.decode() if isinstance(stored, bytes) else stored


def sqlite_engine(path: Path, *, read_only: bool, create: bool) -> Engine:
    mode = "ro" if read_only else ("rwc" if create else "rw")

    def connect() -> sqlite3.Connection:
        if create and not path.exists() and not path.is_symlink():
            os.close(private.open_file(path, write=True))  # what SQLite makes anybody may read
        # With two slashes a path would begin with the name of a machine.
        uri = f"file:///{quote(str(path.absolute()).lstrip('/'))}?mode={mode}"
        # isolation_level None: the driver leaves BEGIN to us.
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    made = create_engine(
        "sqlite://", creator=connect, poolclass=NullPool, json_deserializer=readable, hide_parameters=True
    )
    # IMMEDIATE: a transaction that reads first and writes later could not wait for its turn.
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
    event.listen(made, "begin", lambda connection: connection.exec_driver_sql(begin))
    return made


@contextmanager
def translated(settings: Settings) -> Iterator[None]:
    """Turn the errors of drivers that a user can cause into ours."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        ours = translate(error, settings)
        if ours is None:
            raise
        raise ours from error


def translate(error: Exception, settings: Settings) -> JobctlError | None:
    """Return the error as ours, None where it concerns one statement or row and not the database."""
    cause = getattr(error, "orig", None) or error
    said = first_line(cause)
    where = "the database" if settings.database_url else f"the database {settings.embedded_path.absolute()}"
    if not settings.database_url:
        return translate_sqlite(cause, said, where)
    state = getattr(cause, "sqlstate", None)
    if state == "42501":
        return MisconfiguredError(f"{where} refused: {said}; grant jobctl's role what it needs")
    if state == READ_ONLY:
        return UnreachableError(f"{where} takes no changes now (read-only): {said}; run it again later")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if not lost and (not isinstance(error, OperationalError) or state in CONFLICTS):
        return None
    return unreachable(said, state)


# A deadlock, a serialization failure, a lock waited for in vain, a statement that somebody cancelled: of one
# statement or of two transactions, not of the database.
CONFLICTS = {"40001", "40P01", "55P03", "57014"}


def in_the_way(error: Exception) -> JobctlError | None:
    """Return the error for a statement that others kept from its end, where no row is to be blamed."""
    if not isinstance(error, DBAPIError) or getattr(error.orig, "sqlstate", None) not in CONFLICTS:
        return None
    said = f"others were in the way at the database: {first_line(error)}"
    return UnreachableError(f"{said}; nothing is lost, run it again")


READ_ONLY = "25006"  # a standby after a failover, say


def unreachable(said: str, state: str | None) -> JobctlError:
    """Return the error for a PostgreSQL that went away."""
    from jobctl import refusals  # noqa: PLC0415 (only where something went wrong)

    return refusals.of_state(state, said) if state else refusals.passing(said)


# What SQLite says, and what that means to whoever reads it.
SQLITE_SAYS = (
    ("not a database", MisconfiguredError, "is no SQLite database: move it away or restore it"),
    ("malformed", MisconfiguredError, "is damaged: restore it from a backup"),
    (
        "READONLY_DIRECTORY",
        MisconfiguredError,
        "cannot be opened: even who only reads it needs to write jobctl.db-shm beside it",
    ),
    ("readonly", MisconfiguredError, "cannot be written: check its and its folder's permissions"),
    ("unable to open", MisconfiguredError, "cannot be opened: check its and its folder's permissions"),
    ("full", UnreachableError, "cannot be written, the disk is full: make room and run it again"),
    ("locked", UnreachableError, f"was locked by another program for {BUSY_TIMEOUT} s: run it again"),
    ("disk I/O error", UnreachableError, "cannot be read or written: check the disk and run it again"),
)


def translate_sqlite(cause: BaseException, said: str, where: str) -> JobctlError | None:
    if not isinstance(cause, sqlite3.DatabaseError) or isinstance(cause, sqlite3.IntegrityError):
        return None
    told = f"{getattr(cause, 'sqlite_errorname', '')} {said}"
    for hint, kind, meaning in SQLITE_SAYS:
        if hint in told:
            return kind(f"{where} {meaning} ({said})")
    return None


def first_line(error: BaseException) -> str:
    """Return what went wrong; of a database error the driver's own words, without SQL and parameters."""
    error = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def clock(connection: Connection) -> datetime:
    """Return the present by the database's clock, UTC."""
    if connection.dialect.name == "postgresql":
        present: datetime = connection.scalar(text("SELECT clock_timestamp()"))
        return present.astimezone(UTC)
    told = connection.scalar(text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')"))
    return datetime.fromisoformat(told).replace(tzinfo=UTC)


def in_one_process(connection: Connection) -> None:
    """Have PostgreSQL share no query of this transaction among processes.

    Each would compute anew what a query joins to sums; and the application needs the other processors.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))


TOO_LONG = "somebody else had it locked for too long; the next run takes it"
BRIEFLY, PATIENCE = timedelta(milliseconds=500), timedelta(seconds=5)  # to wait for somebody's lock


def gave_up_waiting(error: Exception) -> bool:
    """Tell whether a statement failed since somebody else had a row for longer than it was to wait."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == "55P03"


class KeptAsItWasError(Exception):
    """A trigger kept rows as they were, and said nothing."""

    def __init__(self) -> None:
        super().__init__("a trigger of the database kept the row as it was, without a word")


def refusal(error: Exception) -> str:
    """Say why a row was not changed."""
    if isinstance(error, KeptAsItWasError):
        return str(error)
    if gave_up_waiting(error):
        return TOO_LONG
    if isinstance(error, DBAPIError):
        return f"the database refused its change: {first_line(error)}"
    kind = getattr(error, "orig", None) or error
    return f"its change cannot be written: {type(kind).__name__}: {first_line(error)}"


def bound_waiting(connection: Connection, patience: timedelta) -> None:
    """Have PostgreSQL refuse a statement of this transaction that waits longer for others' rows."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = {int(patience.total_seconds() * 1000)}"))


def among(key: ColumnElement[Any], ids: Sequence[Any], dialect: str) -> ColumnElement[bool]:
    """Return `key IN ids` as one parameter, so that a statement is compiled once whatever their number."""
    return among_named(key, bindparam(None, id_list(ids, dialect), id_list_type(key, dialect)), dialect)


def among_named(key: ColumnElement[Any], ids: ColumnElement[Any], dialect: str) -> ColumnElement[bool]:
    if dialect == "postgresql":
        return key == func.any(ids)
    return key.in_(select(func.json_each(ids).table_valued(column("value")).c.value))


# JSON for SQLite has no escapes: of half a surrogate pair json_extract would make text that nobody can read;
# as it is, it is refused like any other parameter.
def id_list(ids: Sequence[Any], dialect: str) -> Any:
    return list(ids) if dialect == "postgresql" else json.dumps(list(ids), ensure_ascii=False)


def id_list_type(key: ColumnElement[Any], dialect: str) -> Any:
    return ARRAY(key.type) if dialect == "postgresql" else Text()


def json_object(columns: Mapping[str, ColumnElement[Any]], dialect: str) -> ColumnElement[Any]:
    """Build a JSON object in SQL: names to values; instants in the one fixed-width form on both databases."""
    build = func.jsonb_build_object if dialect == "postgresql" else func.json_object
    parts: list[Any] = []
    for name, value in columns.items():
        fixed = dialect == "postgresql" and isinstance(value.type, Instant)
        parts += [literal_column(f"'{name}'"), fixed_width(value) if fixed else value]
    return build(*parts, type_=Json)


def fixed_width(instant: ColumnElement[Any]) -> ColumnElement[str]:
    # Left to itself PostgreSQL would write it in the session's time zone.
    return func.to_char(func.timezone("UTC", instant), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')


def given_rows(columns: Sequence[Column[Any]], dialect: str) -> FromClause:
    """Hand rows of values to SQL as a table, in one parameter a column (PostgreSQL) or in one (SQLite).

    The parameters are what `given_values` returns.
    """
    if dialect == "postgresql":
        arrays = [bindparam(f"given_{each.name}", type_=ARRAY(each.type)) for each in columns]
        named = [column(each.name, each.type) for each in columns]
        return func.unnest(*arrays).table_valued(*named, name="given").render_derived()
    row_value = func.json_each(bindparam("given_rows", type_=Text())).table_valued(column("value")).c.value
    extracted = [
        func.json_extract(row_value, f"$[{n}]", type_=each.type).label(each.name)
        for n, each in enumerate(columns)
    ]
    return select(*extracted).subquery("given")


def given_values(
    columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]], dialect: Dialect
) -> dict[str, Any]:
    if dialect.name == "postgresql":
        return {f"given_{each.name}": [row[n] for row in rows] for n, each in enumerate(columns)}
    writers = [each.type.dialect_impl(dialect).bind_processor(dialect) for each in columns]
    stored = [
        [write(value) if write else value for write, value in zip(writers, row, strict=True)] for row in rows
    ]
    for each in (value for row in stored for value in row):
        if isinstance(each, dict | list):
            raise TypeError(f"a {type(each).__name__} is no value of a column")
        if isinstance(each, int) and not -LARGEST <= each < LARGEST:
            raise OverflowError("a whole number beyond 64 bits")  # which SQLite would make a REAL of
    return {"given_rows": json.dumps(stored, ensure_ascii=False)}


def records(columns: Sequence[Column[Any]], dialect: str) -> FromClause:
    """Hand rows of many columns to SQL as a table, in one parameter, which `records_value` writes.

    For few columns and many rows `given_rows` is faster.
    """
    given = bindparam("given_records", type_=Text())
    if dialect == "postgresql":
        named = [column(each.name, each.type) for each in columns]
        rows = func.jsonb_to_recordset(cast(given, Json)).table_valued(*named, name="given")
        return rows.render_derived(with_types=True)
    value = func.json_each(given).table_valued(column("value")).c.value
    extracted = [
        func.json_extract(value, f"$.{each.name}", type_=each.type).label(each.name) for each in columns
    ]
    return select(*extracted).subquery("given")


def records_value(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    written = json.dumps(
        rows, ensure_ascii=False, default=lambda at: at.astimezone(UTC).strftime(FIXED_WIDTH)
    )
    return {"given_records": written}


def insert_once(table: Table, once: Sequence[str], values: Mapping[str, Any], dialect: str) -> Insert:
    """Build an INSERT that leaves a row alone which is there already by its unique columns `once`."""
    if not once:
        return insert(table).values(values)
    row: Insert = insertion(table, dialect).values(values).on_conflict_do_nothing(index_elements=once)
    return row


def insert_from(
    table: Table, columns: Sequence[str], rows: Select[Any], once: Sequence[str], dialect: str
) -> Insert:
    """Build an INSERT of what a SELECT finds, but for what is there already by its unique columns `once`.

    once: empty: by any of them.
    """
    fresh = insertion(table, dialect).from_select(list(columns), rows)
    all_new: Insert = fresh.on_conflict_do_nothing(index_elements=once or None)
    return all_new


def insertion(table: Table, dialect: str) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 (each start imports one dialect)

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 (each start imports one dialect)

    return sqlite.insert(table)


def passing_over(*tables: Table) -> dict[str, Any]:
    """Return the arguments of `with_for_update` that pass over rows in others' hands (SQLite has none)."""
    return {"of": tables, "skip_locked": True}
