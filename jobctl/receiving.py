"""What comes back over a connection, bounded: in time, in size on the wire, and in size unpacked."""

import io
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.client import HTTPResponse
from typing import Any

from urllib3 import BaseHTTPResponse

# The largest page that a provider lists: 100 of Stripe's intents with their charges, each of both with 50
# values of 500 characters in its metadata ("Metadata"), are some 6 MiB.
MOST = 8 * 1024 * 1024  # bytes of an answer's body
HEAD = 64 * 1024  # bytes of its status line and headers
PIECE = 64 * 1024
UNPACKED, PACKED = ("", "identity"), ("gzip", "x-gzip")
GZIP = zlib.MAX_WBITS | 16


class UnreadableError(OSError):
    """An answer that is longer than its bound, or packed as nobody asked; its text says which."""


def body(raw: BaseHTTPResponse, most: int = MOST) -> bytearray:
    """Return an answer's body, unpacked as it comes.

    Raises UnreadableError where it is longer than `most` bytes, or packed in another way than with gzip once.
    """
    packing = raw.headers.get("Content-Encoding", "").strip().lower()
    if packing not in (*UNPACKED, *PACKED):
        raise UnreadableError("its answer is packed as nobody asked for")
    found = bytearray()
    pieces = raw.stream(PIECE, decode_content=False)
    try:
        for piece in unpacked(pieces) if packing in PACKED else pieces:
            found += piece
            if len(found) > most:
                raise too_long("answer", most)
    except ValueError as error:  # of a chunk's length that is none
        raise UnreadableError("its answer is no HTTP") from error
    return found


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack gzip, however much it becomes, in pieces of bounded size; raises UnreadableError."""
    unpack = zlib.decompressobj(GZIP)
    piece = b""
    try:
        for piece in pieces:
            packed = piece
            while packed:
                yield unpack.decompress(packed, PIECE)
                packed = unpack.unconsumed_tail
    except zlib.error as error:
        raise UnreadableError("its answer cannot be unpacked") from error
    if piece and not unpack.eof:
        raise UnreadableError("its answer broke off")


def too_long(what: str, most: int) -> UnreadableError:
    return UnreadableError(f"its {what} is longer than {most // 1024} KiB")


class Response(HTTPResponse):
    """An answer whose head is short, and which comes within the socket's time-out, all of it."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        self._bounded = Bounded(sock)
        self._bounded.begin("answer", MOST)
        receiver: Any = _Receiver(self._bounded)  # of a socket HTTPResponse uses makefile alone
        super().__init__(receiver, *args, **options)

    def begin(self) -> None:
        self._bounded.allow("head", HEAD)
        super().begin()
        self._bounded.allow("answer", MOST + HEAD)  # it may come in chunks, whose sizes count too


class _Receiver:
    """A socket as HTTPResponse wants it."""

    def __init__(self, bounded: "Bounded") -> None:
        self._bounded = bounded

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self._bounded)


class Bounded(io.RawIOBase):
    """What a socket receives: an answer within the socket's time-out, all of it, and so many bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)
        self._seconds: float | None = None
        self._until: float | None = None
        self._what, self._most, self._left = "answer", 0, 0

    def begin(self, what: str, most: int) -> None:
        """Let an answer begin, called `what` where it is longer than `most` bytes."""
        self._seconds = self._sock.gettimeout()
        self._until = None if self._seconds is None else time.monotonic() + self._seconds
        self.allow(what, most)

    def allow(self, what: str, most: int) -> None:
        """Let so many bytes more come, which are the answer's `what`."""
        self._what, self._most, self._left = what, most, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise too_long(self._what, self._most)
        received = self._received(buffer)
        self._left -= received or 0
        return received

    def _received(self, buffer: Any) -> int | None:
        if self._until is None:
            return self._raw.readinto(buffer)
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        finally:
            # The connection's next request starts with the full time again.
            with suppress(OSError):
                self._sock.settimeout(self._seconds)

    def close(self) -> None:
        self._raw.close()
        super().close()
