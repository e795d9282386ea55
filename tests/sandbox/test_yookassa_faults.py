"""Faults at YooKassa: what the client sees, what happens all the same, and what its key says afterwards."""

from collections.abc import Callable

import pytest
import requests

from jobctl.sandbox import Sandbox
from tests.sandbox.client import ok, until
from tests.sandbox.shop import PAYMENTS, REFUNDS, Shop, refused, rub
from tests.world import NOW

BROKEN = requests.ConnectionError


class TestKinds:
    @pytest.mark.parametrize(("fault", "had"), [("lost_answer", 1), ("dropped", 0)])
    def test_no_answer(self, shop: Shop, sandbox: Sandbox, fault: str, had: int) -> None:
        sandbox.fault(fault, "charge")
        with pytest.raises(BROKEN):
            shop.charge("key-1")
        assert len(sandbox.ledger()) == had
        assert ok(shop.charge("key-1"))["status"] == "succeeded"
        assert len(sandbox.ledger()) == 1

    def test_delay(self, shop: Shop, sandbox: Sandbox) -> None:
        """Whoever gives up waiting has not undone it."""
        sandbox.fault("delay", "charge", seconds=600)
        shop.timeout = (30, 0.2)
        with pytest.raises(requests.ReadTimeout):
            shop.charge()
        assert sandbox.ledger() == []
        sandbox.clear_faults()
        until(sandbox.ledger)
        assert [each.kind for each in sandbox.ledger()] == ["charge"]

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (400, "invalid_request"),
            (401, "invalid_credentials"),
            (403, "forbidden"),
            (409, None),
            (429, "too_many_requests"),
        ],
    )
    def test_turned_away(self, shop: Shop, sandbox: Sandbox, status: int, code: str | None) -> None:
        sandbox.fault(f"http_{status}", "charge")
        assert refused(shop.charge("key-1")) == (status, code, None)
        assert sandbox.ledger() == []
        ok(shop.charge("key-1"))

    def test_rate_limited_says_in_milliseconds_until_when(self, shop: Shop, sandbox: Sandbox) -> None:
        """In its body, and not in Stripe's header."""
        sandbox.fault("http_429", seconds=1.5)
        answer = shop.charge()
        assert answer.json()["retry_after"] == 1500
        assert "Retry-After" not in answer.headers

    def test_http_500_before(self, shop: Shop, sandbox: Sandbox) -> None:
        """There is no effect until the same is sent again and no fault strikes."""
        sandbox.fault("http_500_before", "charge", times=2)
        for _ in range(2):
            assert refused(shop.charge("key-1")) == (500, "internal_server_error", None)
        assert (sandbox.ledger(), shop.listed()) == ([], [])
        assert ok(shop.charge("key-1"))["status"] == "succeeded"
        assert [each.key for each in sandbox.ledger()] == ["key-1"]

    def test_after_a_500_its_key_is_for_the_same_request_only(self, shop: Shop, sandbox: Sandbox) -> None:
        sandbox.fault("http_500_before", "charge")
        shop.charge("key-1")
        again = shop.charge("key-1", amount=rub("1.00"))
        assert refused(again) == (400, "invalid_request", "Idempotence-Key")

    @pytest.mark.parametrize("call", ["charge", "capture", "release", "refund"])
    def test_http_500_after(self, shop: Shop, sandbox: Sandbox, call: str) -> None:
        """The effect is there to be found, and the same request sent again tells."""
        held, paid = shop.held(), shop.charged()
        repeated: dict[str, Callable[[], requests.Response]] = {
            "charge": lambda: shop.charge("key-1"),
            "capture": lambda: shop.capture(held, "key-1"),
            "release": lambda: shop.cancel(held, "key-1"),
            "refund": lambda: shop.refund(paid, "1.00", "key-1"),
        }
        asked = repeated[call]
        sandbox.fault("http_500_after", call)
        assert asked().status_code == 500
        assert [each.kind for each in sandbox.ledger()[2:]] == [call]
        told = ok(asked())
        assert told.get("payment_id", told["id"]) == sandbox.ledger()[2].intent
        assert len(sandbox.ledger()) == 3

    @pytest.mark.parametrize(("fault", "body"), [("garbage", None), ("empty", {})])
    def test_answers_that_say_nothing(
        self, shop: Shop, sandbox: Sandbox, fault: str, body: dict[str, str] | None
    ) -> None:
        sandbox.fault(fault, "charge")
        answer = shop.charge("key-1")
        assert answer.status_code == 200
        if body is None:
            with pytest.raises(requests.JSONDecodeError):
                answer.json()
        else:
            assert answer.json() == body
        assert len(sandbox.ledger()) == 1
        assert ok(shop.charge("key-1"))["status"] == "succeeded"


