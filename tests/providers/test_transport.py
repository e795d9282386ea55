"""When a request is repeated, how long that may take, and what is known of those that had no answer."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from jobctl import __version__
from jobctl.job import NotBegunError
from jobctl.parsing import Rate
from jobctl.providers.transport import Reply
from tests import servers
from tests.providers.ways import PATH, Hasty, Open, never, opening, unless_ok
from tests.servers import HookServer, closed_port

OK = servers.Reply(200, body=b'{"id": "1"}')


@pytest.fixture
def stop() -> Hasty:
    return Hasty()


@pytest.fixture
def server() -> Iterator[HookServer]:
    with HookServer() as server:
        server.default = OK
        yield server


@pytest.fixture
def way(stop: Hasty) -> Iterator[Open]:
    yield from opening(stop)


def afterwards(stop: Hasty, server: HookServer, *replies: servers.Reply) -> None:
    """Let the server give these one after another, once it has given what it gives now."""

    def turn() -> None:
        count = len(server.requests)
        if 0 < count <= len(replies):
            server.default = replies[count - 1]

    stop.then = turn


# What is sent, and what comes back


def test_a_form_is_posted_and_a_query_asked(server: HookServer, way: Open) -> None:
    fields = [["a[b]", "é & 1"], ["c", ""]]
    transport = way(server.url + "/")
    transport.ask("POST", PATH, never, fields=fields, headers={"Idempotency-Key": "key-1"})
    transport.ask("GET", PATH, never, fields=fields)
    posted, got = server.requests
    encoded = "a%5Bb%5D=%C3%A9+%26+1&c="
    assert (posted.path, posted.body) == (PATH, encoded.encode())
    assert (got.path, got.body) == (f"{PATH}?{encoded}", b"")
    expected = {
        "authorization": "Bearer x",
        "user-agent": f"jobctl/{__version__}",
        "accept": "application/json",
        "content-type": "application/x-www-form-urlencoded",
        "idempotency-key": "key-1",
    }
    assert {name: posted.headers[name] for name in expected} == expected
    assert server.connections == 1


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"{}", {}),
        (b"", None),
        (b"null", None),
        (b"[1]", None),
        (b"<html>", None),
        (b'{"a": ', None),
        (b"\xff\xfe", None),
        (b'{"a": ' + b"9" * 5000 + b"}", None),
        (b"[" * 200_000, None),
    ],
)
def test_a_body_is_an_object_or_nothing(server: HookServer, way: Open, body: bytes, found: Any) -> None:
    server.default = servers.Reply(200, body=body)
    reply = way(server.url).ask("GET", PATH, never)
    assert (reply.status, reply.body, reply.begun, reply.open) == (200, found, True, False)


def test_redirects_are_not_followed(server: HookServer, way: Open) -> None:
    server.default = servers.Reply(307, {"Location": f"{server.url}/elsewhere"})
    assert way(server.url).ask("POST", PATH, never).status == 307
    assert len(server.requests) == 1


# How it fails


def test_an_answer_of_two_lengths_follows_a_request_that_has_begun(server: HookServer, way: Open) -> None:
    server.default = servers.Reply(200, {"Content-Length": "7"}, b"{}")  # and its own
    reply = way(server.url).ask("POST", PATH, never)
    assert (reply.status, reply.begun, reply.tells, len(server.requests)) == (None, True, False, 1)


def test_where_nobody_listens_nothing_has_begun(way: Open) -> None:
    reply = way(f"http://127.0.0.1:{closed_port()}").ask("POST", PATH, never)
    assert (reply.status, reply.begun, reply.tells) == (None, False, True)
    assert reply.trouble == "no connection (Connection refused)"


def test_without_an_address_or_tls_nothing_has_begun(
    server: HookServer, way: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    https = way(server.url.replace("http:", "https:")).ask("POST", PATH, never)
    assert (https.begun, https.trouble[:10]) == (False, "TLS failed")

    def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    lost = way("http://nowhere.invalid").ask("POST", PATH, never)
    assert (lost.begun, lost.trouble) == (False, "its host name could not be resolved")
    assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (servers.Reply(drop=True), "the connection was dropped"),
        (servers.Reply(after=threading.Event()), "no answer in time"),
        (servers.Reply(trickle=True), "no answer in time"),
        (servers.Reply(200, endless=True), "no answer in time"),
    ],
    ids=["dropped", "silent", "trickle", "endless"],
)
def test_a_request_without_an_answer_has_begun(
    server: HookServer, way: Open, answer: servers.Reply, trouble: str
) -> None:
    server.default = answer
    began = time.monotonic()
    reply = way(server.url, seconds=0.2).ask("POST", PATH, never)
    assert time.monotonic() - began < 20
    assert (reply.status, reply.begun, reply.tells, reply.trouble) == (None, True, False, trouble)
    if answer.after:
        answer.after.set()


# Repeats


def test_a_repeat_is_the_same_word_for_word(server: HookServer, stop: Hasty, way: Open) -> None:
    server.default = servers.Reply(503)
    afterwards(stop, server, OK)
    headers = {"Idempotency-Key": "key-1"}
    reply = way(server.url).ask("POST", PATH, unless_ok, fields=[["a", "1"]], headers=headers)
    assert reply.status == 200
    first, second = server.requests
    assert (first.path, first.headers, first.body) == (second.path, second.headers, second.body)


def test_the_wait_grows_with_jitter_up_to_five_seconds(server: HookServer, stop: Hasty, way: Open) -> None:
    failure = servers.Reply(503)
    server.default = failure
    afterwards(stop, server, *[failure] * 9, OK)
    way(server.url).ask("GET", PATH, unless_ok)
    waits = [each for each in stop.asked if each > 0.00001]  # without those for the rate limit
    bounds = [0.5, 1, 2, 4, *[5] * 6]
    assert len(server.requests) == 11
    assert all(wait <= bound for wait, bound in zip(waits[-len(bounds) :], bounds, strict=False))
    assert len(set(waits)) > 5


@pytest.mark.parametrize("asked", ["0", "1", "9"])
def test_the_wait_is_the_one_asked_for(server: HookServer, stop: Hasty, way: Open, asked: str) -> None:
    server.default = servers.Reply(429, {"Retry-After": asked})
    afterwards(stop, server, OK)
    assert way(server.url).ask("GET", PATH, unless_ok).status == 200
    assert float(asked) in stop.asked
    assert stop.longest <= max(float(asked), 0.001)


@pytest.mark.parametrize("asked", ["10", "3600", "9" * 400])
def test_what_would_take_longer_than_the_patience_is_not_waited_for(
    server: HookServer, stop: Hasty, way: Open, asked: str
) -> None:
    server.default = servers.Reply(429, {"Retry-After": asked})
    assert way(server.url).ask("GET", PATH, unless_ok).status == 429
    assert len(server.requests) == 1
    assert stop.longest < 1


@pytest.mark.parametrize(
    "asked", ["", "-5", "1.5", "soon", "Fri, 99 Dec 2026", "Fri, 31 Dec 1999 23:59:59 GMT"]
)
def test_what_is_no_number_of_seconds_is_not_heeded(
    server: HookServer, stop: Hasty, way: Open, asked: str
) -> None:
    server.default = servers.Reply(429, {"Retry-After": asked})
    afterwards(stop, server, OK)
    assert way(server.url).ask("GET", PATH, unless_ok).status == 200
    assert stop.longest <= 0.5


def test_a_repeat_that_the_rate_limit_puts_off_too_long_is_left(
    server: HookServer, stop: Hasty, way: Open
) -> None:
    server.default = servers.Reply(503)
    afterwards(stop, server, OK)
    assert way(server.url, Rate(1, 60)).ask("POST", PATH, unless_ok).status == 503
    assert len(server.requests) == 1


def test_its_patience_covers_the_last_repeat(server: HookServer, way: Open) -> None:
    # Of four threads the last waits for four slots, and for one pause.
    assert way(server.url, Rate(1, 1), 60.0).patience == timedelta(seconds=10 + 4 + 5 + 60)


# What is known after several


@pytest.mark.parametrize(
    ("replies", "is_open"),
    [
        ([OK], False),
        ([servers.Reply(429), servers.Reply(401)], False),
        ([servers.Reply(429), servers.Reply(400), OK], False),
        ([servers.Reply(500)], False),  # it is the one that nobody can tell of, not an earlier one
        ([servers.Reply(500), servers.Reply(401)], True),
        ([servers.Reply(409), servers.Reply(429)], True),
        ([servers.Reply(drop=True), servers.Reply(429)], True),
        ([servers.Reply(drop=True), servers.Reply(429), servers.Reply(401)], True),
        ([servers.Reply(202), servers.Reply(429)], True),
    ],
)
def test_whether_an_earlier_one_is_open(
    server: HookServer, stop: Hasty, way: Open, replies: list[servers.Reply], is_open: bool
) -> None:
    server.default = replies[0]
    afterwards(stop, server, *replies[1:])
    reply = way(server.url).ask("POST", PATH, lambda _: len(server.requests) < len(replies))
    assert len(server.requests) == len(replies)
    assert reply.open is is_open


@pytest.mark.parametrize(
    ("status", "tells"),
    [
        *((status, True) for status in (400, 401, 402, 403, 404, 429)),
        *((status, False) for status in (201, 202, 204, 302, 307, 408, 409, 424, 499, 500, 502, 503, 504)),
    ],
)
def test_which_statuses_tell(status: int, tells: bool) -> None:
    assert Reply(status).tells is tells


# The run's stop signal


def test_told_to_stop_before_it_began_nothing_is_sent(server: HookServer, stop: Hasty, way: Open) -> None:
    stop.told = True
    with pytest.raises(NotBegunError):
        way(server.url).ask("POST", PATH, unless_ok)
    assert server.requests == []


@pytest.mark.parametrize("nth", [2, 3, 4])  # before the wait, during it, while it waits for its turn
@pytest.mark.parametrize("status", [429, 503])
def test_told_to_stop_between_two_the_first_ones_answer_counts(
    server: HookServer, stop: Hasty, way: Open, nth: int, status: int
) -> None:
    def tell() -> None:
        stop.told = len(stop.asked) >= nth

    stop.then = tell
    server.default = servers.Reply(status, body=json.dumps({"a": 1}).encode())
    reply = way(server.url).ask("POST", PATH, unless_ok)
    assert len(server.requests) == 1
    assert (reply.status, reply.body, reply.begun, reply.open) == (status, {"a": 1}, True, False)


# The rate limit


def test_requests_keep_their_distance(server: HookServer, stop: Hasty, way: Open) -> None:
    transport = way(server.url, Rate(1, 60))
    for method in ("GET", "POST", "GET"):
        transport.ask(method, PATH, never)
    assert [round(each / 10) for each in stop.asked] == [0, 6, 12]
