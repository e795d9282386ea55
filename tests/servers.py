"""Servers to send to, on 127.0.0.1: scripted at run time, they record what reached them."""
# aiosmtpd and http.server find their hooks by names in capitals.
# ruff: noqa: N802

import asyncio
import email.policy
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, AnyStr, Literal, Self

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

Stage = Literal["CONNECT", "MAIL", "RCPT", "DATA", "CONTENT"]
Tls = Literal["none", "starttls", "implicit"]
DROP = "drop"
ANYONE = "*"
HERE = ("localhost", "127.0.0.1")


def closed_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Certificate:
    """A certificate of a CA that nobody else knows."""

    def __init__(self, names: tuple[str, ...] = HERE) -> None:
        authority = trustme.CA()
        self._folder = tempfile.TemporaryDirectory()
        self.ca_file = Path(self._folder.name, "ca.pem")
        authority.cert_pem.write_to_path(str(self.ca_file))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(self.context)

    def remove(self) -> None:
        self._folder.cleanup()


@dataclass(frozen=True)
class Mail:
    """A message that the server got whole, whatever it then said to it."""

    sender: str
    recipients: tuple[str, ...]
    options: tuple[str, ...]  # of MAIL FROM
    content: bytes
    at: float  # time.monotonic()

    @property
    def parsed(self) -> EmailMessage:
        lines = self.content.replace(b"\r\n", b"\n")
        return email.message_from_bytes(lines, _class=EmailMessage, policy=email.policy.default)


@dataclass
class _Rule:
    stage: Stage
    reply: str
    recipient: str
    after: int
    times: int | None


class MailServer:
    """A mail server on a random port.

    `script("RCPT", "550 5.1.1 no", "nobody@example.com")` changes what it says; a reply of DROP cuts
    the connection instead. Stage DATA is the command, CONTENT what follows it.
    """

    def __init__(
        self,
        *,
        tls: Tls = "none",
        login: tuple[str, str] | None = None,
        utf8: bool = True,
        names: tuple[str, ...] = HERE,
    ) -> None:
        self.tls, self.login, self.utf8 = tls, login, utf8
        self.messages: list[Mail] = []
        self.commands: list[str] = []  # the verbs of all connections, in the order of their arrival
        self.connections = 0
        self.latency = 0.0  # seconds before each message's last reply
        self.certificate = Certificate(names) if tls != "none" else None
        self._rules: list[_Rule] = []
        self.sessions: list[_Session] = []  # also those that have ended
        self.changed = threading.Condition()
        self.loop = asyncio.new_event_loop()
        # A scripted drop leaves aiosmtpd writing to a closed connection, which is not worth a report.
        self.loop.set_exception_handler(lambda *_: None)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    @property
    def ca_file(self) -> Path:
        assert self.certificate
        return self.certificate.ca_file

    def script(
        self,
        stage: Stage,
        reply: str,
        recipient: str = ANYONE,
        *,
        after: int = 0,
        times: int | None = None,
    ) -> None:
        """Answer so at a stage: once `after` messages have been got, and only so many `times`.

        CONNECT and MAIL come before the server knows of a recipient.
        """
        self._rules.append(_Rule(stage, reply, recipient, after, times))

    def unscript(self) -> None:
        self._rules.clear()

    def hang_up(self, farewell: str = "") -> None:
        """Close every connection, as servers do with idle ones; return when they are closed."""
        asyncio.run_coroutine_threadsafe(self._hang_up(farewell), self.loop).result(5)

    def wait_for(self, count: int) -> None:
        """Return as soon as that many messages have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.messages) >= count, timeout=30)

    async def _hang_up(self, farewell: str) -> None:
        for each in self.sessions:
            if farewell:
                await each.push(farewell)
            each.cut()
        # A turn or two of the loop; nothing tells when a socket has been closed.
        while any(each.socket.fileno() >= 0 for each in self.sessions):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)

    async def _end(self) -> None:
        self._server.close()
        await self._hang_up("")
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def __enter__(self) -> Self:
        self._thread.start()
        context = self.certificate.context if self.certificate and self.tls == "implicit" else None
        starting = self.loop.create_server(lambda: _Session(self), "127.0.0.1", 0, ssl=context)
        self._server = asyncio.run_coroutine_threadsafe(starting, self.loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(5)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()
            if self.certificate:
                self.certificate.remove()

    def reply(self, stage: Stage, recipients: Iterable[str]) -> str | None:
        for rule in self._rules:
            fits = rule.recipient == ANYONE or rule.recipient in recipients
            if rule.stage == stage and fits and len(self.messages) >= rule.after and rule.times != 0:
                rule.times = None if rule.times is None else rule.times - 1
                return rule.reply
        return None

    def received(self, envelope: Envelope) -> None:
        assert isinstance(envelope.content, bytes)
        recipients, options = tuple(envelope.rcpt_tos), tuple(envelope.mail_options)
        mail = Mail(envelope.mail_from or "", recipients, options, envelope.content, time.monotonic())
        with self.changed:
            self.messages.append(mail)
            self.changed.notify_all()


class _Session(SMTP):
    """One connection: what aiosmtpd has no hook for."""

    def __init__(self, owner: MailServer) -> None:
        self.owner, self.hooks = owner, _Hooks(owner)
        certificate = owner.certificate if owner.tls == "starttls" else None
        super().__init__(
            self.hooks,
            hostname="localhost",
            ident="test",
            loop=owner.loop,
            enable_SMTPUTF8=owner.utf8,
            tls_context=certificate.context if certificate else None,
            auth_require_tls=owner.login is None,
            authenticator=self.hooks.authenticate,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._original_transport is None:  # else TLS begins on a connection that was counted
            assert isinstance(transport, asyncio.WriteTransport)
            self.bottom, self.socket = transport, transport.get_extra_info("socket")
            self.owner.connections += 1
            self.owner.sessions.append(self)
        super().connection_made(transport)

    def cut(self) -> None:
        if self.owner.tls == "none":
            self.bottom.close()
        else:
            self.bottom.abort()  # closing would wait for the client to take leave too

    async def push(self, status: AnyStr) -> None:
        greeting = isinstance(status, str) and status.startswith("220 localhost")
        scripted = await self.hooks.scripted(self, "CONNECT") if greeting else None
        if scripted:
            await super().push(scripted)
        else:
            await super().push(status)

    async def smtp_DATA(self, arg: str) -> None:
        self.owner.commands.append("DATA")
        assert self.envelope
        reply = await self.hooks.scripted(self, "DATA", self.envelope.rcpt_tos)
        if reply:
            await self.push(reply)
        else:
            await super().smtp_DATA(arg)


class _Hooks:
    """What aiosmtpd asks at each stage."""

    def __init__(self, owner: MailServer) -> None:
        self.owner = owner

    async def scripted(self, smtp: SMTP, stage: Stage, recipients: Iterable[str] = ()) -> str | None:
        reply = self.owner.reply(stage, recipients)
        if reply == DROP:
            await self.drop(smtp)
        return reply

    async def drop(self, smtp: SMTP) -> None:
        assert isinstance(smtp, _Session)
        smtp.cut()
        await asyncio.Event().wait()  # until closing cancels this very coroutine

    def authenticate(
        self, _: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        del session, envelope, mechanism
        success = (data.login.decode(), data.password.decode()) == self.owner.login
        # Echoing what was sent is what a client must not trust a server never to do.
        refusal = f"535 5.7.8 {data.password.decode()} is wrong"
        return AuthResult(success=success, handled=False, message=None if success else refusal)

    async def handle_MAIL(
        self, smtp: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.owner.commands.append("MAIL")
        if self.owner.login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        reply = await self.scripted(smtp, "MAIL")
        if not reply:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply or "250 OK"

    async def handle_RCPT(
        self, smtp: SMTP, _: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.owner.commands.append("RCPT")
        reply = await self.scripted(smtp, "RCPT", [address])
        if not reply:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return reply or "250 OK"

    async def handle_DATA(self, smtp: SMTP, _: Session, envelope: Envelope) -> str:
        # Judged before it is recorded, so that `after` counts the messages before this one.
        reply = self.owner.reply("CONTENT", envelope.rcpt_tos) or "250 OK"
        if reply == DROP or reply.startswith("2"):
            self.owner.received(envelope)
        await asyncio.sleep(self.owner.latency)
        if reply == DROP:
            await self.drop(smtp)
        return reply

    async def handle_RSET(self, *_: object) -> str:
        self.owner.commands.append("RSET")
        return "250 OK"

    async def handle_QUIT(self, *_: object) -> str:
        self.owner.commands.append("QUIT")
        return "221 Bye"


@dataclass(frozen=True)
class Reply:
    """What the hook server answers."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: threading.Event | None = None  # hold the answer back until this is set
    drop: bool = False  # cut the connection once the request has been read
    endless: bool = False  # never end the body
    trickle: bool = False  # never end the headers


