"""YooKassa's idempotence keys, as "Interaction format" and "Recommendations" have them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import TIMEOUT, ok, until
from tests.sandbox.shop import CHARGE, PAYMENTS, Shop, refused, rub
from tests.world import NOW

DUPLICATED = (400, "invalid_request", "Idempotence-Key")


def test_the_same_again_has_no_second_effect(shop: Shop, sandbox: Sandbox) -> None:
    first, second = shop.charge("key-1"), shop.charge("key-1")
    assert (second.status_code, second.content) == (200, first.content)
    assert len(sandbox.ledger()) == 1
    assert sandbox.requests() == {"charge": {"requests": 2, "replayed": 1}}


def test_the_order_of_the_fields_does_not_matter(shop: Shop) -> None:
    first = shop.charge("key-1")
    assert shop.post(PAYMENTS, "key-1", dict(reversed(CHARGE.items()))).content == first.content


def test_asking_again_tells_what_became_of_a_pending_payment(shop: Shop, sandbox: Sandbox) -> None:
    first = ok(shop.charge("key-1", payment_method_id="pm_yk_pending_succeeds"))
    sandbox.advance(600)
    again = ok(shop.charge("key-1", payment_method_id="pm_yk_pending_succeeds"))
    assert (first["status"], again["status"], again["id"]) == ("pending", "succeeded", first["id"])
    assert len(sandbox.ledger()) == 1


def test_each_call_can_be_repeated(shop: Shop, sandbox: Sandbox) -> None:
    """Its payment no longer allows one, but the key is known."""
    payment, other = shop.held(), shop.held()
    for _ in range(2):
        assert ok(shop.capture(payment, "key-c"))["status"] == "succeeded"
        assert ok(shop.cancel(other, "key-r"))["status"] == "canceled"
        made = [ok(shop.refund(payment, "1.00", "key-b"))["id"] for _ in range(2)]
        assert made[0] == made[1]
    assert [each.kind for each in sandbox.ledger()] == ["hold", "hold", "capture", "release", "refund"]


@pytest.mark.parametrize("changed", [{"amount": rub("450.01")}, {"capture": False}, {"metadata": {"a": "b"}}])
def test_with_other_parameters_it_is_refused(shop: Shop, sandbox: Sandbox, changed: dict[str, Any]) -> None:
    first = shop.charge("key-1")
    assert refused(shop.charge("key-1", **changed)) == DUPLICATED
    assert len(sandbox.ledger()) == 1
    assert shop.charge("key-1").content == first.content


def test_at_another_endpoint_it_is_refused(shop: Shop) -> None:
    payment = shop.held()
    ok(shop.capture(payment, "key-1"))
    assert refused(shop.cancel(payment, "key-1")) == DUPLICATED


@pytest.mark.parametrize("key", ["", "k" * 65, "key 1", "key/1", "key:1"])
def test_a_key_is_required_and_has_its_form(shop: Shop, sandbox: Sandbox, key: str) -> None:
    headers = {"Idempotence-Key": key}
    answer = shop.session.post(shop.url + PAYMENTS, json=CHARGE, headers=headers, timeout=TIMEOUT)
    assert refused(answer) == DUPLICATED
    assert sandbox.ledger() == []


def test_none_is_refused_and_stripes_header_is_none(shop: Shop, sandbox: Sandbox) -> None:
    headers = {"Idempotency-Key": "key-1"}
    answer = shop.session.post(shop.url + PAYMENTS, json=CHARGE, headers=headers, timeout=TIMEOUT)
    assert refused(answer) == DUPLICATED
    assert sandbox.ledger() == []


@pytest.mark.parametrize("key", ["k" * 64, "a", "AZaz09+-_."])
def test_what_is_a_key(shop: Shop, key: str) -> None:
    ok(shop.charge(key))


def test_a_decline_is_known_by_its_key(shop: Shop) -> None:
    declined = {"payment_method_id": "pm_yk_insufficient_funds"}
    assert shop.charge("key-1", **declined).content == shop.charge("key-1", **declined).content
    assert len(shop.listed()) == 1


def test_a_refusal_leaves_the_key_free(shop: Shop, sandbox: Sandbox) -> None:
    assert shop.charge("key-1", amount=rub("1")).status_code == 400
    ok(shop.charge("key-1"))
    payment = shop.held()
    assert shop.capture(payment, "key-2", amount=rub("500.00")).status_code == 400
    ok(shop.capture(payment, "key-2"))
    assert len(sandbox.ledger()) == 3


class TestForgotten:
    def test_after_24_hours_it_is_a_new_payment(self, shop: Shop, sandbox: Sandbox) -> None:
        """Counted from the first use, not from the last."""
        first = ok(shop.charge("key-1"))["id"]
        sandbox.set_clock(NOW + timedelta(hours=23, minutes=59))
        assert ok(shop.charge("key-1"))["id"] == first
        sandbox.set_clock(NOW + timedelta(hours=24, minutes=1))
        assert ok(shop.charge("key-1"))["id"] != first
        assert [each.kind for each in sandbox.ledger()] == ["charge", "charge"]

    def test_then_other_parameters_will_do(self, shop: Shop, sandbox: Sandbox) -> None:
        ok(shop.charge("key-1"))
        sandbox.advance(86_401)
        ok(shop.charge("key-1", amount=rub("1.00")))

    def test_a_500_is_a_use_too(self, shop: Shop, sandbox: Sandbox) -> None:
        sandbox.fault("http_500_after")
        assert shop.charge("key-1").status_code == 500
        sandbox.advance(86_401)
        ok(shop.charge("key-1"))
        assert len(sandbox.ledger()) == 2


def test_while_the_first_is_under_way_the_result_is_not_known(shop: Shop, sandbox: Sandbox) -> None:
    sandbox.fault("delay", "charge", seconds=600)
    with ThreadPoolExecutor() as pool, Shop(sandbox.url) as another:
        first = pool.submit(another.charge, "key-1")
        until(lambda: not sandbox.faults())
        assert refused(shop.charge("key-1")) == (500, "internal_server_error", None)
        sandbox.advance(90_000)
        assert shop.charge("key-1").status_code == 500
        assert sandbox.ledger() == []
        sandbox.clear_faults()
        ok(first.result())
    assert len(sandbox.ledger()) == 1


def test_many_at_once_have_one_effect(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        shops = [Shop(sandbox.url) for _ in range(8)]
        answers = list(pool.map(lambda each: each.charge("key-1"), shops))
        for each in shops:
            each.session.close()
    assert {each.status_code for each in answers} <= {200, 500}
    assert len(sandbox.ledger()) == 1


def test_keys_belong_to_their_account(shop: Shop, sandbox: Sandbox) -> None:
    with Shop(sandbox.url, ("42", "test_other")) as other:
        assert ok(shop.charge("key-1"))["id"] != ok(other.charge("key-1", amount=rub("1.00")))["id"]
    assert len(sandbox.ledger()) == 2
