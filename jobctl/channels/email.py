"""E-mail over SMTP: one connection for each worker thread, for one message after the other.

What a failure means depends on how far the message had come. Before its content is sent nothing was
handed over, and a broken connection is the channel's trouble; from then on it may have arrived.
"""

import base64
import functools
import re
import select
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from jobctl import parsing
from jobctl.channels.mime import CONTROL, DOMAIN, Letter, UnwritableError, compose, mailbox, seal
from jobctl.channels.protocol import Answer, Message, Refused, Sent
from jobctl.channels.smtp import Conversation, EncryptedConversation
from jobctl.errors import MisconfiguredError
from jobctl.job import Lost, NotBegunError, ScopeDownError
from jobctl.settings import Settings

SCOPE = "email"
PORTS = {"starttls": 587, "implicit": 465, "none": 25}
YES, GO_ON, LATER, NEVER = 2, 3, 4, 5  # what a reply's first digit says (RFC 5321, 4.2.1)
CLOSING = 421
QUIT_SECONDS = 2.0  # for all connections together
REASON_LENGTH = 300
NO_STARTTLS = "the mail server does not do STARTTLS: set SMTP_TLS=implicit, or none for a relay next door"


class DroppedError(Exception):
    """A connection that was gone before anything of the message had been handed over."""


class Email:
    """The SMTP channel."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dialler = Dialler(settings)
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._closed = False

    def send(self, message: Message) -> Answer:
        try:
            letter = seal(compose(message, self._settings), message)
        except UnwritableError as error:
            return Refused(str(error), permanent=True)
        return self._deliver(letter)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            connections = tuple(self._open)
            self._open.clear()
        until = time.monotonic() + QUIT_SECONDS
        for each in connections:
            each.quit(until - time.monotonic())

    def _deliver(self, letter: Letter) -> Answer:
        used = self._used()
        if used:
            # Servers hang up on the idle, at times just as they are spoken to again.
            with suppress(DroppedError):
                return self._over(used, letter)
        try:
            return self._over(self._fresh(), letter)
        except DroppedError as error:
            raise ScopeDownError(SCOPE, f"the mail server dropped the connection: {error}") from error

    def _over(self, connection: "Connection", letter: Letter) -> Answer:
        try:
            with connection.busy:
                return connection.hand_over(letter)
        finally:
            if not connection.clean:
                self._discard(connection)

    def _used(self) -> "Connection | None":
        connection: Connection | None = getattr(self._mine, "connection", None)
        if connection and connection.hung_up():
            self._discard(connection)
            return None
        return connection

    def _fresh(self) -> "Connection":
        connection = Connection(self._dialler.dial())
        with self._lock:
            closed = self._closed
            if not closed:
                self._open.add(connection)
        if closed:
            connection.drop()
            raise NotBegunError("stopped before the message was handed over")
        self._mine.connection = connection
        return connection

    def _discard(self, connection: "Connection") -> None:
        self._mine.connection = None
        with self._lock:
            self._open.discard(connection)
        connection.drop()


class Connection:
    """A mail server that has let us in: one message at a time."""

    def __init__(self, smtp: smtplib.SMTP) -> None:
        self._smtp = smtp
        self.busy = threading.Lock()
        self.clean = True  # whether the next message may begin

    def hand_over(self, letter: Letter) -> Answer:
        """Send the letter; raises DroppedError while it is certain that nothing was handed over."""
        if letter.international and not self._smtp.has_extn("smtputf8"):
            return Refused("the mail server takes no addresses beyond ASCII (SMTPUTF8)", permanent=True)
        self.clean = False
        return self._envelope(letter) or self._content(letter)

    def hung_up(self) -> bool:
        """Tell whether the server closed, or spoke unasked: between messages it only ever says good-bye."""
        if self._smtp.sock is None:
            return True
        poll = select.poll()
        poll.register(self._smtp.sock, select.POLLIN)
        return bool(poll.poll(0))

    def quit(self, seconds: float) -> None:
        if not self.busy.acquire(blocking=False):
            self._cut()
            return
        with suppress(OSError, ValueError):
            if seconds > 0 and self._smtp.sock:
                self._smtp.sock.settimeout(seconds)
                self._smtp.quit()
        self.drop()
        self.busy.release()

    def drop(self) -> None:
        with suppress(OSError):
            self._smtp.close()

    def _cut(self) -> None:
        """Give the thread that is stuck in a read its end of file."""
        # Of the plain socket: TLS's own shutdown takes away the state that the other thread reads with.
        with suppress(OSError):
            if self._smtp.sock:
                socket.socket.shutdown(self._smtp.sock, socket.SHUT_RDWR)

    def _envelope(self, letter: Letter) -> Refused | None:
        self._smtp.command_encoding = "utf-8" if letter.international else "ascii"
        options = " SMTPUTF8 BODY=8BITMIME" if letter.international else ""
        # Without SIZE: a message that is too big must be refused at DATA, as its own failure.
        code, text = self._ask(f"MAIL FROM:<{letter.sender}>{options}")
        if code // 100 != YES:
            raise ScopeDownError(SCOPE, sentence(f"the mail server refused the sender: {code} {text}"))
        code, text = self._ask(f"RCPT TO:<{letter.recipient}>")
        if code // 100 != YES:
            return self._refusal("recipient", code, text, letter)
        code, text = self._ask("DATA")
        return None if code // 100 == GO_ON else self._refusal("message", code, text, letter)

    def _content(self, letter: Letter) -> Answer:
        try:
            self._smtp.send(re.sub(rb"(?m)^\.", b"..", letter.content) + b".\r\n")
            code, said = self._smtp.getreply()
        except OSError as error:
            return Lost(sentence(f"the mail server did not confirm the message: {trouble(error)}"))
        if code // 100 == YES:
            self.clean = True
            return Sent(letter.message_id)
        if code // 100 not in (LATER, NEVER):
            return Lost("the mail server did not confirm the message: its answer is no SMTP")
        return self._refusal("message", code, decoded(said), letter)

    def _ask(self, command: str) -> tuple[int, str]:
        try:
            code, said = self._smtp.docmd(command)
        except OSError as error:
            raise DroppedError(trouble(error)) from error
        return code, decoded(said)

    def _refusal(self, what: str, code: int, text: str, letter: Letter) -> Refused:
        hide = dict.fromkeys((letter.recipient, letter.written), "<recipient>")
        said = sentence(f"the mail server refused the {what}: {code} {text}", hide)
        if code == CLOSING or code // 100 not in (LATER, NEVER):
            raise ScopeDownError(SCOPE, said)
        with suppress(OSError):
            self.clean = self._smtp.rset()[0] // 100 == YES
        return Refused(said, permanent=code // 100 == NEVER)


class Dialler:
    """Connects, encrypts and logs in; whatever fails there is the channel's failure."""

    def __init__(self, settings: Settings) -> None:
        assert settings.smtp_host
        assert settings.email_from
        self._settings = settings
        self._host = settings.smtp_host.strip("[]")
        self._port = settings.smtp_port or PORTS[settings.smtp_tls]
        self._sender = mailbox(settings.email_from)
        self._tls = None if settings.smtp_tls == "none" else trusting(settings.smtp_ca_file)

    def dial(self) -> smtplib.SMTP:
        with scope_down("could not be reached"):
            smtp = self._connected()
        try:
            self._introduce(smtp)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _connected(self) -> smtplib.SMTP:
        name, seconds = own_name(), self._settings.smtp_timeout.total_seconds()
        smtp: smtplib.SMTP
        if self._settings.smtp_tls == "implicit":
            smtp = EncryptedConversation(
                self._host, self._port, local_hostname=name, timeout=seconds, context=self._tls
            )
        else:
            smtp = Conversation(self._host, self._port, local_hostname=name, timeout=seconds)
        if not name:
            smtp.local_hostname = literal(smtp)
        return smtp

    def _introduce(self, smtp: smtplib.SMTP) -> None:
        with scope_down("refused EHLO"):
            smtp.ehlo_or_helo_if_needed()
        if self._settings.smtp_tls == "starttls":
            with scope_down("does not do STARTTLS"):
                if smtp.has_extn("starttls"):
                    smtp.starttls(context=self._tls)
                else:
                    raise ScopeDownError(SCOPE, NO_STARTTLS)
                smtp.ehlo_or_helo_if_needed()
        user, password = self._settings.smtp_username, self._settings.smtp_password
        if user and password:
            with scope_down("refused the login", masks(user, password)):
                smtp.login(user, password)
        if not self._sender.addr_spec.isascii() and not smtp.has_extn("smtputf8"):
            raise ScopeDownError(SCOPE, "the mail server takes no EMAIL_FROM beyond ASCII (SMTPUTF8)")


