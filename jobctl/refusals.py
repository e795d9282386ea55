"""What it means that PostgreSQL could not be used: what passes by itself, and what somebody has to mend.

Told apart by SQLSTATEs, and by how far a connection came; never by words: servers speak many languages.

Sources: PostgreSQL's documentation (Appendix A, PostgreSQL Error Codes; libpq: Control Functions, PQtrace;
Frontend/Backend Protocol: Message Flow).
"""

import re
import select
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from jobctl import parsing
from jobctl.db import first_line
from jobctl.errors import JobctlError, MisconfiguredError, UnreachableError

PATIENCE = 10.0  # seconds to find out why a connection failed
PASSING = ("08", "53", "57", "58", "XX")  # classes of SQLSTATEs that time may mend: outages, too many clients
# Poolers say 08P01 for most of what they refuse.
PROTOCOL = "08P01"
MESSAGE = re.compile(rb"\t([BF])\t\d+\t(\w+)([^\n]*)")
CODE = re.compile(rb' C "([0-9A-Z]{5})"')


@dataclass(frozen=True)
class Attempt:
    """How far a connection came."""

    connected: bool
    needs_password: bool
    messages: tuple[tuple[bytes, bytes, bytes], ...]  # direction (F: ours), name, what it says

    def has(self, name: bytes, says: bytes = b"") -> bool:
        return any(each[1] == name and says in each[2] for each in self.messages)

    @property
    def code(self) -> str | None:
        """Return the last SQLSTATE that a server refused us with."""
        told = [CODE.search(each[2]) for each in self.messages if each[1] == b"ErrorResponse"]
        codes = [each.group(1).decode() for each in told if each]
        return codes[-1] if codes else None


def of_connecting(error: psycopg.Error, url: str, variable: str) -> JobctlError:
    """Return the error for a PostgreSQL that didn't let us in."""
    said = first_line(error)
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        return wrong(said, variable)  # the URL itself
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return passing(said)
    if error.sqlstate:
        return of_state(error.sqlstate, said, variable)
    return of_attempt(attempt(url), url, said, variable)


def of_state(state: str, said: str, variable: str = "DATABASE_URL") -> JobctlError:
    return passing(said) if state.startswith(PASSING) else wrong(said, variable)


def of_attempt(made: Attempt, url: str, said: str, variable: str) -> JobctlError:
    if made.connected:
        return passing(said)  # it went by meanwhile
    if made.needs_password:
        return wrong(said, variable)
    if made.code == PROTOCOL:
        return of_pooler(made, url, said, variable)
    if made.code:
        return of_state(made.code, said, variable)
    answered, greeted = made.has(b"SSLResponse"), made.has(b"StartupMessage")
    # TLS: the server has none and the URL insists on it, or its certificate or ours is not accepted.
    refused = answered and not greeted
    return wrong(said, variable) if refused or not is_sound(url) else passing(said)


def of_pooler(made: Attempt, url: str, said: str, variable: str) -> JobctlError:
    """Tell by how far we came: who is let in may still find that the server behind is away."""
    if made.has(b"AuthenticationOk"):
        return passing(said)
    if "options=" in url:
        hint = "a connection pooler takes no `options`: leave them out, and set DATABASE_SCHEMA instead"
        return MisconfiguredError(f"the database cannot be used: {said}; {hint}")
    return wrong(said, variable)


def wrong(said: str, variable: str) -> MisconfiguredError:
    return MisconfiguredError(f"the database cannot be used: {said}; check {variable}")


def passing(said: str) -> UnreachableError:
    return UnreachableError(f"the database cannot be reached: {said}; nothing is lost, run it again")


def attempt(url: str) -> Attempt:
    """Connect once more, and note what is said on the wire: drivers keep no SQLSTATE of a refusal."""
    conninfo = make_conninfo(url, connect_timeout=int(PATIENCE)).encode()
    with tempfile.TemporaryFile() as trace:
        made = pq.PGconn.connect_start(conninfo)
        try:
            if made.status == pq.ConnStatus.BAD:
                return Attempt(connected=False, needs_password=False, messages=())
            if sys.platform == "linux":
                made.trace(trace.fileno())
            connected = poll(made)
            needs = made.needs_password
            if sys.platform == "linux":
                made.untrace()  # which writes what it has
        finally:
            made.finish()
        trace.seek(0)
        messages = tuple(MESSAGE.findall(trace.read()))
    return Attempt(connected=connected, needs_password=needs, messages=messages)


def poll(made: pq.abc.PGconn) -> bool:
    ends = time.monotonic() + PATIENCE
    while (left := ends - time.monotonic()) > 0:
        match made.connect_poll():
            case pq.PollingStatus.OK:
                return True
            case pq.PollingStatus.FAILED:
                return False
            case pq.PollingStatus.READING:
                select.select([made.socket], [], [], left)
            case _:
                select.select([], [made.socket], [], left)
    return False


def is_sound(url: str) -> bool:
    """Tell whether what the URL says besides hosts could be asked for of anybody."""
    ports = str(conninfo_to_dict(url).get("port") or "").split(",")
    if not all(parsing.port_fits(each) for each in ports):
        return False
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        here: dict[str, Any] = {"host": "127.0.0.1", "hostaddr": "", "port": nobody.getsockname()[1]}
        try:
            made = pq.PGconn.connect_start(make_conninfo(url, **here).encode())
        except psycopg.ProgrammingError:
            return False
        sound = made.status != pq.ConnStatus.BAD
        made.finish()
        return sound
