import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests

from jobctl import __version__, http
from jobctl.addresses import is_public
from jobctl.channels.protocol import Answer, Message, Refused, Sent
from jobctl.channels.webhook import LONGEST_DELAY, Webhook, delay, scope
from jobctl.job import Lost, ScopeDownError
from jobctl.settings import Settings
from tests.servers import HookServer, Reply, closed_port

SECRET = bytes(range(32))
KEY = "abcd1234.notification-7"
MESSAGE = Message(
    id=7,
    channel="webhook",
    key=KEY,
    user_id=42,
    recipient="Ada",
    address="",
    template="payment-received",
    category="transactional",
    subject="Payment received",
    text="Přišla platba\n",
    html=None,
    queued_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    data={"order": 5, "amount": "12.50"},
)

Open = Callable[..., Webhook]


@pytest.fixture
def server() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


@pytest.fixture
def channel() -> Iterator[Open]:
    """Open a channel, closed when the test ends; the test's own server is in a private network."""
    with ExitStack() as closing:

        def opened(**changed: Any) -> Webhook:
            usual = {
                "webhook_secret": SECRET,
                "webhook_timeout": timedelta(seconds=5),
                "webhook_allow_private": True,
            }
            webhook = Webhook(Settings(**{**usual, **changed}), 4)
            closing.callback(webhook.close)
            return webhook

        yield opened


def to(server: HookServer, path: str = "/hook") -> Message:
    return replace(MESSAGE, address=server.url + path)


def down(webhook: Webhook, message: Message) -> ScopeDownError:
    with pytest.raises(ScopeDownError) as caught:
        webhook.send(message)
    assert caught.value.scope.startswith(scope(message.address))
    assert message.address.partition("://")[2] not in caught.value.reason
    return caught.value


def refused(answer: Answer) -> Refused:
    assert isinstance(answer, Refused)
    return answer


# What is sent


def test_a_message_arrives_as_json(server: HookServer, channel: Open) -> None:
    assert channel().send(to(server)) == Sent()
    (hook,) = server.requests
    assert hook.path == "/hook"
    assert json.loads(hook.body) == {
        "type": "payment-received",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "data": {
            "notification_id": 7,
            "user_id": 42,
            "category": "transactional",
            "context": {"order": 5, "amount": "12.50"},
        },
    }
    assert hook.headers["content-type"] == "application/json"
    assert hook.headers["user-agent"] == f"jobctl/{__version__}"
    assert hook.headers["idempotency-key"] == KEY


def test_the_signature_is_the_one_of_standard_webhooks(server: HookServer, channel: Open) -> None:
    channel().send(to(server))
    (hook,) = server.requests
    stamp = hook.headers["webhook-timestamp"]
    signed = hmac.new(SECRET, f"{KEY}.{stamp}.".encode() + hook.body, hashlib.sha256).digest()
    assert hook.headers["webhook-id"] == KEY
    assert hook.headers["webhook-signature"] == "v1," + base64.b64encode(signed).decode()
    assert abs(int(stamp) - time.time()) < 10


def test_a_repeat_has_the_same_id_and_body(server: HookServer, channel: Open) -> None:
    webhook = channel()
    webhook.send(to(server))
    webhook.send(replace(to(server), data={"amount": "12.50", "order": 5}))
    first, second = server.requests
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_data_that_is_no_json_is_the_messages_own_failure(
    server: HookServer, channel: Open, value: Any
) -> None:
    answer = channel().send(replace(to(server), data={"value": value}))
    assert answer == Refused("the message's data cannot be written as JSON", permanent=True)
    assert server.requests == []


# What the endpoint answers


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_sent(server: HookServer, channel: Open, status: int) -> None:
    server.default = Reply(status, {"x-request-id": "1"}, b"ok" if status != 204 else b"")
    assert channel().send(to(server)) == Sent()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(server: HookServer, channel: Open, status: int) -> None:
    server.replies["/hook"] = Reply(status, {"Location": f"{server.url}/elsewhere"}, b"x")
    answer = channel().send(to(server))
    assert answer == Refused(f"redirects are not followed: {status}", permanent=True)
    assert [hook.path for hook in server.requests] == ["/hook"]


