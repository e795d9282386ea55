"""What YooKassa refuses before anything happens: the documented status, code and parameter."""

from typing import Any

import pytest
import requests

from jobctl.sandbox import YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID, Sandbox
from tests.sandbox.client import TIMEOUT, ok
from tests.sandbox.shop import CHARGE, PAYMENTS, REFUNDS, Shop, refused, rub

VALUES = ["2", "2.0", "2.000", "2,00", "02.00", "+2.00", "-2.00", "0.00", ".50", "2.", "2e2", " 2.00", "two"]


def invalid(parameter: str | None) -> tuple[int, str, str | None]:
    return 400, "invalid_request", parameter


@pytest.mark.parametrize("value", [*VALUES, "", 2, 2.0, None, ["2.00"], "\u0662.00", "0.99", "350000.01"])
def test_an_amount_is_a_string_with_two_decimals(shop: Shop, sandbox: Sandbox, value: Any) -> None:
    assert refused(shop.charge(amount=rub(value))) == invalid("amount.value")
    assert sandbox.ledger() == []


@pytest.mark.parametrize("value", ["1.00", "2.00", "350000.00"])
def test_what_is_an_amount(shop: Shop, sandbox: Sandbox, value: str) -> None:
    assert ok(shop.charge(amount=rub(value)))["amount"] == rub(value)
    assert sandbox.ledger()[0].amount == int(value.replace(".", ""))


@pytest.mark.parametrize(
    ("changed", "parameter"),
    [
        ({"amount": None}, "amount"),
        ({"amount": "2.00"}, "amount"),
        ({"amount": {"value": "2.00"}}, "amount.currency"),
        ({"amount": {"currency": "RUB"}}, "amount.value"),
        ({"amount": {"value": "2.00", "currency": "rub"}}, "amount.currency"),
        ({"amount": {"value": "2.00", "currency": "XXX"}}, "amount.currency"),
        ({"amount": {"value": "2.00", "currency": ["RUB"]}}, "amount.currency"),
        ({"amount": {**rub("2.00"), "unit": "kopeck"}}, "amount.unit"),
        ({"capture": "true"}, "capture"),
        ({"capture": 1}, "capture"),
        ({"payment_method_id": None}, "payment_method_id"),
        ({"payment_method_id": ""}, "payment_method_id"),
        ({"payment_method_id": "pm_card_visa"}, "payment_method_id"),
        ({"payment_method_id": 17}, "payment_method_id"),
        ({"description": "x" * 129}, "description"),
        ({"description": 17}, "description"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"order": 17}}, "metadata"),
        ({"metadata": {"n" * 33: "x"}}, "metadata"),
        ({"metadata": {"note": "x" * 513}}, "metadata"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"colour": "red"}, "colour"),
        ({"confirmation": {"type": "redirect", "return_url": "https://x.example"}}, "confirmation"),
    ],
)
def test_a_payment_that_makes_no_sense(
    shop: Shop, sandbox: Sandbox, changed: dict[str, Any], parameter: str
) -> None:
    assert refused(shop.charge(**changed)) == invalid(parameter)
    assert (sandbox.ledger(), shop.listed()) == ([], [])


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": {"value": "2.00", "currency": "EUR"}},
        {"description": "é" * 128},
        {"metadata": {f"{n:032}": "x" * 512 for n in range(16)}},
        {"merchant_customer_id": "17", "client_ip": "127.0.0.1"},
    ],
)
def test_what_lies_within_the_limits(shop: Shop, changed: dict[str, Any]) -> None:
    assert ok(shop.charge(**changed))["status"] == "succeeded"


