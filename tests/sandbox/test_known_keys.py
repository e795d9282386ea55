"""Keys that are known with other data, and a 500 that its key outlives."""

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import Client, error, ok
from tests.sandbox.merchant import Merchant, paid
from tests.sandbox.shop import Shop, refused


def test_at_stripe_it_is_an_idempotency_error(stripe: Client, sandbox: Sandbox) -> None:
    """As long as a key lives; then it is new."""
    sandbox.fault("key_known", "authorize")
    for _ in range(2):
        answer = stripe.hold("key-1")
        assert (answer.status_code, error(answer)["type"]) == (400, "idempotency_error")
    assert sandbox.ledger() == []
    ok(stripe.hold("key-2"))
    sandbox.advance(86_401)
    ok(stripe.hold("key-1"))


def test_at_yookassa_it_is_duplicated(shop: Shop, sandbox: Sandbox) -> None:
    sandbox.fault("key_known", "charge")
    for _ in range(2):
        answer = shop.charge("key-1")
        assert refused(answer) == (400, "invalid_request", "Idempotence-Key")
        assert "duplicated" in answer.json()["description"]
    assert sandbox.ledger() == []
    ok(shop.charge("key-2"))
    sandbox.advance(86_401)
    ok(shop.charge("key-1"))


def test_where_there_is_none_nothing_happens(stripe: Client, paystack: Merchant, sandbox: Sandbox) -> None:
    sandbox.fault("key_known", times=3)
    ok(stripe.hold())
    ok(paystack.refund(paid(sandbox)))
    with Client(sandbox.url, "wrong") as stranger:
        assert stranger.hold("key-1").status_code == 401


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_500_that_worked_goes_on_for_so_many_repeats(shop: Shop, sandbox: Sandbox, repeats: int) -> None:
    """Then the same key tells what was done at the first."""
    sandbox.fault("http_500_lost", "charge", times=repeats, contains="key-1")
    for _ in range(repeats):
        assert refused(shop.charge("key-1")) == (500, "internal_server_error", None)
        ok(shop.charge())
    told = ok(shop.charge("key-1"))
    assert told["id"] == next(each.intent for each in sandbox.ledger() if each.key == "key-1")
    assert len(sandbox.ledger()) == repeats + 1


def test_of_a_replayed_500_stripe_never_tells_the_end(stripe: Client, sandbox: Sandbox) -> None:
    """With its effect: that one alone can be found."""
    sandbox.fault("http_500_after", "authorize")
    answers = [stripe.hold("key-1") for _ in range(4)]
    assert [each.status_code for each in answers] == [500] * 4
    assert [each.headers.get("Idempotent-Replayed") for each in answers] == [None, *["true"] * 3]
    assert len(sandbox.ledger()) == 1
