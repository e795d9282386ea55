"""What comes over the wire in a way that does harm, and what a gateway says in a provider's place."""

import zlib
from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest
import requests

from jobctl.sandbox import Sandbox
from jobctl.sandbox.answers.gateway import AFTER, GATEWAY
from tests.sandbox.client import INTENTS, TIMEOUT, Client, ok
from tests.sandbox.merchant import Merchant
from tests.sandbox.shop import Shop
from tests.world import NOW

BROKEN = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


def streamed(stripe: Client) -> requests.Response:
    return stripe.session.get(stripe.url + INTENTS, timeout=TIMEOUT, stream=True)


def test_a_bomb_of_gzip(stripe: Client, sandbox: Sandbox) -> None:
    """Whoever unpacks it all has a thousand times of what came."""
    sandbox.fault("gzip_bomb", "list")
    with streamed(stripe) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        packed = answer.raw.read(decode_content=False)
    assert len(packed) < 300_000
    unpacker, size = zlib.decompressobj(wbits=31), 0
    while True:
        block = unpacker.decompress(packed, 1 << 20)
        size, packed = size + len(block), unpacker.unconsumed_tail
        if not block:
            break
    assert size > 200_000_000


def test_a_body_that_breaks_off(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.fault("truncated", "authorize")
    with pytest.raises(BROKEN):
        stripe.hold("key-1")
    assert len(sandbox.ledger()) == 1
    ok(stripe.hold("key-1"))
    assert len(sandbox.ledger()) == 1


def test_a_body_longer_than_is_said(stripe: Client, sandbox: Sandbox) -> None:
    """What is read is half of it; no later answer begins with the rest."""
    sandbox.fault("wrong_length", "authorize")
    answer = stripe.hold("key-1")
    assert answer.headers["Connection"] == "close"
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert ok(stripe.hold("key-1"))["status"] == "requires_capture"


def test_a_body_without_end(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.fault("drip", "list", seconds=0.001)
    with streamed(stripe) as answer:
        assert answer.status_code == 200
        assert len(answer.raw.read(50)) == 50
    assert ok(stripe.get(INTENTS))["data"] == []


def test_headers_without_end(stripe: Client, sandbox: Sandbox) -> None:
    """A line of them is as long as a client lets it become."""
    sandbox.fault("drip_head", "list", seconds=0.0001)
    with pytest.raises(BROKEN):
        streamed(stripe)


def test_left_it_ends_them() -> None:
    with Sandbox() as another, Client(another.url) as client:
        another.fault("drip", seconds=0.001)
        answer = streamed(client)
        assert answer.raw.read(1)
    with pytest.raises(BROKEN):
        list(answer.iter_content(1 << 20))


class TestGateway:
    @pytest.mark.parametrize("fault", ["html_200", "html_404", "html_502"])
    def test_a_page(self, stripe: Client, shop: Shop, sandbox: Sandbox, fault: str) -> None:
        """Without an effect, and no key knows of it."""
        sandbox.fault(fault, times=2)
        for answer in (stripe.hold("key-1"), shop.charge("key-1")):
            assert answer.status_code == int(fault.removeprefix("html_"))
            assert answer.headers["Content-Type"].startswith("text/html")
            assert answer.text.startswith("<!DOCTYPE html>")
        assert sandbox.ledger() == []
        ok(stripe.hold("key-1"))
        ok(shop.charge("key-1"))

    def test_a_page_after_the_effect(self, stripe: Client, sandbox: Sandbox) -> None:
        sandbox.fault("html_502_after", "authorize")
        assert stripe.hold("key-1").status_code == 502
        assert len(sandbox.ledger()) == 1
        ok(stripe.hold("key-1"))
        assert len(sandbox.ledger()) == 1

    def test_a_route_that_there_is_not(self, paystack: Merchant, sandbox: Sandbox) -> None:
        sandbox.fault("route_not_found")
        answer = paystack.verify("ref-1")
        assert (answer.status_code, answer.json()) == (404, {"message": "Route not found"})

    def test_a_pause_in_seconds(self, shop: Shop, sandbox: Sandbox) -> None:
        sandbox.fault("http_503", seconds=60, times=2)
        told = [shop.charge(), shop.charge()]
        assert [(each.status_code, each.headers["Retry-After"]) for each in told] == [(503, "60")] * 2
        ok(shop.charge())

    @pytest.mark.parametrize(("fault", "status"), [("http_429_date", 429), ("http_503_date", 503)])
    def test_a_pause_until_an_instant(
        self, stripe: Client, sandbox: Sandbox, fault: str, status: int
    ) -> None:
        """By the provider's clock, as its Date."""
        sandbox.conditions("stripe", skew=-660)
        sandbox.fault(fault, seconds=600)
        answer = stripe.hold()
        until, date = (parsedate_to_datetime(answer.headers[each]) for each in ("Retry-After", "Date"))
        assert answer.status_code == status
        assert abs(until - date - timedelta(minutes=10)) <= timedelta(seconds=1)
        assert until < NOW

    def test_or_to_all_requests(self, stripe: Client, sandbox: Sandbox) -> None:
        sandbox.fault("http_503", probability=1)
        assert {stripe.hold().status_code for _ in range(9)} == {503}

    def test_every_one_is_tested_here(self) -> None:
        pages = {"html_200", "html_404", "html_502", "html_502_after", "route_not_found"}
        assert {*pages, "http_503", "http_503_date", "http_429_date"} == {*GATEWAY, *AFTER}
