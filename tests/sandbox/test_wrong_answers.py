"""Answers about something else than what was asked: what is changed, and that nothing else is."""

from collections.abc import Callable
from typing import Any

import pytest

from jobctl.sandbox import Sandbox
from jobctl.sandbox.answers.wrong import WRONG
from tests.sandbox.client import INTENTS, Client, ok
from tests.sandbox.merchant import TRANSACTIONS, Merchant, paid
from tests.sandbox.shop import PAYMENTS, Shop

Changed = dict[str, tuple[Any, Any]]


def changes(right: Any, wrong: Any, path: str = "") -> Changed:
    """Return what differs, by where it is."""
    if isinstance(right, dict) and isinstance(wrong, dict):
        names = right.keys() | wrong.keys()
        found = (changes(right.get(each), wrong.get(each), f"{path}.{each}") for each in names)
        return {where: what for each in found for where, what in each.items()}
    return {} if right == wrong else {path: (right, wrong)}


def at_stripe(stripe: Client, _: Any, __: Any, ___: Any) -> Callable[[], Any]:
    intent = ok(stripe.charge(**{"metadata[order]": "17"}))["id"]
    return lambda: ok(stripe.get(f"{INTENTS}/{intent}"))


def at_yookassa(_: Any, shop: Shop, __: Any, ___: Any) -> Callable[[], Any]:
    payment = shop.charged(metadata={"order": "17"})
    return lambda: shop.payment(payment)


def at_paystack(_: Any, __: Any, paystack: Merchant, sandbox: Sandbox) -> Callable[[], Any]:
    paid(sandbox, "ref-17", metadata={"order": "17"})
    return lambda: ok(paystack.verify("ref-17"))


SIDES = {"stripe": at_stripe, "yookassa": at_yookassa, "paystack": at_paystack}
WHERE: dict[tuple[str, str], Any] = {
    ("other_id", "stripe"): {".id"},
    ("other_id", "yookassa"): {".id"},
    ("other_id", "paystack"): {".data.id"},
    ("other_amount", "stripe"): {".amount": 1, ".amount_received": 1},
    ("other_amount", "yookassa"): {".amount.value": "0.01"},
    ("other_amount", "paystack"): {".data.amount": 1},
    ("other_received", "stripe"): {".amount_received": 1},
    ("other_received", "yookassa"): {".amount.value": "0.01"},
    ("other_received", "paystack"): {".data.amount": 1},
    ("other_currency", "stripe"): {".currency": "eur"},
    ("other_currency", "yookassa"): {".amount.currency": "USD"},
    ("other_currency", "paystack"): {".data.currency": "USD"},
    ("other_mode", "stripe"): {".livemode": True},
    ("other_mode", "yookassa"): {".test": False},
    ("other_mode", "paystack"): {".data.domain": "live"},
    ("other_reference", "stripe"): {".metadata.order": "11"},
    ("other_reference", "yookassa"): {".metadata.order": "11"},
    ("other_reference", "paystack"): {".data.metadata.order": "11", ".data.reference": "ref-11"},
    ("no_metadata", "stripe"): {".metadata.order"},
    ("no_metadata", "yookassa"): {".metadata.order"},
    ("no_metadata", "paystack"): {".data.metadata.order"},
    ("other_status", "stripe"): {".status": "on_hold"},
    ("other_status", "yookassa"): {".status": "on_hold"},
    ("other_status", "paystack"): {".data.status": "on_hold"},
    ("unpaid", "stripe"): {".amount_received": 0},
    ("unpaid", "yookassa"): {".paid": False},
    ("unpaid", "paystack"): {".data.paid_at": None},
}


@pytest.mark.parametrize("case", WHERE, ids="-".join)
def test_an_object(
    stripe: Client, shop: Shop, paystack: Merchant, sandbox: Sandbox, case: tuple[str, str]
) -> None:
    """The next answer is right again."""
    fault, provider = case
    ask = SIDES[provider](stripe, shop, paystack, sandbox)
    right = ask()
    sandbox.fault(fault, "retrieve")
    found = changes(right, ask())
    wanted = WHERE[fault, provider]
    assert found.keys() == set(wanted)
    if isinstance(wanted, dict):
        assert {where: wrong for where, (_, wrong) in found.items()} == wanted
    assert ask() == right


def test_every_one_is_tested_here() -> None:
    assert {fault for fault, _ in WHERE} | {"other_payment", "beside"} == set(WRONG)


def test_a_capture_of_less_than_was_asked_for(stripe: Client, sandbox: Sandbox) -> None:
    """The effect, and what its key says, are right."""
    intent = stripe.held()
    sandbox.fault("other_received", "capture")
    answer = ok(stripe.capture(intent, "key-1", **{"expand[0]": "latest_charge"}))
    assert (answer["amount_received"], answer["latest_charge"]["amount_captured"]) == (1, 1)
    again = ok(stripe.capture(intent, "key-1", **{"expand[0]": "latest_charge"}))
    assert again["amount_received"] == 1000
    assert [each.amount for each in sandbox.ledger()] == [1000, 1000]


def test_a_refund_of_another_payment(
    stripe: Client, shop: Shop, paystack: Merchant, sandbox: Sandbox
) -> None:
    intent, payment, reference = stripe.charged(), shop.charged(), paid(sandbox, "ref-17")
    sandbox.fault("other_payment", "refund", times=3)
    assert ok(stripe.refund(intent))["payment_intent"] not in ("", intent)
    assert ok(shop.refund(payment, "1.00"))["payment_id"] not in ("", payment)
    assert ok(paystack.refund(reference))["data"]["transaction"]["reference"] == "ref-11"
    assert [each.intent for each in sandbox.ledger() if each.kind == "refund"] == [intent, payment]


def test_a_list_is_wrong_throughout(stripe: Client, sandbox: Sandbox) -> None:
    for _ in range(2):
        stripe.charged()
    sandbox.fault("other_amount", "list")
    assert [each["amount"] for each in ok(stripe.get(INTENTS))["data"]] == [1, 1]


def test_beside_the_right_one_is_another_of_a_cent(
    stripe: Client, shop: Shop, paystack: Merchant, sandbox: Sandbox
) -> None:
    """With the same metadata, and before it."""
    ok(stripe.charge(**{"metadata[key]": "k-1"}))
    shop.charged(metadata={"key": "k-1"})
    paid(sandbox, metadata={"key": "k-1"})
    sandbox.fault("beside", times=3)
    stripe.charged()
    lists = [
        ok(stripe.get(INTENTS))["data"][2:],
        ok(shop.get(PAYMENTS))["items"],
        ok(paystack.get(TRANSACTIONS))["data"],
    ]
    for small, right in lists:
        assert small["metadata"] == right["metadata"] == {"key": "k-1"}
        assert small["id"] != right["id"]
        assert small["amount"] in (1, {"value": "0.01", "currency": "RUB"})


def test_a_refusal_is_left_as_it_is(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.fault("other_id", "authorize")
    refused = stripe.hold(payment_method="pm_card_chargeDeclined")
    assert refused.status_code == 402
    assert refused.json()["error"]["code"] == "card_declined"