@dataclass(frozen=True)
class Hook:
    """A request that came in; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float  # time.monotonic()


class HookServer(ThreadingHTTPServer):
    """A web server that answers each path with its scripted reply, others with `default`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *, tls: bool = False, names: tuple[str, ...] = HERE) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Hook] = []
        self.replies: dict[str, Reply] = {}
        self.default = Reply()
        self.connections = 0
        self.certificate = Certificate(names) if tls else None
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def open(self) -> int:
        """Count the connections that nobody has closed."""
        with self._lock:
            return len(self._open)

    @property
    def port(self) -> int:
        return self.server_port

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def get_request(self) -> tuple[socket.socket, Any]:
        request, peer = super().get_request()
        with self._lock:
            self.connections += 1
            self._open.add(request)
        return request, peer

    def finish_request(self, request: Any, client_address: Any) -> None:
        if not self.certificate:
            super().finish_request(request, client_address)
            return
        with self.certificate.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that break off are part of the tests."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        with self._lock:
            waiting = tuple(self._open)
        for each in waiting:
            # A keep-alive connection's thread is stuck in a read.
            with _closed():
                each.shutdown(socket.SHUT_RDWR)
        self.server_close()
        if self.certificate:
            self.certificate.remove()


@contextmanager
def _closed() -> Iterator[None]:
    try:
        yield
    except OSError:
        return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HookServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Hook(self.path, headers, body, time.monotonic()))
        reply = self.server.replies.get(self.path, self.server.default)
        if reply.after:
            reply.after.wait(10)
        if reply.drop:
            self._drop()
            return
        self._answer(reply)

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for

    def _answer(self, reply: Reply) -> None:
        # The longer form adds a Date of its own.
        (self.send_response_only if "Date" in reply.headers else self.send_response)(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.trickle:
            self.flush_headers()
            self._forever(b"X: y\r\n")
        if reply.endless:
            self.send_header("Transfer-Encoding", "chunked")
        elif "Transfer-Encoding" not in reply.headers and (reply.status != 204 or reply.body):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        if reply.endless:
            self._forever(b"1\r\n.\r\n")

    def _forever(self, piece: bytes) -> None:
        while not self.server.closing.wait(0.01):
            self.wfile.write(piece)

    def _drop(self) -> None:
        self.close_connection = True
        # Lingering for no time makes it a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        """Say nothing."""