def test_where_a_redirect_leads_does_not_matter(server: HookServer, channel: Open) -> None:
    server.default = Reply(302, {"Location": "http://[::1"})
    assert channel().send(to(server)) == Refused("redirects are not followed: 302", permanent=True)


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_other_4xx_are_for_good(server: HookServer, channel: Open, status: int) -> None:
    server.default = Reply(status, {"Retry-After": "5"})
    assert channel().send(to(server)) == Refused(f"the webhook answered {status}", permanent=True)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(server: HookServer, channel: Open, status: int) -> None:
    server.default = Reply(status)
    webhook = channel()
    assert webhook.send(to(server)) == Refused(f"the webhook answered {status}", permanent=False)
    server.default = Reply(status, {"Retry-After": "120"})
    if status in (429, 503):  # of the endpoint, and not of the message
        assert down(webhook, to(server)).retry_after == timedelta(minutes=2)
    else:
        assert refused(webhook.send(to(server))).retry_after == timedelta(minutes=2)


@pytest.mark.parametrize("status", [401, 403])
def test_a_lock_out_closes_this_endpoint_alone(server: HookServer, channel: Open, status: int) -> None:
    server.default = Reply(status)
    webhook = channel()
    errors = [down(webhook, to(server, path)) for path in ("/a", "/b", "/a")]
    assert errors[0].scope == errors[2].scope != errors[1].scope
    assert errors[0].reason == f"the webhook answered {status}"


NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("0", None),
        ("-5", None),
        ("soon", None),
        ("1.5", None),
        ("30", timedelta(seconds=30)),
        ("9" * 5000, None),
        ("999999999", LONGEST_DELAY),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), timedelta(minutes=5)),
        (format_datetime(NOW - timedelta(minutes=5), usegmt=True), None),
        ("Fri, 31 Dec 9999 23:59:59 -0000", LONGEST_DELAY),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(
    header: str | None, expected: timedelta | None
) -> None:
    assert delay(header, NOW) == expected


# How connections fail


def test_an_endpoint_that_is_not_there_closes_its_scope(channel: Open) -> None:
    message = replace(MESSAGE, address=f"http://127.0.0.1:{closed_port()}/hook")
    assert down(channel(), message).reason == (
        "the webhook could not be reached: no connection (Connection refused)"
    )


def test_a_host_without_address_closes_its_scope(channel: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    error = down(channel(), replace(MESSAGE, address="https://nowhere.invalid/hook"))
    assert error.scope == "webhook https://nowhere.invalid:443"
    assert error.reason == "the webhook could not be reached: its host name could not be resolved"


def test_a_host_that_speaks_no_tls_closes_its_scope(server: HookServer, channel: Open) -> None:
    address = to(server).address.replace("http:", "https:")
    assert "TLS failed" in down(channel(), replace(MESSAGE, address=address)).reason


def test_an_untrusted_certificate_closes_the_scope(channel: Open) -> None:
    with HookServer(tls=True) as server:
        assert "its certificate is not trusted" in down(channel(), to(server)).reason
        assert server.requests == []


def test_a_handshake_that_is_not_answered_closes_the_scope(channel: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = replace(MESSAGE, address=f"https://127.0.0.1:{silent.getsockname()[1]}/hook")
        reason = down(channel(webhook_timeout=timedelta(seconds=0.1)), message).reason
    assert reason == "the webhook could not be reached: no connection in time"


def test_a_drop_after_the_request_is_lost(server: HookServer, channel: Open) -> None:
    server.default = Reply(drop=True)
    lost = Lost("the webhook did not confirm the message: the connection was dropped")
    assert channel().send(to(server)) == lost
    assert len(server.requests) == 1


def test_an_answer_that_comes_too_late_is_lost(server: HookServer, channel: Open) -> None:
    late = threading.Event()
    server.default = Reply(after=late)
    answer = channel(webhook_timeout=timedelta(seconds=0.1)).send(to(server))
    late.set()
    assert answer == Lost("the webhook did not confirm the message: no answer in time")


def test_an_answer_that_trickles_in_does_not_outlast_the_time(server: HookServer, channel: Open) -> None:
    server.default = Reply(trickle=True)
    began = time.monotonic()
    answer = channel(webhook_timeout=timedelta(seconds=0.2)).send(to(server))
    assert answer == Lost("the webhook did not confirm the message: no answer in time")
    assert time.monotonic() - began < 20


def test_a_body_without_end_is_cut_off(server: HookServer, channel: Open) -> None:
    server.default = Reply(200, endless=True)
    began = time.monotonic()
    assert channel(webhook_timeout=timedelta(seconds=0.2)).send(to(server)) == Sent()
    assert time.monotonic() - began < 20


def test_a_connection_is_reused(server: HookServer, channel: Open) -> None:
    server.default = Reply(200, body=b"x" * 1000)
    webhook = channel()
    for _ in range(4):
        assert webhook.send(to(server)) == Sent()
    assert server.connections == 1


def test_a_connection_whose_answer_was_too_long_is_not_reused(server: HookServer, channel: Open) -> None:
    server.default = Reply(200, body=b"x" * 10_000_000)
    webhook = channel()
    for _ in range(2):
        assert webhook.send(to(server)) == Sent()
    assert server.connections == 2


def test_a_reused_connection_has_its_full_time_again(server: HookServer, channel: Open) -> None:
    webhook = channel(webhook_timeout=timedelta(seconds=0.5))
    for _ in range(3):
        held = threading.Event()
        server.default = Reply(after=held)
        threading.Timer(0.25, held.set).start()
        assert webhook.send(to(server)) == Sent()
    assert server.connections == 1


# Where webhooks may not go


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fd00::1]",
        "[ff02::1]",
        "[::ffff:127.0.0.1]",
        "[2002:7f00:1::]",
        "[64:ff9b::10.0.0.1]",
    ],
)
def test_private_addresses_are_refused(server: HookServer, channel: Open, host: str) -> None:
    webhook = channel(webhook_allow_private=False, webhook_timeout=timedelta(seconds=0.5))
    for scheme in ("http", "https"):
        answer = refused(webhook.send(replace(MESSAGE, address=f"{scheme}://{host}:{server.port}/")))
        assert answer.permanent
        assert "WEBHOOK_ALLOW_PRIVATE" in answer.reason
    assert server.connections == 0


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "192.0.0.192",
        "192.88.99.1",
        "198.18.0.1",
        "203.0.113.1",
        "240.0.0.1",
        "100:0:0:1::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "64:ff9b:1::8.8.8.8",
        "::8.8.8.8",
        "fec0::1",
        "fe80::1%lo",
        "5f00::1",
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = resolving(monkeypatch, "8.8.8.8", "127.0.0.1")
    with http.session(1, allow_private=False) as session, pytest.raises(http.PrivateAddressError):
        session.get("http://rebinding.example/", timeout=1)
    assert looked_up == ["rebinding.example"]


