"""PostgreSQL sessions as jobctl needs them, whatever the server, the database or the role say of sessions.

What jobctl relies on is set by itself: right after connecting, or, behind a pooler, which hands one session
of the server to many clients, at the begin of each transaction and for it alone. Other clients of the pooler
would meet our settings else, and we theirs.
"""

from typing import Any

import psycopg
from psycopg.types.json import set_json_loads

from jobctl.db import readable
from jobctl.errors import JobctlError

CONNECT_TIMEOUT = 10  # seconds
LOCK_TIMEOUT = 10  # seconds that a statement waits for others' locks, where nothing else is said
# So that a machine that vanished is noticed within a minute, and its locks are freed.
KEEPALIVES = {
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40000,
}
NEEDED = {
    "datestyle": "ISO",  # psycopg reads instants in no other
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "standard_conforming_strings": "on",
    "row_security": "off",  # a policy that hides rows is an error then, and not an empty table
    "statement_timeout": "0",  # what is cut off would be taken for an outage
    "idle_session_timeout": "0",  # providers may take their time
    "idle_in_transaction_session_timeout": "0",  # and what a dry run looks up is read in one transaction
    "lock_timeout": f"{LOCK_TIMEOUT}s",
}
SEVENTEEN, SINCE_17 = 170000, {"transaction_timeout": "0"}
# What was committed must not be forgotten: a request goes out once it is in the journal.
DURABLE = (
    "CASE current_setting('synchronous_commit') WHEN 'off' "
    "THEN set_config('synchronous_commit', 'on', {local}) END"
)


class Session(psycopg.Connection[Any]):
    """A connection on which what jobctl relies on is set; `connect` makes it."""

    shared = False  # whether a pooler may hand the server's session to others between our transactions
    schema: str | None = None

    def settle(self, *, local: bool, ours: bool = False) -> None:
        """Set what is needed: for the transaction that is open or, not `local`, for the session.

        For a session only where it stays ours: where no pooler is between, or it is known to leave it to us.
        """
        needed = {**NEEDED, **(SINCE_17 if self.info.server_version >= SEVENTEEN else {})}
        if self.schema is not None:
            needed["search_path"] = f'"{self.schema}"'
        each = f"set_config(%s, %s, {str(local).lower()})"
        calls = ", ".join([each] * len(needed)) + ", " + DURABLE.format(local=str(local).lower())
        values = [part for pair in needed.items() for part in pair]
        if local or ours:
            self.execute(f"SELECT {calls}".encode(), values)
            return
        # A pooler makes up the process number that it tells at connecting; a server tells its own.
        told = self.info.backend_pid
        unless = f"SELECT pg_backend_pid(), CASE pg_backend_pid() WHEN %s THEN ARRAY[{calls}] END"
        row = self.execute(unless.encode(), [told, *values]).fetchone()
        self.shared = row is None or row[0] != told


def connect(url: str, *, variable: str, name: str, schema: str | None = None) -> Session:
    """Connect as libpq reads the URL: several hosts, services, TLS parameters.

    The connection commits each statement by itself. Where it is `shared`, each transaction has to begin with
    `settle`. variable: where the URL comes from, for errors.

    Raises MisconfiguredError for what somebody has to mend, UnreachableError for what passes.
    """
    try:
        made = Session.connect(url, autocommit=True, **arguments(url, name))
    except psycopg.Error as error:
        raise refused(error, url, variable) from error
    made.schema = schema
    try:
        made.settle(local=False)
    except psycopg.Error as error:
        made.close()
        raise refused(error, url, variable) from error
    if made.shared:
        made.prepare_threshold = None  # what was prepared would be unknown to the next session
    set_json_loads(readable, made)
    return made


def refused(error: psycopg.Error, url: str, variable: str) -> JobctlError:
    from jobctl import refusals  # noqa: PLC0415 (only where something went wrong)

    return refusals.of_connecting(error, url, variable)


def arguments(url: str, name: str) -> dict[str, Any]:
    """Return what we ask of libpq where the URL doesn't."""
    wanted: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "application_name": name, **KEEPALIVES}
    given = {key: value for key, value in wanted.items() if f"{key}=" not in url}
    return {**given, "client_encoding": "UTF8"}
