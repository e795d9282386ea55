"""What a provider doesn't know, or doesn't take: customers, payment methods, currencies, small amounts."""

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import Client, ok, said
from tests.sandbox.shop import Shop, refused, rub
from tests.sandbox.test_control import control


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cus_1", (400, "resource_missing", "customer")),
        ("pm_card_visa", (400, "resource_missing", "payment_method")),
        ("usd", (400, None, "currency")),
    ],
)
def test_at_stripe(
    stripe: Client, sandbox: Sandbox, name: str, told: tuple[int, str | None, str | None]
) -> None:
    """Whatever was known once: a customer may have been deleted."""
    stripe.held()
    sandbox.conditions("stripe", unknown=[name])
    assert said(stripe.hold("key-1")) == told
    sandbox.conditions("stripe", unknown=[])
    ok(stripe.hold("key-1"))


@pytest.mark.parametrize(
    ("name", "parameter"), [("pm_yk_ok", "payment_method_id"), ("RUB", "amount.currency")]
)
def test_at_yookassa(shop: Shop, sandbox: Sandbox, name: str, parameter: str) -> None:
    shop.charged()
    sandbox.conditions("yookassa", unknown=[name])
    assert refused(shop.charge()) == (400, "invalid_request", parameter)
    assert len(sandbox.ledger()) == 1


@pytest.mark.parametrize("currency", ["xxx", "xau", "clf", "cuc", "byr", "US$", "rubles"])
def test_a_currency_that_stripe_does_not_take(stripe: Client, sandbox: Sandbox, currency: str) -> None:
    answer = stripe.hold(currency=currency)
    assert said(answer) == (400, None, "currency")
    assert "usd" in answer.json()["error"]["message"]
    assert sandbox.ledger() == []


@pytest.mark.parametrize("currency", ["ghs", "byn", "bhd", "xof"])
def test_one_that_it_takes(stripe: Client, currency: str) -> None:
    ok(stripe.hold(currency=currency))


@pytest.mark.parametrize("currency", ["JPY", "BHD", "CLF", "GBP"])
def test_a_currency_that_yookassa_does_not_take(shop: Shop, sandbox: Sandbox, currency: str) -> None:
    answer = shop.charge(amount={"value": "450.00", "currency": currency})
    assert refused(answer) == (400, "invalid_request", "amount.currency")
    assert sandbox.ledger() == []


@pytest.mark.parametrize("currency", ["XOF", "RWF", "EGP", "EUR", "RUB"])
def test_a_currency_that_paystack_does_not_take(sandbox: Sandbox, currency: str) -> None:
    with pytest.raises(ValueError, match="GHS, KES, NGN, USD, ZAR"):
        sandbox.pay("paystack", 10_000, currency)


def test_what_is_too_little_for_a_payment_is_not_for_a_refund(shop: Shop) -> None:
    """YooKassa takes no less than a ruble, and gives any part of it back."""
    payment = shop.charged(amount=rub("1.00"))
    assert refused(shop.charge(amount=rub("0.99"))) == (400, "invalid_request", "amount.value")
    assert ok(shop.refund(payment, "0.01"))["amount"] == rub("0.01")


def test_over_http(stripe: Client, sandbox: Sandbox) -> None:
    said_back = ok(control(sandbox, "POST", "conditions", {"provider": "stripe", "unknown": ["cus_1"]}))
    assert said_back["unknown"] == ["cus_1"]
    assert stripe.hold().status_code == 400
    for wrong in ("cus_1", [1], 17):
        refusal = control(sandbox, "POST", "conditions", {"provider": "stripe", "unknown": wrong})
        assert refusal.status_code == 400


@pytest.fixture
def payer(stripe: Client, shop: Shop, sandbox: Sandbox) -> tuple[Client, Shop, Sandbox]:
    return stripe, shop, sandbox


@pytest.mark.parametrize(
    ("provider", "status", "kinds"),
    [
        ("stripe", "succeeded", ["charge"]),
        ("stripe", "requires_capture", ["hold"]),
        ("stripe", "requires_payment_method", []),
        ("yookassa", "succeeded", ["charge"]),
        ("yookassa", "waiting_for_capture", ["hold"]),
        ("yookassa", "pending", []),
    ],
)
def test_a_customer_alone_may_be_on_the_way(
    payer: tuple[Client, Shop, Sandbox], provider: str, status: str, kinds: list[str]
) -> None:
    """And pay in the end, without a request of ours."""
    stripe, shop, sandbox = payer
    currency = "usd" if provider == "stripe" else "RUB"
    made = sandbox.pay(provider, 1000, currency, {"order": "17"}, status=status)
    found = stripe.intent(made) if provider == "stripe" else shop.payment(made)
    assert (found["status"], found["metadata"]) == (status, {"order": "17"})
    assert [each.kind for each in sandbox.ledger()] == kinds
    if not kinds:
        sandbox.dashboard.complete(provider, made)
        assert [each.kind for each in sandbox.ledger()] == ["charge"]
