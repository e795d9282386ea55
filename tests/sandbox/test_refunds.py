"""Refunds that are decided later, or come to nothing, and what is refused of an object."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from jobctl.sandbox import Sandbox
from tests.sandbox.client import Client, ok
from tests.sandbox.merchant import Merchant, data, paid
from tests.sandbox.shop import Shop
from tests.sandbox.test_control import control

GIVEN, FAILED = {"paystack": "processed"}, {"yookassa": "canceled"}


class Giver:
    """A payment of 10.00 at one provider, and its refunds."""

    def __init__(self, name: str, sandbox: Sandbox, client: Client, shop: Shop, paystack: Merchant) -> None:
        self.name, self.sandbox = name, sandbox
        self.client, self.shop, self.paystack = client, shop, paystack
        pay: dict[str, Callable[[], str]] = {
            "stripe": client.charged,
            "yookassa": lambda: shop.charged(amount={"value": "10.00", "currency": "RUB"}),
            "paystack": lambda: paid(sandbox, amount=1000),
        }
        self.payment = pay[name]()
        self.given, self.failed = GIVEN.get(name, "succeeded"), FAILED.get(name, "failed")

    def ask(self, key: str | None = None, cents: int = 1000) -> requests.Response:
        if self.name == "stripe":
            return self.client.refund(self.payment, key, amount=str(cents))
        if self.name == "yookassa":
            return self.shop.refund(self.payment, f"{cents // 100}.00", key)
        return self.paystack.refund(self.payment, cents)

    def refund(self, cents: int = 1000) -> str:
        made = ok(self.ask(cents=cents))
        return str(made.get("data", made)["id"])

    def told(self, refund: str) -> Any:
        if self.name == "stripe":
            return ok(self.client.get(f"/v1/refunds/{refund}"))
        if self.name == "yookassa":
            return ok(self.shop.get(f"/v3/refunds/{refund}"))
        return data(self.paystack.get(f"/refund/{refund}"))

    def state(self, refund: str) -> str:
        return str(self.told(refund)["status"])

    def back(self) -> int:
        return sum(each.amount for each in self.sandbox.ledger() if each.kind == "refund")


@pytest.fixture(params=["stripe", "yookassa", "paystack"])
def giver(
    request: pytest.FixtureRequest, sandbox: Sandbox, stripe: Client, shop: Shop, paystack: Merchant
) -> Giver:
    return Giver(request.param, sandbox, stripe, shop, paystack)


def test_one_may_be_pending_until_somebody_says(giver: Giver, sandbox: Sandbox) -> None:
    sandbox.conditions(giver.name, refund_first="pending")
    refund = giver.refund()
    sandbox.advance(86_400)
    assert (giver.state(refund), giver.back()) == ("pending", 0)
    assert giver.ask(cents=100).status_code == 400
    assert sandbox.dashboard.settle(giver.name, refund, giver.given) == refund
    assert (giver.state(refund), giver.back()) == (giver.given, 1000)


def test_one_may_fail_later(giver: Giver, sandbox: Sandbox) -> None:
    """Then there is as much left to be given back as before."""
    sandbox.conditions(giver.name, refund_first="pending", refund_then=giver.failed, refund_after=3600)
    refund = giver.refund()
    sandbox.advance(3500)
    assert giver.state(refund) == "pending"
    sandbox.advance(200)
    assert (giver.state(refund), giver.back()) == (giver.failed, 0)
    sandbox.conditions(giver.name, refund_first=None, refund_then=None)
    giver.refund()
    sandbox.advance(61)
    assert giver.back() == 1000


def test_one_may_succeed_later(giver: Giver, sandbox: Sandbox) -> None:
    sandbox.conditions(giver.name, refund_first="pending", refund_then=giver.given)
    refund = giver.refund(400)
    assert giver.back() == 0
    sandbox.advance(61)
    assert (giver.state(refund), giver.back()) == (giver.given, 400)


def test_whoever_comes_before_decides(giver: Giver, sandbox: Sandbox) -> None:
    sandbox.conditions(giver.name, refund_first="pending", refund_then=giver.failed)
    refund = giver.refund()
    sandbox.dashboard.settle(giver.name, refund, giver.given)
    sandbox.advance(3600)
    assert (giver.state(refund), giver.back()) == (giver.given, 1000)


def test_at_stripe_one_that_succeeded_may_come_back(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.conditions("stripe", refund_first="succeeded", refund_then="failed")
    intent = stripe.charged()
    refund = ok(stripe.refund(intent))
    assert (refund["status"], len(sandbox.ledger())) == ("succeeded", 2)
    sandbox.advance(61)
    (listed,) = ok(stripe.get("/v1/refunds"))["data"]
    assert (listed["status"], listed["failure_reason"]) == ("failed", "unknown")
    assert [each.kind for each in sandbox.ledger()] == ["charge"]
    assert stripe.intent(intent)["latest_charge"]["amount_refunded"] == 0


def test_at_yookassa_it_says_why(shop: Shop, sandbox: Sandbox) -> None:
    sandbox.conditions("yookassa", refund_first="canceled")
    made = ok(shop.refund(shop.charged(), "1.00"))
    assert made["cancellation_details"] == {"party": "yoo_money", "reason": "insufficient_funds"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"refund_first": "processed"},
        {"refund_first": "pending", "refund_then": "processed"},
        {"refund_first": "failed", "refund_then": "succeeded"},
        {"refund_then": "failed"},
        {"refund_after": -1},
        {"provider": "billing", "refund_first": "pending"},
    ],
)
def test_what_no_refund_becomes_is_refused(sandbox: Sandbox, wrong: dict[str, Any]) -> None:
    refused = control(sandbox, "POST", "conditions", {"provider": "stripe", **wrong})
    assert (refused.status_code, list(refused.json())) == (400, ["error"])
    assert sandbox.conditions("stripe").refund_first is None


def test_nor_by_hand(giver: Giver, sandbox: Sandbox) -> None:
    sandbox.conditions(giver.name, refund_first=giver.failed)
    refund = giver.refund()
    for name, status in ((refund, giver.given), (refund, "lost"), ("0", giver.given)):
        wanted = {"provider": giver.name, "refund": name, "status": status}
        assert control(sandbox, "POST", "dashboard/settle", wanted).status_code == 400
    assert (giver.state(refund), giver.back()) == (giver.failed, 0)


class TestRefused:
    def test_a_refund(self, giver: Giver, sandbox: Sandbox) -> None:
        """As often as is said, and without an effect; Stripe's key goes on saying it."""
        sandbox.fault("refused", "refund", times=2)
        refused = [giver.ask(f"key-{n}").status_code for n in range(2)]
        assert (refused, giver.back()) == ([400, 400], 0)
        assert giver.ask("key-0").status_code == (400 if giver.name == "stripe" else 200)

    @pytest.mark.parametrize("call", ["capture", "cancel"])
    def test_a_capture_or_a_release(self, stripe: Client, shop: Shop, sandbox: Sandbox, call: str) -> None:
        held = (stripe, stripe.held()), (shop, shop.held())
        for client, payment in held:
            sandbox.fault("refused", "release" if call == "cancel" else call)
            assert getattr(client, call)(payment).status_code == 400
            ok(getattr(client, call)(payment))
