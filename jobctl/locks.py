"""Who is at work: one lock per job, one per run, and whether a run is dead.

The operating system (SQLite: `flock` on files beside the database) or PostgreSQL (session advisory
locks on a connection of their own) frees a dead process's locks at once. Nothing has to expire.
"""

import contextlib
import os
import platform
import select
import threading
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

from jobctl import private
from jobctl.db import first_line
from jobctl.errors import LockHeldError, MisconfiguredError, UnreachableError
from jobctl.settings import Settings

if TYPE_CHECKING:
    from jobctl.session import Session

SAME_KEY = 0x6A6F6273  # "jobs" in ASCII, as the first half of an advisory lock's key
LONGEST = 200  # bytes that name a process
HELD = (
    "FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid::bigint = %s"
)
WHO = (
    "SELECT split_part(application_name, ': ', 2) || ', since ' || to_char(backend_start AT TIME ZONE 'UTC', "
    "'YYYY-MM-DD HH24:MI:SS') || 'Z' FROM pg_stat_activity WHERE pid = %s"
)
MOUNTS = Path("/proc/mounts")
NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "fuse.sshfs",
    "afs",
    "ceph",
    "glusterfs",
}
POLL = 0.1  # seconds


class Locks(Protocol):
    """The locks of one process; all of them end with it, or with `close`."""

    def take_job(self, job: str, *, share: bool) -> bool: ...

    def holder_of(self, job: str) -> str:
        """Name the process that has a job's lock: its host and number, and since when where that is known."""
        ...

    def hold_run(self, run_id: int) -> None: ...

    def release_run(self, run_id: int) -> None: ...

    def alive(self, run_ids: Iterable[int]) -> set[int]:
        """Return those of the runs whose process still lives."""
        ...

    def lost(self) -> str | None:
        """Tell why the locks are no longer held; None while they are. Cheap, and safe in any thread."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_locks(settings: Settings) -> Locks:
    return PostgresLocks(settings) if settings.database_url else FileLocks(settings.embedded_path)


def wait_for(take: Callable[[], bool], patience: float, wait: Callable[[float], bool]) -> bool:
    """Try until it is taken, `patience` seconds have passed, or `wait` says to stop."""
    while not take():
        if patience <= 0 or wait(min(POLL, patience)):
            return False
        patience -= POLL
    return True


class FileLocks:
    """`flock` on files in a folder beside the database that nobody else may enter.

    A job's file is never deleted: a lock on an unlinked file excludes nobody. A run's file may go once
    the run is over, since no other run ever has its number. Who has a lock is written in its file.
    """

    def __init__(self, database: Path) -> None:
        self.folder = database.with_name(database.name + "-locks")
        self.held: dict[str, IO[bytes]] = {}
        refuse_network(database.parent.absolute())

    def take_job(self, job: str, *, share: bool) -> bool:
        return self.take(f"job-{job}", share=share)

    def holder_of(self, job: str) -> str:
        try:
            with os.fdopen(private.open_file(self.folder / f"job-{job}", write=False), "rb") as file:
                return file.read(LONGEST).decode(errors="replace")
        except OSError:
            return ""

    def hold_run(self, run_id: int) -> None:
        if not self.take(f"run-{run_id}", share=False):
            raise LockHeldError(f"somebody else has the lock of run {run_id}, in {self.folder}")

    def release_run(self, run_id: int) -> None:
        name = f"run-{run_id}"
        (self.folder / name).unlink(missing_ok=True)
        self.held.pop(name).close()

    def alive(self, run_ids: Iterable[int]) -> set[int]:
        return {each for each in run_ids if self.is_held(self.folder / f"run-{each}")}

    def lost(self) -> str | None:
        return None

    def take(self, name: str, *, share: bool) -> bool:
        import fcntl  # noqa: PLC0415 (not on every system that can show --help)

        try:
            private.make_folder(self.folder)
            file = os.fdopen(private.open_file(self.folder / name, write=True), "r+b", buffering=0)
        except OSError as error:
            raise MisconfiguredError(
                f"lock files cannot be written in {self.folder} ({error.strerror}): check its permissions"
            ) from error
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if share else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self.held[name] = file
        file.truncate()
        file.write(ourselves().encode())
        return True

    @staticmethod
    def is_held(path: Path) -> bool:
        import fcntl  # noqa: PLC0415 (not on every system that can show --help)

        try:
            with os.fdopen(private.open_file(path, write=False), "rb") as file:
                # Shared, so that two who look don't take each other for the run.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.held.values():
            file.close()
        self.held.clear()


def ourselves() -> str:
    """Name this process to whoever finds our locks: at most 63 bytes, as PostgreSQL keeps them."""
    return f"{platform.node()[:35]}, process {os.getpid()}"


def refuse_network(folder: Path) -> None:
    """Raise MisconfiguredError where `folder` lies on a file system whose locks don't hold."""
    try:
        mounts = [line.split() for line in MOUNTS.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return  # no Linux
    over = [(mount[1], mount[2]) for mount in mounts if folder.is_relative_to(mount[1].replace("\\040", " "))]
    kind = max(over, key=lambda mount: len(mount[0]), default=("", ""))[1]
    if kind in NETWORK_FILE_SYSTEMS:
        raise MisconfiguredError(
            f"{folder} is on a network file system ({kind}), where SQLite and its locks are not safe: "
            "set JOBCTL_HOME to a local folder, or use PostgreSQL"
        )


class PostgresLocks:
    """Session advisory locks on a connection of their own; a pooled one would keep them after `close`."""

    def __init__(self, settings: Settings) -> None:
        self.url = str(settings.database_lock_url or settings.database_url)
        self.variable = "DATABASE_LOCK_URL" if settings.database_lock_url else "DATABASE_URL"
        self.schema = settings.database_schema
        self.connection = self.connect(self.url, self.variable)
        self.names: dict[str, int] = {}
        self.poll = select.poll()
        self.poll.register(self.connection.fileno(), select.POLLIN)
        self.guard = threading.Lock()
        try:
            self.refuse_pooler()
            if settings.database_lock_url:
                self.refuse_elsewhere(str(settings.database_url))
        except BaseException:
            self.connection.close()
            raise

    def connect(self, url: str, variable: str) -> "Session":
        from jobctl import session  # noqa: PLC0415 (no start on SQLite pays for it)

        made = session.connect(
            url, variable=variable, name=f"jobctl locks: {ourselves()}", schema=self.schema
        )
        made.prepare_threshold = None
        return made

    def refuse_pooler(self) -> None:
        """Raise MisconfiguredError where a pooler gives our session to others between statements.

        A second connection shows whether the session stays ours while we hold it.
        """
        if not self.connection.shared:
            return
        mine = self.ask("SELECT pg_backend_pid()")
        with self.connect(self.url, self.variable) as other:
            theirs = other.execute("SELECT pg_backend_pid()").fetchone()
        if theirs != (mine,) and self.ask("SELECT pg_backend_pid()") == mine:
            self.connection.settle(local=False, ours=True)
        else:
            raise MisconfiguredError(
                "DATABASE_URL leads through a connection pooler that shares sessions, where locks don't "
                "hold: set DATABASE_LOCK_URL to the server itself"
            )

    def refuse_elsewhere(self, url: str) -> None:
        """Raise MisconfiguredError where what is locked here is not seen locked from the database itself."""
        import secrets  # noqa: PLC0415 (only with a pooler)

        token = secrets.randbits(31)
        self.ask("SELECT pg_advisory_lock(%s, %s)", SAME_KEY, token)
        seen = f"SELECT count(*) {HELD} AND objid::bigint = %s"
        with self.connect(url, "DATABASE_URL") as database:
            found = database.execute(seen.encode(), (SAME_KEY, token)).fetchone()
        self.ask("SELECT pg_advisory_unlock(%s, %s)", SAME_KEY, token)
        if found != (1,):
            raise MisconfiguredError(
                "DATABASE_LOCK_URL leads to another database than DATABASE_URL, where locks exclude nobody: "
                "set it to the same database on the same server"
            )

    def ask(self, query: str, *arguments: object) -> Any:
        import psycopg  # noqa: PLC0415 (no start on SQLite pays for it)

        try:
            with self.guard:
                row = self.connection.execute(query.encode(), arguments).fetchone()
        except psycopg.Error as error:
            raise UnreachableError(
                f"the connection that holds the locks is gone: {first_line(error)}"
            ) from error
        return row and row[0]

    def named(self, what: str) -> int:
        """Return the first half of the keys of this installation's locks: others have the database, too."""
        if what not in self.names:
            name = self.ask("SELECT id FROM installation")
            self.names[what] = zlib.crc32(f"jobctl {what} of {name}".encode())
        return self.names[what]

    def take_job(self, job: str, *, share: bool) -> bool:
        shared = "_shared" if share else ""
        query = f"SELECT pg_try_advisory_lock{shared}(%s, %s)"
        return bool(self.ask(query, signed(self.named("jobs")), signed(zlib.crc32(job.encode()))))

    def holder_of(self, job: str) -> str:
        held = f"SELECT min(pid) {HELD} AND objid::bigint = %s"
        pid = self.ask(held, self.named("jobs"), zlib.crc32(job.encode()))
        return (self.ask(WHO, pid) if pid else None) or ""

    def hold_run(self, run_id: int) -> None:
        if not self.ask("SELECT pg_try_advisory_lock(%s, %s)", *self.of_run(run_id)):
            raise LockHeldError(f"somebody else has the lock of run {run_id}: pg_locks tells who")

    def release_run(self, run_id: int) -> None:
        self.ask("SELECT pg_advisory_unlock(%s, %s)", *self.of_run(run_id))

    def of_run(self, run_id: int) -> tuple[int, int]:
        return signed(self.named("runs")), signed(run_id & 0xFFFFFFFF)

    def alive(self, run_ids: Iterable[int]) -> set[int]:
        wanted = {each & 0xFFFFFFFF: each for each in run_ids}
        if not wanted:
            return set()
        held = self.ask(
            f"SELECT array_agg(objid::bigint) {HELD} AND objid::bigint = ANY(%s::bigint[])",
            self.named("runs"),
            list(wanted),
        )
        return {wanted[each] for each in held or ()}

    def lost(self) -> str | None:
        # An idle connection has little to read: a changed parameter, or its end, which raises.
        with self.guard, contextlib.suppress(Exception):
            while self.poll.poll(0):
                self.connection.pgconn.consume_input()
                self.connection.pgconn.is_busy()
            return None
        return "the connection that holds the locks was closed by the server"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The server sees a connection's end some time later: the next run must not find the locks held.
        with contextlib.suppress(UnreachableError):
            self.ask("SELECT pg_advisory_unlock_all()")
        self.connection.close()


def signed(number: int) -> int:
    """Bring an unsigned 32-bit number into the range of PostgreSQL's int4."""
    return number - (1 << 32) if number >= 1 << 31 else number
