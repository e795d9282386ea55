"""A connection pooler before a PostgreSQL server: one of our own, and PgBouncer where it is installed.

Both give one session of the server to many clients, for a transaction or until the client leaves.
"""

import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from sqlalchemy import make_url

from tests.postgres import IDENTITY
from tests.sandbox.client import until

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
POOLERS = ["ours", *(["pgbouncer"] if PGBOUNCER else [])]
MODES = ["transaction", "session"]
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
MADE_UP = b"K" + struct.pack("!iii", 12, 1, 1)  # the process number that a pooler tells
READY = b"Z\x00\x00\x00\x05I"


@contextmanager
def pooled(kind: str, mode: str, server_url: str, sessions: int = 1) -> Iterator[str]:
    """Give a pooler before that server, with so many sessions of it; its address, for the same database."""
    server = make_url(server_url).set(drivername="postgresql")
    with ExitStack() as stack:
        if kind == "ours":
            pooler = stack.enter_context(Pooler(str(server.host), server.port or 5432, mode, sessions))
            port = pooler.port
        else:
            port = stack.enter_context(pgbouncer(str(server.host), server.port or 5432, mode, sessions))
        yield server.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


@contextmanager
def pgbouncer(host: str, port: int, mode: str, sessions: int) -> Iterator[int]:
    folder = Path(tempfile.mkdtemp(prefix="jobctl-pgbouncer-"))
    folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        ours = free.getsockname()[1]
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": ours,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": mode,
        "default_pool_size": sessions,
    }
    lines = ["[databases]", f"* = host={host} port={port} user=postgres", "[pgbouncer]"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [str(PGBOUNCER), "-q", str(folder / "pgbouncer.ini")]
    process = subprocess.Popen(command, **IDENTITY, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(ours))
        yield ours
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Connection:
    """One side of a conversation, in whole messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self.buffer = connection, b""

    def read(self) -> bool:
        """Read what has come; False at the end."""
        with suppress(OSError):
            if more := self.socket.recv(1 << 16):
                self.buffer += more
                return True
        return False

    def messages(self, *, typed: bool = True) -> Iterator[bytes]:
        head = int(typed)
        while len(self.buffer) >= head + 4:
            size = head + struct.unpack_from("!i", self.buffer, head)[0]
            if len(self.buffer) < size:
                return
            message, self.buffer = self.buffer[:size], self.buffer[size:]
            yield message

    def one(self, *, typed: bool = True) -> bytes:
        while True:
            for message in self.messages(typed=typed):
                return message
            if not self.read():
                raise ConnectionError

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Pooler(threading.Thread):
    def __init__(self, host: str, port: int, mode: str, sessions: int) -> None:
        super().__init__(daemon=True)
        self.server, self.mode = (host, port), mode
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.free: SimpleQueue[Server | None] = SimpleQueue()
        self.clients: list[Connection] = []
        for _ in range(sessions):
            self.free.put(None)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for each in self.clients:
            each.close()

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client = Connection(self.listener.accept()[0])
                self.clients.append(client)
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: Connection) -> None:
        with closing(client), suppress(ConnectionError, OSError):
            startup = client.one(typed=False)
            if startup == SSL_REQUEST:
                client.socket.sendall(b"N")
                startup = client.one(typed=False)
            server = self.free.get() or self.connected(startup)
            client.socket.sendall(server.greeting + MADE_UP + READY)
            if self.mode == "transaction":
                self.free.put(server)
                while client.buffer or client.read():
                    self.relay_one(client)
                return
            try:
                while client.buffer or client.read():
                    self.relay(client, server)
            finally:
                server.socket.sendall(query("DISCARD ALL"))
                while not server.one().startswith(b"Z"):
                    pass
                self.free.put(server)

    def relay_one(self, client: Connection) -> None:
        server = self.free.get()
        assert server, "a session that was never opened"
        try:
            self.relay(client, server)
        finally:
            self.free.put(server)

    def connected(self, startup: bytes) -> "Server":
        server = Server(socket.create_connection(self.server))
        server.socket.sendall(startup)
        while not (message := server.one()).startswith(b"Z"):
            if not message.startswith(b"K"):
                server.greeting += message
        self.clients.append(server)
        return server

    @staticmethod
    def relay(client: Connection, server: Connection) -> None:
        """Hand messages on until the transaction is over."""
        asked = answered = 0
        idle = False
        while not (asked and asked == answered and idle):
            for message in client.messages():
                if message.startswith(b"X"):
                    raise ConnectionError
                asked += message[:1] in b"QS"
                server.socket.sendall(message)
            ready, _, _ = select.select([client.socket, server.socket], [], [])
            if server.socket in ready:
                if not server.read():
                    raise ConnectionError
                for message in server.messages():
                    if message.startswith(b"Z"):
                        answered, idle = answered + 1, message.endswith(b"I")
                    client.socket.sendall(message)
            if client.socket in ready and not client.read():
                raise ConnectionError


class Server(Connection):
    """A session of the server, and what it said of itself at the begin."""

    greeting = b""


def query(statement: str) -> bytes:
    text = statement.encode() + b"\x00"
    return b"Q" + struct.pack("!i", 4 + len(text)) + text
