"""What an answer may cost: bounded in memory whatever is sent, and what is cut is no answer."""

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from jobctl.providers.transport import Reply, Transport
from jobctl.receiving import HEAD, MOST
from tests import servers
from tests.providers.ways import PATH, Hasty, Open, never, opening
from tests.servers import HookServer

OK = b'{"id": "1"}'
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
def server() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


@pytest.fixture
def way() -> Iterator[Open]:
    yield from opening(Hasty())


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return b"".join(
        [packer.compress(b'{"a": "')]
        + [packer.compress(b"x" * 1_000_000) for _ in range(megabytes)]
        + [packer.compress(b'"}'), packer.flush()]
    )


def given(server: HookServer, transport: Transport, body: bytes, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    server.default = servers.Reply(200, named, body)
    return transport.ask("POST", PATH, never)


@pytest.mark.parametrize("packing", ["gzip", "x-gzip", "GZIP "])
def test_a_packed_answer_is_read(server: HookServer, way: Open, packing: str) -> None:
    transport = way(server.url)
    for _ in range(2):
        reply = given(server, transport, gzip.compress(OK), Content_Encoding=packing)
        assert (reply.status, reply.body) == (200, {"id": "1"})
    assert server.requests[0].headers["accept-encoding"] == "gzip"
    assert server.connections == 1


def test_a_bomb_costs_no_more_than_the_bound(server: HookServer, way: Open) -> None:
    packed = bomb(300)
    transport = way(server.url)
    tracemalloc.start()
    reply = given(server, transport, packed, **GZIP)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (reply.status, reply.body, reply.trouble) == (None, None, "its answer is longer than 8192 KiB")
    assert peak < 1.5 * MOST


@pytest.mark.parametrize(
    ("body", "packing"),
    [
        (b" " * MOST + OK, "identity"),
        (gzip.compress(b" " * MOST + OK), "gzip"),
        (gzip.compress(gzip.compress(OK)), "gzip, gzip"),
        (zlib.compress(OK), "deflate"),
        (OK, "br"),
        (OK, "gzip"),
        (gzip.compress(OK)[:-9], "gzip"),
    ],
    ids=["long", "long unpacked", "twice", "deflate", "br", "no gzip", "broken off"],
)
def test_what_cannot_be_read_is_no_answer(server: HookServer, way: Open, body: bytes, packing: str) -> None:
    transport = way(server.url)
    reply = given(server, transport, body, Content_Encoding=packing)
    assert (reply.status, reply.body, reply.begun, reply.tells) == (None, None, True, False)
    assert reply.trouble.startswith("its answer ")
    assert reply.down
    # Nothing that is left of it is taken for the next one's beginning.
    assert given(server, transport, OK).body == {"id": "1"}


@pytest.mark.parametrize("size", ["-1", "-2", "x", ""])
def test_a_chunk_has_a_length(server: HookServer, way: Open, size: str) -> None:
    chunked = f"{size}\r\n".encode() + OK + b"\r\n0\r\n\r\n"
    reply = given(server, way(server.url), chunked, Transfer_Encoding="chunked", Connection="close")
    assert (reply.status, reply.body, reply.begun) == (None, None, True)


def test_an_answer_may_be_as_long_as_the_bound(server: HookServer, way: Open) -> None:
    body = b" " * (MOST - len(OK)) + OK
    assert given(server, way(server.url), body).body == {"id": "1"}
    assert given(server, way(server.url), gzip.compress(body), **GZIP).body == {"id": "1"}


@pytest.mark.parametrize("lines", [1, 90])
def test_a_head_is_bounded(server: HookServer, way: Open, lines: int) -> None:
    long = {f"X_{number}": "y" * (HEAD // lines) for number in range(lines)}
    reply = given(server, way(server.url), OK, **long)
    assert (reply.status, reply.begun) == (None, True)
    short = {name: value[: HEAD // lines // 2] for name, value in long.items()}
    assert given(server, way(server.url), OK, **short).status == 200


def test_a_bound_may_be_lower(server: HookServer, way: Open) -> None:
    transport = way(server.url, most=1024, longest=10)
    assert given(server, transport, b" " * 1024 + OK).trouble == "its answer is longer than 1 KiB"
    assert given(server, transport, b'{"a": "' + b"b" * 11 + b'"}').body == {"a": "b" * 10}


def test_all_that_is_told_can_be_kept(server: HookServer, way: Open) -> None:
    transport = way(server.url)
    reply = given(
        server, transport, b'{"a\\u0000": "b\\ud800\\u001b[2J"}', Request_Id="a\x9bb\x7f\t" + "c" * 3000
    )
    assert reply.body == {"a ": "b\ufffd [2J"}
    assert reply.headers["request-id"] == "a b \t" + "c" * 1995


def test_the_credential_is_in_nothing_that_is_told(server: HookServer, way: Open) -> None:
    transport = way(server.url, credential="sk/secret")
    reply = given(server, transport, b'{"a": ["sk\\/secret", "\\u0073k/secret"]}', Echo="Bearer sk/secret")
    assert reply.body == {"a": ["[secret]", "[secret]"]}
    assert reply.headers["Echo"] == "Bearer [secret]"