class TestLate:
    def test_it_arrives_later(self, shop: Shop, sandbox: Sandbox) -> None:
        """Until then there is nothing to be found; then its effect is as of its own arrival."""
        sandbox.fault("late", "charge")
        with pytest.raises(BROKEN):
            shop.charge("key-1")
        assert (sandbox.ledger(), shop.listed()) == ([], [])
        (waiting,) = sandbox.pending()
        assert (waiting["call"], waiting["key"], waiting["path"]) == ("charge", "key-1", PAYMENTS)
        sandbox.advance(600)
        (effect,) = sandbox.ledger()
        assert 45 <= (effect.at - NOW).total_seconds() < 75
        assert shop.listed() == [effect.intent]
        assert ok(shop.charge("key-1"))["id"] == effect.intent
        assert len(sandbox.ledger()) == 1

    def test_after_its_key_was_forgotten_it_is_a_second_charge(self, shop: Shop, sandbox: Sandbox) -> None:
        sandbox.fault("late", "charge", seconds=90_000)
        with pytest.raises(BROKEN):
            shop.charge("key-1")
        ok(shop.charge("key-1"))
        sandbox.advance(86_000)
        assert len(sandbox.ledger()) == 1
        sandbox.advance(4_001)
        assert [each.key for each in sandbox.ledger()] == ["key-1", "key-1"]

    def test_what_can_no_longer_be_done_is_not(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.held()
        sandbox.fault("late", "capture", seconds=10)
        with pytest.raises(BROKEN):
            shop.capture(payment)
        ok(shop.cancel(payment))
        sandbox.advance(11)
        assert [each.kind for each in sandbox.ledger()] == ["hold", "release"]


CALLS: dict[str, Callable[[Shop, str], requests.Response]] = {
    "authorize": lambda shop, _: shop.hold(),
    "charge": lambda shop, _: shop.charge(),
    "capture": lambda shop, payment: shop.capture(payment),
    "release": lambda shop, payment: shop.cancel(payment),
    "refund": lambda shop, payment: shop.refund(payment, "1.00"),
    "retrieve": lambda shop, payment: shop.get(f"{PAYMENTS}/{payment}"),
    "list": lambda shop, _: shop.get(PAYMENTS),
}


class TestWhichRequests:
    @pytest.mark.parametrize("call", CALLS)
    def test_only_the_named_call(self, shop: Shop, sandbox: Sandbox, call: str) -> None:
        payment = shop.held()
        sandbox.fault("http_403", call, times=100)
        struck = [name for name, made in CALLS.items() if made(shop, payment).status_code == 403]
        assert struck == [call]

    @pytest.mark.parametrize(("path", "call"), [(REFUNDS, "list"), (f"{REFUNDS}/1", "retrieve")])
    def test_refunds_are_read_as_payments_are(
        self, shop: Shop, sandbox: Sandbox, path: str, call: str
    ) -> None:
        sandbox.fault("http_403", call)
        assert shop.get(path).status_code == 403

    def test_only_those_marked_so(self, shop: Shop, sandbox: Sandbox) -> None:
        """By the key, by what is in the metadata, and by the payment, of a refund too."""
        one, other = shop.charged(), shop.charged()
        sandbox.fault("http_429", contains="run-7", times=2)
        assert shop.charge("run-8", metadata={"operation": "run-8"}).status_code == 200
        assert shop.charge("run-7").status_code == 429
        assert shop.charge(metadata={"operation": "a run-7"}).status_code == 429
        sandbox.fault("http_429", contains=one, times=2)
        assert [shop.refund(each, "1.00").status_code for each in (other, one)] == [200, 429]
        assert shop.get(f"{PAYMENTS}/{one}").status_code == 429
