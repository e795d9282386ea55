"""Accounts: what one key has made, another doesn't know, and says so as its provider does."""

import requests

from jobctl.sandbox import (
    BILLING_KEY,
    OTHER_BILLING_KEY,
    OTHER_PAYSTACK_SECRET_KEY,
    OTHER_SECRET_KEY,
    OTHER_YOOKASSA_SECRET_KEY,
    OTHER_YOOKASSA_SHOP_ID,
    Sandbox,
)
from tests.sandbox.client import INTENTS, TIMEOUT, Client, ok, said
from tests.sandbox.merchant import Merchant, paid
from tests.sandbox.merchant import refused as refused_by_paystack
from tests.sandbox.shop import PAYMENTS, Shop, refused
from tests.sandbox.test_control import control


def test_they_are_named_by_provider(sandbox: Sandbox) -> None:
    named = ok(control(sandbox, "GET", "accounts"))
    assert named["stripe"]["other"] == OTHER_SECRET_KEY
    assert named["yookassa"]["other"] == f"{OTHER_YOOKASSA_SHOP_ID}:{OTHER_YOOKASSA_SECRET_KEY}"
    for provider, currency in (("stripe", "usd"), ("yookassa", "RUB"), ("paystack", "NGN")):
        for account in named[provider].values():
            sandbox.pay(provider, 10_000, currency, account=account)
    assert len(sandbox.ledger()) == 6


def test_stripe(stripe: Client, sandbox: Sandbox) -> None:
    with Client(sandbox.url, OTHER_SECRET_KEY) as other:
        intent = other.held()
        assert said(stripe.get(f"{INTENTS}/{intent}")) == (404, "resource_missing", "intent")
        assert ok(stripe.get(INTENTS))["data"] == []
        assert stripe.cancel(intent).status_code == 404


def test_yookassa(shop: Shop, sandbox: Sandbox) -> None:
    with Shop(sandbox.url, (OTHER_YOOKASSA_SHOP_ID, OTHER_YOOKASSA_SECRET_KEY)) as other:
        payment = other.held()
        assert refused(shop.get(f"{PAYMENTS}/{payment}")) == (404, "not_found", "payment_id")
        assert shop.listed() == []


def test_paystack(paystack: Merchant, sandbox: Sandbox) -> None:
    paid(sandbox, "ref-1", account=OTHER_PAYSTACK_SECRET_KEY)
    assert refused_by_paystack(paystack.verify("ref-1"))[0] == 400
    assert paystack.listed() == []
    paid(sandbox, "ref-2")
    assert paystack.listed() == ["ref-2"]


def test_billing(sandbox: Sandbox) -> None:
    def status(key: str, session: str) -> int:
        url = f"{sandbox.url}/billing/api/v1/paysession/{session}"
        return requests.get(url, headers={"x-api-key": key}, timeout=TIMEOUT).status_code

    sandbox.checkout("ours")
    ok(control(sandbox, "POST", "checkouts", {"session": "theirs", "account": OTHER_BILLING_KEY}))
    keys, sessions = (BILLING_KEY, OTHER_BILLING_KEY), ("ours", "theirs")
    told = {key: [status(key, each) for each in sessions] for key in keys}
    assert told == {BILLING_KEY: [200, 404], OTHER_BILLING_KEY: [404, 200]}