def test_a_host_is_looked_up_once_and_reached_where_it_was_found(
    server: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = resolving(monkeypatch, "127.0.0.1")
    with http.session(1, allow_private=True) as session:
        session.get(f"http://hook.example:{server.port}/", timeout=1)
    assert looked_up == ["hook.example"]
    assert server.requests[0].headers["host"] == f"hook.example:{server.port}"


def test_the_certificate_must_be_the_hosts_whatever_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1")
    names = ("hook.example",)
    with HookServer(tls=True, names=names) as server, http.session(1, allow_private=True) as session:
        assert server.certificate
        session.verify = str(server.certificate.ca_file)
        assert session.get(f"https://hook.example:{server.port}/", timeout=1).ok
        with pytest.raises(requests.ConnectionError) as caught:
            session.get(f"https://other.example:{server.port}/", timeout=1)
        assert http.certainly_not_begun(caught.value)
        assert "its certificate is not trusted" in http.trouble(caught.value)
        assert len(server.requests) == 1


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every host name have these addresses; return the list of the names that are looked up."""
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **options: Any) -> Any:
        if host.replace(".", "").isdecimal():
            return real(host, *args, **options)
        looked_up.append(host)
        return [each for address in addresses for each in real(address, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return looked_up


@pytest.mark.parametrize(
    "address",
    [
        "",
        "hook",
        "//127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
        "http:///hook",
        "http://user:secret@127.0.0.1/",
        "http://user@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:port/",
        "http://[::1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nX: y",
        "http://example.org\\@127.0.0.1/",
        "http://*.example/",
        f"http://{'x' * 64}.example/",
        "http://example..org/",
    ],
)
def test_what_is_no_web_address_is_refused(channel: Open, address: str) -> None:
    webhook = channel()
    message = replace(MESSAGE, address=address)
    answer = refused(webhook.send(message))
    assert answer.permanent
    assert "127.0.0.1" not in answer.reason
    assert scope(message.address).startswith("webhook")


# The session's manners


def test_many_threads_share_the_session(server: HookServer, channel: Open) -> None:
    webhook = channel()
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(webhook.send(to(server)))) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == [Sent()] * 4
    assert server.connections <= 4


def test_nothing_is_taken_from_the_environment_or_an_earlier_answer(
    server: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    server.default = Reply(200, {"Set-Cookie": "a=b; Path=/"})
    with http.session(1, allow_private=True) as session:
        for _ in range(2):
            assert session.get(server.url, timeout=1).status_code == 200
    assert "cookie" not in server.requests[1].headers