def test_other_calls_that_make_no_sense(shop: Shop) -> None:
    held, paid = shop.held(), shop.charged()
    assert refused(shop.capture(held, amount=rub("2"))) == invalid("amount.value")
    euros = {"value": "2.00", "currency": "EUR"}
    assert refused(shop.capture(held, amount=euros)) == invalid("amount.currency")
    assert refused(shop.capture(held, value="2.00")) == invalid("value")
    assert refused(shop.refund(paid, "2")) == invalid("amount.value")
    assert refused(shop.refund(paid, "1.00", amount=euros)) == invalid("amount.currency")
    assert refused(shop.refund(paid, "1.00", reason="bored")) == invalid("reason")
    assert refused(shop.refund(paid, "1.00", description="x" * 251)) == invalid("description")
    assert refused(shop.post(REFUNDS, None, {"payment_id": paid})) == invalid("amount")
    assert refused(shop.post(REFUNDS, None, {"amount": rub("1.00")})) == invalid("payment_id")


def test_who_does_not_exist(shop: Shop) -> None:
    unknown = (404, "not_found", "payment_id")
    assert refused(shop.get(f"{PAYMENTS}/0")) == unknown
    assert refused(shop.capture("0")) == refused(shop.cancel("0")) == unknown
    assert refused(shop.refund("0", "1.00")) == unknown
    assert refused(shop.get(f"{REFUNDS}/0")) == (404, "not_found", "refund_id")


def test_where_nothing_is(shop: Shop) -> None:
    assert refused(shop.get("/v3/receipts")) == (404, "not_found", None)
    assert refused(shop.get(f"{PAYMENTS}/0/cancel")) == (405, None, None)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"description": "\\ud800"}'])
def test_what_is_no_json_object(shop: Shop, body: bytes) -> None:
    headers = {"Idempotence-Key": "key-1", "Content-Type": "application/json"}
    answer = shop.session.post(shop.url + PAYMENTS, data=body, headers=headers, timeout=TIMEOUT)
    assert refused(answer) == invalid(None)


def test_a_form_is_not_what_yookassa_reads(shop: Shop, sandbox: Sandbox) -> None:
    headers = {"Idempotence-Key": "key-1"}
    answer = shop.session.post(shop.url + PAYMENTS, data={"a": "b"}, headers=headers, timeout=TIMEOUT)
    assert refused(answer) == (415, None, None)
    assert sandbox.ledger() == []


class TestCredentials:
    @pytest.mark.parametrize(
        "credentials",
        [
            None,
            ("", ""),
            ("shop", YOOKASSA_SECRET_KEY),
            (YOOKASSA_SHOP_ID, ""),
            (YOOKASSA_SHOP_ID, "live_1"),
            (YOOKASSA_SHOP_ID, "test_"),
            (YOOKASSA_SHOP_ID, "sk_test_sandbox"),
        ],
    )
    def test_without_them_nobody_is_let_in(
        self, sandbox: Sandbox, credentials: tuple[str, str] | None
    ) -> None:
        answer = requests.post(sandbox.url + PAYMENTS, json=CHARGE, auth=credentials, timeout=TIMEOUT)
        assert refused(answer) == (401, "invalid_credentials", None)
        assert sandbox.ledger() == []

    @pytest.mark.parametrize("header", ["Bearer sk_test_1", "Basic", "Basic ?", "Basic /w==", "test_sandbox"])
    def test_they_are_http_basic(self, sandbox: Sandbox, header: str) -> None:
        answer = requests.get(sandbox.url + PAYMENTS, headers={"Authorization": header}, timeout=TIMEOUT)
        assert refused(answer) == (401, "invalid_credentials", None)

    def test_a_key_may_be_forbidden(self, sandbox: Sandbox) -> None:
        with Shop(sandbox.url, ("1", "test_forbidden")) as reader:
            assert refused(reader.charge()) == (403, "forbidden", None)
        with Sandbox(forbidden=["test_reader"]) as another:
            with Shop(another.url, ("1", "test_reader")) as reader:
                assert refused(reader.charge()) == (403, "forbidden", None)
            with Shop(another.url, ("1", "test_writer")) as writer:
                ok(writer.charge())

    def test_each_pair_is_an_account_of_its_own(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.charged()
        for pair in (("42", YOOKASSA_SECRET_KEY), (YOOKASSA_SHOP_ID, "test_other")):
            with Shop(sandbox.url, pair) as other:
                assert other.get(f"{PAYMENTS}/{payment}").status_code == 404
                assert other.listed() == []
