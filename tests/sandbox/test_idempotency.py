"""Idempotency keys, as "Idempotent requests" and "Advanced error handling" have them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import HOLD, INTENTS, Client, error, ok, said, until
from tests.world import NOW

REPLAYED = "Idempotent-Replayed"


def test_the_same_again_has_no_second_effect(stripe: Client, sandbox: Sandbox) -> None:
    first, second = stripe.hold("key-1"), stripe.hold("key-1")
    assert (second.status_code, second.content) == (200, first.content)
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"
    assert len(sandbox.ledger()) == 1


def test_the_order_of_the_parameters_does_not_matter(stripe: Client) -> None:
    first = stripe.hold("key-1")
    assert stripe.post(INTENTS, "key-1", **dict(reversed(HOLD.items()))).content == first.content


def test_without_a_key_each_is_a_new_effect(stripe: Client, sandbox: Sandbox) -> None:
    assert stripe.held() != stripe.held()
    assert len(sandbox.ledger()) == 2


def test_a_replay_tells_what_was_not_what_is(stripe: Client) -> None:
    held = ok(stripe.hold("key-1"))
    ok(stripe.cancel(held["id"], "key-2"))
    assert ok(stripe.hold("key-1"))["status"] == "requires_capture"


def test_a_capture_can_be_repeated(stripe: Client, sandbox: Sandbox) -> None:
    """Its object no longer allows one, but the key is known."""
    intent = stripe.held()
    first = stripe.capture(intent, "key-c")
    assert stripe.capture(intent, "key-c").content == first.content
    assert [each.kind for each in sandbox.ledger()] == ["hold", "capture"]


class TestMisuse:
    def test_other_parameters(self, stripe: Client, sandbox: Sandbox) -> None:
        ok(stripe.hold("key-1"))
        refused = stripe.hold("key-1", amount="1001")
        assert (refused.status_code, error(refused)["type"]) == (400, "idempotency_error")
        assert len(sandbox.ledger()) == 1

    def test_another_endpoint(self, stripe: Client) -> None:
        intent = stripe.held()
        ok(stripe.capture(intent, "key-1"))
        assert error(stripe.cancel(intent, "key-1"))["type"] == "idempotency_error"

    def test_it_leaves_what_is_stored(self, stripe: Client) -> None:
        first = stripe.hold("key-1")
        stripe.hold("key-1", amount="1001")
        assert stripe.hold("key-1").content == first.content

    def test_a_key_of_more_than_255_characters(self, stripe: Client, sandbox: Sandbox) -> None:
        ok(stripe.hold("k" * 255))
        assert stripe.hold("k" * 256).status_code == 400
        assert len(sandbox.ledger()) == 1


class TestStored:
    def test_a_decline(self, stripe: Client) -> None:
        declined = {"payment_method": "pm_card_visa_chargeDeclined"}
        first, second = stripe.hold("key-1", **declined), stripe.hold("key-1", **declined)
        assert (second.status_code, second.content) == (402, first.content)
        assert second.headers[REPLAYED] == "true"
        assert len(ok(stripe.get(INTENTS))["data"]) == 1

    def test_a_refusal_by_the_objects_state(self, stripe: Client) -> None:
        """By then the call had begun; corrected, it needs a key of its own."""
        intent = stripe.held()
        first = stripe.capture(intent, "key-1", amount_to_capture="1001")
        assert first.status_code == 400
        assert stripe.capture(intent, "key-1", amount_to_capture="1001").headers[REPLAYED] == "true"


class TestNotStored:
    @pytest.mark.parametrize("wrong", [{"amount": "0"}, {"payment_method": "pm_card_nobody"}])
    def test_what_fails_validation(self, stripe: Client, wrong: dict[str, str]) -> None:
        assert stripe.hold("key-1", **wrong).status_code == 400
        assert REPLAYED not in stripe.hold("key-1", **wrong).headers
        assert ok(stripe.hold("key-1"))["status"] == "requires_capture"

    def test_what_does_not_exist(self, stripe: Client) -> None:
        assert stripe.capture("pi_0", "key-1").status_code == 404
        ok(stripe.capture(stripe.held(), "key-1"))

    def test_a_request_without_a_right_key(self, stripe: Client, sandbox: Sandbox) -> None:
        with Client(sandbox.url, "wrong") as stranger:
            assert stranger.hold("key-1").status_code == 401
        assert REPLAYED not in stripe.hold("key-1").headers

    @pytest.mark.parametrize("status", [401, 403, 409, 429])
    def test_what_comes_before_the_idempotency_layer(
        self, stripe: Client, sandbox: Sandbox, status: int
    ) -> None:
        sandbox.fault(f"http_{status}")
        assert stripe.hold("key-1").status_code == status
        assert ok(stripe.hold("key-1"))["status"] == "requires_capture"

    def test_a_get(self, stripe: Client) -> None:
        headers = {"Idempotency-Key": "key-1"}
        for _ in range(2):
            answer = stripe.session.get(stripe.url + INTENTS, headers=headers, timeout=30)
            assert REPLAYED not in answer.headers
        assert REPLAYED not in stripe.hold("key-1").headers


def test_while_the_first_is_under_way_a_second_is_refused(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.fault("delay", "authorize", seconds=600)
    with ThreadPoolExecutor() as pool, Client(sandbox.url) as another:
        first = pool.submit(another.hold, "key-1")
        until(lambda: not sandbox.faults())
        assert said(stripe.hold("key-1")) == (409, "idempotency_key_in_use", None)
        assert sandbox.ledger() == []
        sandbox.clear_faults()
        assert first.result().status_code == 200
    assert stripe.hold("key-1").headers[REPLAYED] == "true"
    assert len(sandbox.ledger()) == 1


def test_many_at_once_have_one_effect(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        clients = [Client(sandbox.url) for _ in range(8)]
        answers = list(pool.map(lambda each: each.hold("key-1"), clients))
        for each in clients:
            each.session.close()
    assert {each.status_code for each in answers} <= {200, 409}
    assert len(sandbox.ledger()) == 1


class TestForgotten:
    def test_a_day_after_its_first_use_it_is_a_new_effect(self, stripe: Client, sandbox: Sandbox) -> None:
        first = ok(stripe.hold("key-1"))["id"]
        sandbox.set_clock(NOW + timedelta(hours=23, minutes=59))
        assert ok(stripe.hold("key-1"))["id"] == first
        sandbox.set_clock(NOW + timedelta(hours=24, minutes=1))
        assert ok(stripe.hold("key-1"))["id"] != first
        assert [each.kind for each in sandbox.ledger()] == ["hold", "hold"]

    def test_then_other_parameters_will_do(self, stripe: Client, sandbox: Sandbox) -> None:
        ok(stripe.hold("key-1"))
        sandbox.advance(86_401)
        assert ok(stripe.hold("key-1", amount="2000"))["amount"] == 2000


def test_keys_belong_to_their_account(stripe: Client, sandbox: Sandbox) -> None:
    with Client(sandbox.url, "sk_test_other") as other:
        assert ok(stripe.hold("key-1"))["id"] != ok(other.hold("key-1", amount="2000"))["id"]
    assert len(sandbox.ledger()) == 2
