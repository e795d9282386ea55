"""A mail server whose replies don't end keeps nobody, and fills no memory."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from jobctl.channels.email import Email
from jobctl.job import Lost, ScopeDownError
from jobctl.settings import Settings
from tests.channels.test_email import MESSAGE

STAGES = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"]
LONG = b"250-" + b"x" * 1000 + b"\r\n"
MANNERS = {
    "a line now and then": (b"250-wait\r\n", 0.02),
    "a byte now and then": (b"2", 0.02),
    "lines without end": (LONG * 60, 0.0),
    "one line without end": (b"x" * 60_000, 0.0),
}


@dataclass
class Talker:
    """A server that answers as it should, up to one stage."""

    stage: str
    piece: bytes
    pause: float
    sent: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    def talk(self, client: socket.socket) -> None:
        with suppress(OSError, StopIteration), client, client.makefile("rb") as lines:
            self.answer(client, "CONNECT", b"220 here")
            for line in lines:
                verb = line[:4].decode().upper()
                self.answer(client, verb, b"354 go on" if verb == "DATA" else b"250 yes")
                if verb == "DATA":
                    while next(lines) != b".\r\n":
                        pass
                    self.answer(client, "CONTENT", b"250 yes")

    def answer(self, client: socket.socket, stage: str, reply: bytes) -> None:
        if stage != self.stage:
            client.sendall(reply + b"\r\n")
            return
        while not self.over.wait(self.pause):
            self.sent += client.send(self.piece)

    def close(self) -> None:
        self.over.set()
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def talker() -> Iterator[Callable[..., Talker]]:
    made: list[Talker] = []

    def talking(*given: Any) -> Talker:
        made.append(Talker(*given))
        return made[-1]

    yield talking
    for each in made:
        each.close()


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("stage", STAGES)
def test_no_reply_goes_on_for_ever(talker: Callable[..., Talker], stage: str, manner: str) -> None:
    server = talker(stage, *MANNERS[manner])
    seconds = timedelta(milliseconds=300)
    email = Email(
        Settings(
            smtp_host="127.0.0.1",
            smtp_port=server.port,
            smtp_tls="none",
            smtp_timeout=seconds,
            email_from="hello@shop.example",
        )
    )
    began = time.monotonic()
    if stage == "CONTENT":  # it may have arrived
        assert isinstance(email.send(MESSAGE), Lost)
    else:
        with pytest.raises(ScopeDownError):
            email.send(MESSAGE)
    email.close()
    assert time.monotonic() - began < 3
    assert server.sent < 20_000_000
