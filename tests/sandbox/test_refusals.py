"""What Stripe refuses before anything happens: the documented status, code and parameter."""

import pytest
import requests

from jobctl.sandbox import Sandbox
from tests.sandbox.client import HOLD, INTENTS, REFUNDS, TIMEOUT, Client, error, ok, said


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"amount": ""}, (400, "parameter_invalid_empty", "amount")),
        ({"amount": "0"}, (400, "parameter_invalid_integer", "amount")),
        ({"amount": "-100"}, (400, "parameter_invalid_integer", "amount")),
        ({"amount": "10.00"}, (400, "parameter_invalid_integer", "amount")),
        ({"amount": "1e3"}, (400, "parameter_invalid_integer", "amount")),
        ({"amount": "49"}, (400, "amount_too_small", "amount")),
        ({"amount": "49", "currency": "jpy"}, (400, "amount_too_small", "amount")),
        ({"amount": "100000000"}, (400, "amount_too_large", "amount")),
        ({"amount": "1234", "currency": "kwd"}, (400, None, "amount")),
        ({"amount": "550", "currency": "isk"}, (400, None, "amount")),
        ({"currency": "USD"}, (400, None, "currency")),
        ({"currency": "dollars"}, (400, None, "currency")),
        ({"currency": ""}, (400, "parameter_invalid_empty", "currency")),
        ({"payment_method": "pm_card_nobody"}, (400, "resource_missing", "payment_method")),
        ({"customer": "4711"}, (400, "resource_missing", "customer")),
        ({"capture_method": "later"}, (400, None, "capture_method")),
        ({"confirm": "yes"}, (400, None, "confirm")),
        ({"confirm": "false"}, (400, None, "off_session")),
        ({"colour": "red"}, (400, "parameter_unknown", "colour")),
        ({"amount[value]": "1"}, (400, "parameter_unknown", "amount[value]")),
        ({"metadata": "x"}, (400, "parameter_unknown", "metadata")),
        ({f"metadata[{'n' * 41}]": "x"}, (400, None, f"metadata[{'n' * 41}]")),
        ({"metadata[note]": "x" * 501}, (400, None, "metadata[note]")),
        ({f"metadata[{n}]": "x" for n in range(51)}, (400, None, "metadata")),
        ({"expand[0]": "customer"}, (400, None, None)),
    ],
)
def test_a_hold_that_makes_no_sense(
    stripe: Client, sandbox: Sandbox, changed: dict[str, str], expected: tuple[int, str | None, str | None]
) -> None:
    refused = stripe.hold(**changed)
    assert said(refused) == expected
    assert error(refused)["type"] == "invalid_request_error"
    assert (sandbox.ledger(), ok(stripe.get(INTENTS))["data"]) == ([], [])


@pytest.mark.parametrize("name", ["amount", "currency"])
def test_what_must_be_named(stripe: Client, name: str) -> None:
    given = {key: value for key, value in HOLD.items() if key != name}
    assert said(stripe.post(INTENTS, **given)) == (400, "parameter_missing", name)


def test_a_confirmed_intent_needs_a_payment_method(stripe: Client) -> None:
    given = {key: value for key, value in HOLD.items() if key != "payment_method"}
    assert said(stripe.post(INTENTS, **given)) == (400, "payment_intent_unexpected_state", None)


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": "50"},
        {"amount": "99999999"},
        {"amount": "1230", "currency": "kwd"},
        {"amount": "500", "currency": "isk"},
        {"amount": "50", "currency": "jpy"},
        {"amount": "123456789", "currency": "inr"},
        {"description": "a session", "statement_descriptor_suffix": "MARKET", "receipt_email": "a@b.example"},
        {"automatic_payment_methods[enabled]": "true", "payment_method_types[0]": "card"},
        {f"metadata[{n}]": "x" * 500 for n in range(50)},
    ],
)
def test_what_lies_within_the_limits(stripe: Client, changed: dict[str, str]) -> None:
    assert ok(stripe.hold(**changed))["status"] == "requires_capture"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"amount_to_capture": "0"}, (400, "parameter_invalid_integer", "amount_to_capture")),
        ({"amount_to_capture": "5.5"}, (400, "parameter_invalid_integer", "amount_to_capture")),
        ({"amount_to_capture": "1001"}, (400, None, "amount_to_capture")),
        ({"amount": "100"}, (400, "parameter_unknown", "amount")),
    ],
)
def test_a_capture_that_makes_no_sense(
    stripe: Client, changed: dict[str, str], expected: tuple[int, str | None, str | None]
) -> None:
    intent = stripe.held(currency="kwd", amount="2000")
    assert said(stripe.capture(intent, **changed)) == expected
    assert stripe.intent(intent)["status"] == "requires_capture"


