"""HTTP/1.1 with keep-alive on the loopback address, a thread for each connection."""

import contextlib
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from secrets import token_hex
from typing import Any

from jobctl.sandbox.protocol import Answer, Request

HOST = "127.0.0.1"
HEAD = b"HTTP/1.1 200 OK\r\nX-Padding: "


class Server(socketserver.ThreadingTCPServer):
    """Hands each request to `respond`, whose None closes the connection. Raises OSError for a port in use."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, respond: Callable[[Request], Answer | None]) -> None:
        self.respond = respond
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.ended = threading.Event()
        super().__init__((HOST, port), Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, peer

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hang up, and about nothing else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def end(self) -> None:
        """Stop listening and close every connection; their threads are stuck in a read."""
        self.ended.set()
        self.shutdown()
        with self._lock:
            connections = tuple(self._open)
        for each in connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _exchange(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length") or 0))
        answer = self.server.respond(Request(self.command, path, query, headers, body))
        if answer is None:
            self.close_connection = True
        elif answer.drip:
            self._drip(answer)
        else:
            self.wfile.write(wire(answer))
            self.close_connection |= answer.length is not None

    def _drip(self, answer: Answer) -> None:
        """Go on for ever, a byte at a time; whoever gives up, or the server's end, breaks the connection."""
        head, byte = (HEAD, b"x") if answer.head_only else (wire(answer), b" ")
        self.wfile.write(head)
        while not self.server.ended.wait(answer.drip):
            self.wfile.write(byte)

    # The names that http.server looks for.
    do_GET = do_POST = do_DELETE = _exchange  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name in http.server)
        """Say nothing."""


def wire(answer: Answer) -> bytes:
    """Write an answer out, with the Request-Id that every one of a provider has."""
    length = len(answer.body) if answer.length is None else answer.length
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.length is not None:
        lines.append("Connection: close")
    lines += [f"Request-Id: req_{token_hex(7)}", f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + answer.body