def trusting(certificates: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=certificates)
    except OSError as error:
        why = parsing.reason(error)
        raise MisconfiguredError(
            f"SMTP_CA_FILE: {certificates} cannot be used ({why}); expected PEM"
        ) from error


@contextmanager
def scope_down(what: str, hide: Mapping[str, str] | None = None) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        said = sentence(f"the mail server's certificate is not trusted ({error.verify_message})")
        raise ScopeDownError(SCOPE, said) from error
    except (OSError, ValueError, smtplib.SMTPException) as error:
        raise ScopeDownError(SCOPE, sentence(f"the mail server {what}: {trouble(error)}", hide)) from error


def trouble(error: Exception) -> str:
    """Say what went wrong; smtplib reports a lost connection with the cause only in the context."""
    gone = isinstance(error, smtplib.SMTPServerDisconnected)
    cause = error.__context__ if gone and error.__context__ else error
    match cause:
        case smtplib.SMTPResponseException():
            return f"{cause.smtp_code} {decoded(cause.smtp_error)}"
        case smtplib.SMTPException():
            return "it closed the connection" if gone else str(cause)
        case TimeoutError():
            return "no answer in time"
        case UnicodeError():
            return "only ASCII can be sent"
        case _:
            return parsing.reason(cause) if isinstance(cause, Exception) else "it closed the connection"


def decoded(text: bytes | str) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "replace")


def sentence(text: str, hide: Mapping[str, str] | None = None) -> str:
    """Make what a server said fit for a log: one line, of bounded length, without what is to be hidden."""
    for secret, shown in (hide or {}).items():
        text = re.sub(f"<?{re.escape(secret)}>?", shown, text, flags=re.IGNORECASE)
    return " ".join(CONTROL.sub(" ", text).split())[:REASON_LENGTH]


def masks(user: str, password: str) -> dict[str, str]:
    """Name what must not be shown, also as a server may repeat it to us."""
    forms = (f"\0{user}\0{password}", password)
    encoded = [base64.b64encode(each.encode()).decode() for each in forms]
    return dict.fromkeys([*encoded, password], "********")


@functools.cache
def own_name() -> str | None:
    """Return the name to say EHLO with, if this machine has one that may mean something to others."""
    name = socket.getfqdn()
    local = name.startswith("localhost") or name.endswith(".arpa")
    return name if "." in name and DOMAIN.fullmatch(name) and not local else None


def literal(smtp: smtplib.SMTP) -> str:
    """Return our address on this connection in the form that stands in for a name (RFC 5321, 4.1.3)."""
    assert smtp.sock
    address = smtp.sock.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