def test_other_calls_that_make_no_sense(stripe: Client) -> None:
    intent = stripe.charged(currency="kwd", amount="2000")
    reason = stripe.cancel(intent, cancellation_reason="bored")
    assert said(reason) == (400, None, "cancellation_reason")
    assert said(stripe.refund(intent, amount="1005")) == (400, None, "amount")
    assert said(stripe.refund(intent, reason="bored")) == (400, None, "reason")
    assert said(stripe.post(REFUNDS)) == (400, "parameter_missing", "payment_intent")


def test_who_does_not_exist(stripe: Client) -> None:
    """A name in the path is a 404, one among the parameters a 400."""
    assert said(stripe.get(f"{INTENTS}/pi_0")) == (404, "resource_missing", "intent")
    assert said(stripe.capture("pi_0")) == (404, "resource_missing", "intent")
    assert said(stripe.cancel("pi_0")) == (404, "resource_missing", "intent")
    assert said(stripe.refund("pi_0")) == (400, "resource_missing", "payment_intent")
    assert said(stripe.get(INTENTS, starting_after="pi_0")) == (400, "resource_missing", "starting_after")


@pytest.mark.parametrize("path", ["/v1/charges", f"{INTENTS}/pi_0/confirm", f"{INTENTS}/"])
def test_where_nothing_is(stripe: Client, path: str) -> None:
    assert stripe.post(path).status_code == 404


def test_json_is_not_what_stripe_reads(stripe: Client, sandbox: Sandbox) -> None:
    answer = stripe.session.post(stripe.url + INTENTS, json=HOLD, timeout=TIMEOUT)
    assert said(answer) == (400, None, None)
    assert sandbox.ledger() == []


class TestSecretKey:
    @pytest.mark.parametrize(
        "header",
        [
            {},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer sk_live_1"},
            {"Authorization": "Bearer pk_test_1"},
            {"Authorization": "sk_test_1"},
        ],
    )
    def test_without_a_test_key_nobody_is_let_in(self, sandbox: Sandbox, header: dict[str, str]) -> None:
        answer = requests.post(sandbox.url + INTENTS, data=HOLD, headers=header, timeout=TIMEOUT)
        assert (answer.status_code, error(answer)["type"]) == (401, "invalid_request_error")
        assert sandbox.ledger() == []

    def test_a_key_may_be_forbidden(self) -> None:
        with Sandbox(forbidden=["sk_test_reader"]) as sandbox:
            with Client(sandbox.url, "sk_test_reader") as reader:
                assert reader.hold().status_code == 403
            with Client(sandbox.url, "sk_test_writer") as writer:
                ok(writer.hold())
            assert len(sandbox.ledger()) == 1

    def test_each_is_an_account_of_its_own(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.held()
        with Client(sandbox.url, "sk_test_other") as other:
            assert other.get(f"{INTENTS}/{intent}").status_code == 404
            assert ok(other.get(INTENTS))["data"] == []


def test_every_answer_has_a_request_id_of_its_own(stripe: Client) -> None:
    answers = [stripe.hold(), stripe.hold(amount="0"), stripe.get(INTENTS), stripe.get("/v1/nothing")]
    ids = {each.headers["Request-Id"] for each in answers}
    assert len(ids) == 4
    assert all(each.startswith("req_") for each in ids)
