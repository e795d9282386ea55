"""The control API: the same as the Python methods, over HTTP."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from jobctl.sandbox import Sandbox
from tests.sandbox.client import INTENTS, TIMEOUT, Client, ok
from tests.world import NOW

PAID = {"provider": "yookassa", "amount": 100, "currency": "RUB"}


def control(sandbox: Sandbox, method: str, name: str, document: Any = None) -> requests.Response:
    return requests.request(method, f"{sandbox.url}/_sandbox/{name}", json=document, timeout=TIMEOUT)


def test_the_ledger(stripe: Client, sandbox: Sandbox) -> None:
    intent = ok(stripe.hold("key-h", **{"metadata[operation]": "op-7"}))["id"]
    ok(stripe.capture(intent, "key-c", amount_to_capture="600"))
    found = ok(control(sandbox, "GET", "ledger"))
    for each in found["effects"]:
        assert NOW <= datetime.fromisoformat(each.pop("at")) < NOW + timedelta(minutes=1)
    same = {"provider": "stripe", "intent": intent, "currency": "usd", "metadata": {"operation": "op-7"}}
    assert found["effects"] == [
        {**same, "kind": "hold", "amount": 1000, "key": "key-h"},
        {**same, "kind": "capture", "amount": 600, "key": "key-c"},
    ]


def test_its_totals_are_the_sums_of_its_effects(stripe: Client, sandbox: Sandbox) -> None:
    """By currency; what expires is released too, and what was held stays held in the sum."""
    ok(stripe.capture(stripe.held(), amount_to_capture="600"))
    ok(stripe.cancel(stripe.held(amount="2000")))
    stripe.held(amount="4000")
    ok(stripe.refund(stripe.charged(amount="8000"), amount="500"))
    stripe.charged(amount="300", currency="eur")
    sandbox.advance(5 * 86_400)
    totals = {
        "usd": {"held": 7000, "captured": 8600, "released": 6000, "refunded": 500},
        "eur": {"held": 0, "captured": 300, "released": 0, "refunded": 0},
    }
    assert ok(control(sandbox, "GET", "ledger"))["totals"] == sandbox.totals() == totals


def test_faults(stripe: Client, sandbox: Sandbox) -> None:
    armed = {"kind": "http_429", "call": "authorize", "times": 2, "contains": "op-", "seconds": 7}
    answer = ok(control(sandbox, "POST", "faults", armed))
    assert answer == {"faults": sandbox.faults()}
    assert answer["faults"] == [{**armed, "probability": None, "seed": 0, "place": ""}]
    struck = stripe.hold("op-1")
    assert (struck.status_code, struck.headers["Retry-After"]) == (429, "7")
    assert ok(control(sandbox, "DELETE", "faults")) == {"faults": []}
    ok(stripe.hold("op-1"))


def test_the_clock(stripe: Client, sandbox: Sandbox) -> None:
    at = "2031-05-06T07:08:09Z"
    said = datetime.fromisoformat(ok(control(sandbox, "POST", "clock", {"now": at}))["now"])
    assert timedelta() <= said - datetime.fromisoformat(at) < timedelta(minutes=1)
    stripe.held()
    later = ok(control(sandbox, "POST", "clock", {"advance": 5 * 86_400}))["now"]
    assert datetime.fromisoformat(later) - said >= timedelta(days=5)
    assert [each.kind for each in sandbox.ledger()] == ["hold", "expiry"]


@pytest.mark.parametrize(("provider", "currency"), [("yookassa", "RUB"), ("stripe", "rub")])
def test_a_customer_pays_at_the_provider_itself(sandbox: Sandbox, provider: str, currency: str) -> None:
    paid = {"provider": provider, "amount": 45_000, "currency": currency, "metadata": {"order": "17"}}
    times = {"at": "2026-03-02T09:00:00Z", "captured_at": "2026-03-02T10:00:00"}
    made = ok(control(sandbox, "POST", "payments", {**paid, **times}))["id"]
    (effect,) = ok(control(sandbox, "GET", "ledger"))["effects"]
    at = "2026-03-02T10:00:00.000Z"
    assert effect == {**paid, "intent": made, "kind": "charge", "key": None, "at": at}
    assert sandbox.requests() == {}


def test_a_payment_at_paystack_is_said_again_by_its_reference(sandbox: Sandbox) -> None:
    paid = {"provider": "paystack", "amount": 500_000, "currency": "NGN", "reference": "ref-17"}
    for status, effects in (("pending", 0), ("success", 1)):
        made = ok(control(sandbox, "POST", "payments", {**paid, "status": status}))
        assert made == {"id": "ref-17"}
        assert len(sandbox.ledger()) == effects


def test_what_stripe_says_of_such_a_payment(stripe: Client, sandbox: Sandbox) -> None:
    at, captured = NOW - timedelta(hours=3), NOW - timedelta(hours=1)
    made = sandbox.pay("stripe", 1000, "usd", {"order": "17"}, at=at, captured_at=captured)
    (found,) = ok(stripe.get(INTENTS, **{"expand[0]": "data.latest_charge"}))["data"]
    assert (found["id"], found["status"], found["amount_received"]) == (made, "succeeded", 1000)
    assert (found["created"], found["latest_charge"]["created"]) == (at.timestamp(), captured.timestamp())
    assert found["metadata"] == {"order": "17"}


def test_requests_are_counted(stripe: Client, sandbox: Sandbox) -> None:
    """Those that replayed something too, and which version of the API was spoken."""
    stripe.session.headers["Stripe-Version"] = "2025-09-30.clover"
    for _ in range(3):
        ok(stripe.hold("key-1"))
    del stripe.session.headers["Stripe-Version"]
    stripe.capture("pi_0")
    sandbox.fault("dropped", "list")
    with pytest.raises(requests.ConnectionError):
        stripe.get(INTENTS)
    assert ok(control(sandbox, "GET", "requests")) == {
        "calls": {
            "authorize": {"requests": 3, "replayed": 2},
            "capture": {"requests": 1, "replayed": 0},
            "list": {"requests": 1, "replayed": 0},
        },
        "versions": {"2025-09-30.clover": 3},
    }


def test_what_is_on_its_way(stripe: Client, sandbox: Sandbox) -> None:
    intent = stripe.held()
    sandbox.fault("late", "capture", seconds=60)
    with pytest.raises(requests.ConnectionError):
        stripe.capture(intent, "key-c")
    (pending,) = ok(control(sandbox, "GET", "pending"))["pending"]
    due = datetime.fromisoformat(pending.pop("at"))
    assert NOW + timedelta(minutes=1) <= due < NOW + timedelta(minutes=2)
    assert pending == {"call": "capture", "path": f"{INTENTS}/{intent}/capture", "key": "key-c"}
    control(sandbox, "POST", "clock", {"advance": 120})
    assert ok(control(sandbox, "GET", "pending")) == {"pending": []}
    assert [each.kind for each in sandbox.ledger()] == ["hold", "capture"]


def test_reset_forgets_everything(stripe: Client, sandbox: Sandbox) -> None:
    held = ok(stripe.hold("key-1"))["id"]
    sandbox.fault("late", "authorize")
    with pytest.raises(requests.ConnectionError):
        stripe.hold("key-2")
    sandbox.fault("http_429")
    ok(control(sandbox, "POST", "reset"))
    assert (sandbox.ledger(), sandbox.pending(), sandbox.faults(), sandbox.requests()) == ([], [], [], {})
    assert sandbox.now() > NOW + timedelta(days=1)
    assert stripe.get(f"{INTENTS}/{held}").status_code == 404
    assert ok(stripe.hold("key-1"))["id"] != held


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("faults", {"kind": "fire"}),
        ("faults", {"kind": "dropped", "often": 3}),
        ("faults", {"kind": "dropped", "times": "twice"}),
        ("faults", ["dropped"]),
        ("faults", None),
        ("clock", {"advance": -1}),
        ("clock", {"advance": "soon"}),
        ("clock", {"now": "noon"}),
        ("clock", {"now": "2026-03-02T12:00:00Z", "advance": 1}),
        ("clock", None),
        ("payments", None),
        ("payments", {**PAID, "provider": "wallet"}),
        ("payments", {**PAID, "amount": 0}),
        ("payments", {**PAID, "amount": "1.00"}),
        ("payments", {**PAID, "amount": True}),
        ("payments", {**PAID, "currency": "rub"}),
        ("payments", {**PAID, "currency": 643}),
        ("payments", {**PAID, "provider": "stripe"}),
        ("payments", {**PAID, "metadata": {"order": 17}}),
        ("payments", {**PAID, "metadata": "order 17"}),
        ("payments", {**PAID, "account": "shop:test_1"}),
        ("payments", {**PAID, "at": "noon"}),
        ("payments", {**PAID, "at": None}),
        ("payments", {**PAID, "at": "2026-03-03T12:00:00Z"}),
        ("payments", {**PAID, "captured_at": "2026-03-01T12:00:00Z"}),
        ("payments", {**PAID, "status": "authorized"}),
        ("payments", {**PAID, "reference": "ref-1"}),
        ("payments", {**PAID, "provider": "paystack"}),
        ("payments", {**PAID, "provider": "paystack", "currency": "NGN", "status": "paid"}),
        ("payments", {**PAID, "provider": "flutterwave", "currency": "NGN"}),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(sandbox: Sandbox, name: str, document: Any) -> None:
    refused = control(sandbox, "POST", name, document)
    assert (refused.status_code, list(refused.json())) == (400, ["error"])
    assert (sandbox.faults(), sandbox.ledger()) == ([], [])
    assert sandbox.now() < NOW + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/_sandbox/faults"), ("POST", "/_sandbox/x"), ("GET", "/")]
)
def test_where_nothing_is(sandbox: Sandbox, method: str, path: str) -> None:
    assert requests.request(method, sandbox.url + path, timeout=TIMEOUT).status_code == 404
