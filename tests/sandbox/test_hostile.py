"""Hostile text: where it is put, and that it comes over the wire as JSON."""

import json
from typing import Any

import pytest

from jobctl.sandbox import SECRET_KEY, YOOKASSA_SECRET_KEY, Sandbox
from jobctl.sandbox.answers.hostile import HOSTILE
from tests.sandbox.client import INTENTS, Client, error, ok
from tests.sandbox.merchant import Merchant, paid
from tests.sandbox.shop import Shop

DECLINED = {"payment_method": "pm_card_chargeDeclined"}
TEXT = "Your card was declined."
PUT: dict[str, Any] = {
    "text_nul": TEXT + "\0",
    "text_surrogate": TEXT + "\ud800",
    "text_control": TEXT + "\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202e",
    "text_long": TEXT + "x" * 2**20,
    "text_echo": f"{TEXT} Bearer {SECRET_KEY}",
    "text_object": {"value": TEXT},
    "text_list": [TEXT],
    "text_number": 1.5,
}


@pytest.mark.parametrize("fault", PUT)
def test_a_refusals_message(stripe: Client, sandbox: Sandbox, fault: str) -> None:
    """It alone, wherever it stands; what the key says is right."""
    right = stripe.hold("key-1", **DECLINED).json()
    sandbox.fault(fault, "authorize")
    wrong = stripe.hold("key-1", **DECLINED).json()
    assert wrong["error"].pop("message") == PUT[fault]
    assert wrong["error"]["payment_intent"]["last_payment_error"].pop("message") == PUT[fault]
    del right["error"]["message"], right["error"]["payment_intent"]["last_payment_error"]["message"]
    assert wrong == right
    assert error(stripe.hold("key-1", **DECLINED))["message"] == TEXT


def test_every_one_is_tested_here() -> None:
    assert {*PUT, "text_deep"} == set(HOSTILE)


@pytest.mark.parametrize("fault", PUT)
def test_without_a_text_it_is_the_id(stripe: Client, sandbox: Sandbox, fault: str) -> None:
    sandbox.fault(fault, "authorize")
    said = ok(stripe.hold())
    (effect,) = sandbox.ledger()
    assert said["id"] != effect.intent
    assert said["status"] == "requires_capture"


def test_a_surrogate_is_escaped(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.fault("text_surrogate", "authorize")
    assert b"\\ud800" in stripe.hold().content


@pytest.mark.parametrize("place", ["status", "latest_charge", "order"])
def test_or_the_place_that_is_named(stripe: Client, sandbox: Sandbox, place: str) -> None:
    sandbox.fault("text_object", "authorize", place=place)
    said = ok(stripe.hold(**{"metadata[order]": "17"}))
    found = said["metadata"]["order"] if place == "order" else said[place]
    assert found.keys() == {"value"}


def test_of_lists_too(stripe: Client, sandbox: Sandbox) -> None:
    for _ in range(2):
        stripe.charged()
    sandbox.fault("text_number", "list")
    assert [each["id"] for each in ok(stripe.get(INTENTS))["data"]] == [1.5, 1.5]


def test_at_the_others(shop: Shop, paystack: Merchant, sandbox: Sandbox) -> None:
    """YooKassa's descriptions, Paystack's messages and what the gateway says."""
    paid(sandbox, "ref-1")
    sandbox.fault("text_echo", times=3)
    assert YOOKASSA_SECRET_KEY in shop.charge(payment_method_id="pm_yk_nobody").json()["description"]
    assert SECRET_KEY in paystack.verify("ref-0").json()["message"]
    assert SECRET_KEY in ok(paystack.verify("ref-1"))["data"]["gateway_response"]


def test_what_is_nested_too_deep(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.fault("text_deep", "authorize")
    answer = stripe.hold()
    assert answer.status_code == 200
    assert answer.content.count(b"[[[[") > 10_000
    with pytest.raises(RecursionError):
        json.loads(answer.content)
