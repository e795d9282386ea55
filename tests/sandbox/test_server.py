"""The server: connections, latency, an end."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import requests

from jobctl.sandbox import Sandbox
from tests.sandbox.client import INTENTS, Client, ok, until


def port_of(sandbox: Sandbox) -> int:
    port = urlsplit(sandbox.url).port
    assert port
    return port


def test_connections_are_kept(sandbox: Sandbox) -> None:
    """Whatever was answered, a refusal included; only a fault closes one."""
    with closing(HTTPConnection("127.0.0.1", port_of(sandbox), timeout=30)) as connection:
        connection.connect()
        first = connection.sock
        for method, path in (("GET", INTENTS), ("POST", INTENTS), ("GET", "/nowhere"), ("GET", INTENTS)):
            connection.request(method, path, headers={"Authorization": "Bearer sk_test_1"})
            connection.getresponse().read()
            assert connection.sock is first


def test_many_connections_at_once(sandbox: Sandbox) -> None:
    def work(number: int) -> list[str]:
        with Client(sandbox.url) as client:
            held = [client.held(**{"metadata[n]": str(number)}) for _ in range(20)]
            return [ok(client.capture(each))["id"] for each in held]

    with ThreadPoolExecutor(16) as pool:
        captured = [each for made in pool.map(work, range(16)) for each in made]
    effects = sandbox.ledger()
    assert sorted(each.intent for each in effects if each.kind == "capture") == sorted(captured)
    assert sandbox.totals() == {
        "usd": {"held": 320_000, "captured": 320_000, "released": 0, "refunded": 0},
    }


def test_latency_is_hidden_by_concurrency() -> None:
    with Sandbox(latency=0.2) as sandbox, ThreadPoolExecutor(8) as pool:
        clients = [Client(sandbox.url) for _ in range(8)]
        began = time.monotonic()
        answers = list(pool.map(Client.hold, clients))
        took = time.monotonic() - began
        for each in clients:
            each.session.close()
    assert {each.status_code for each in answers} == {200}
    assert 0.2 <= took < 8 * 0.2


def test_it_listens_on_the_loopback_address_only(sandbox: Sandbox) -> None:
    ok(requests.get(f"{sandbox.url}/_sandbox/ledger", timeout=30))
    with pytest.raises(OSError, match=r".*"), socket.create_connection(("127.0.0.2", port_of(sandbox)), 5):
        pass


def test_a_port_in_use_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=port_of(sandbox))


def test_left_it_listens_no_more() -> None:
    """Not even to a connection that was kept."""
    with Sandbox() as sandbox:
        client = Client(sandbox.url)
        ok(client.hold())
    with client, pytest.raises(requests.ConnectionError):
        client.get(INTENTS)
    with Sandbox(port=port_of(sandbox)) as again:
        assert again.url == sandbox.url


def test_left_it_waits_for_no_delay() -> None:
    with ThreadPoolExecutor() as pool, Sandbox() as sandbox, Client(sandbox.url) as client:
        sandbox.fault("delay", seconds=600)
        pool.submit(client.hold)
        until(lambda: not sandbox.faults())
        began = time.monotonic()
    assert time.monotonic() - began < 60
