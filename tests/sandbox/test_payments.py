"""Holds, charges, captures, releases and refunds: their answers, their state, their ledger."""

from datetime import timedelta
from typing import Any

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import INTENTS, REFUNDS, Client, error, ok, said, soon
from tests.world import NOW

UNEXPECTED = "payment_intent_unexpected_state"
METADATA = {"metadata[operation]": "op-7", "metadata[booking]": "é & 12"}


def effects(sandbox: Sandbox) -> list[tuple[str, str, int, str]]:
    return [(each.kind, each.intent, each.amount, each.currency) for each in sandbox.ledger()]


class TestHold:
    def test_it_answers_with_the_documented_object(self, stripe: Client) -> None:
        intent = ok(stripe.hold(**METADATA))
        assert intent["id"].startswith("pi_")
        assert intent["latest_charge"].startswith("ch_")
        expected = {
            "object": "payment_intent",
            "amount": 1000,
            "amount_capturable": 1000,
            "amount_received": 0,
            "currency": "usd",
            "status": "requires_capture",
            "capture_method": "manual",
            "customer": "cus_1",
            "payment_method": "pm_card_visa",
            "metadata": {"operation": "op-7", "booking": "é & 12"},
            "last_payment_error": None,
            "cancellation_reason": None,
            "livemode": False,
        }
        assert {name: intent[name] for name in expected} == expected
        assert soon(intent["created"], NOW)

    @pytest.mark.parametrize("name", ["expand[0]", "expand[]"])
    def test_its_charge_comes_whole_where_asked_for(self, stripe: Client, name: str) -> None:
        charge = ok(stripe.hold(**{name: "latest_charge"}))["latest_charge"]
        expected = {
            "object": "charge",
            "amount": 1000,
            "amount_captured": 0,
            "amount_refunded": 0,
            "captured": False,
            "refunded": False,
            "paid": True,
            "status": "succeeded",
            "payment_method": "pm_card_visa",
        }
        assert {name: charge[name] for name in expected} == expected
        card = charge["payment_method_details"]["card"]
        assert (card["brand"], card["last4"], card["amount_authorized"]) == ("visa", "4242", 1000)

    def test_it_is_one_effect(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = ok(stripe.hold("key-1", **METADATA))["id"]
        (effect,) = sandbox.ledger()
        assert (effect.kind, effect.intent, effect.amount, effect.currency) == ("hold", intent, 1000, "usd")
        assert (effect.metadata, effect.key) == ({"operation": "op-7", "booking": "é & 12"}, "key-1")
        assert NOW <= effect.at < NOW + timedelta(minutes=1)

    def test_unconfirmed_nothing_is_held(self, stripe: Client, sandbox: Sandbox) -> None:
        """Whoever forgets confirm=true gets a 200, and no money."""
        intent = ok(stripe.hold(confirm="false", off_session="false"))
        assert (intent["status"], intent["amount_capturable"]) == ("requires_confirmation", 0)
        assert sandbox.ledger() == []

    def test_any_customer_will_do_and_none(self, stripe: Client) -> None:
        assert ok(stripe.hold(customer="cus_whoever"))["customer"] == "cus_whoever"
        without = {"amount": "1000", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
        assert ok(stripe.post(INTENTS, **without))["customer"] is None


class TestCharge:
    @pytest.mark.parametrize("method", ["automatic", "automatic_async"])
    def test_it_is_captured_at_once(self, stripe: Client, sandbox: Sandbox, method: str) -> None:
        intent = ok(stripe.hold(capture_method=method, **{"expand[0]": "latest_charge"}))
        assert (intent["status"], intent["amount_received"]) == ("succeeded", 1000)
        assert (intent["amount_capturable"], intent["latest_charge"]["captured"]) == (0, True)
        assert "capture_before" not in intent["latest_charge"]["payment_method_details"]["card"]
        assert effects(sandbox) == [("charge", intent["id"], 1000, "usd")]

    def test_automatic_is_the_default(self, stripe: Client) -> None:
        given = {"amount": "1000", "currency": "usd", "payment_method": "pm_card_visa", "confirm": "true"}
        assert ok(stripe.post(INTENTS, **given))["status"] == "succeeded"


class TestCapture:
    def test_of_all(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.held()
        captured = ok(stripe.capture(intent))
        assert (captured["status"], captured["amount_received"]) == ("succeeded", 1000)
        assert captured["amount_capturable"] == 0
        assert effects(sandbox)[1:] == [("capture", intent, 1000, "usd")]

    def test_of_less(self, stripe: Client, sandbox: Sandbox) -> None:
        """The amount stays what was authorized; what was received is what was captured."""
        intent = stripe.held()
        captured = ok(stripe.capture(intent, amount_to_capture="600", **{"expand[0]": "latest_charge"}))
        assert (captured["amount"], captured["amount_received"]) == (1000, 600)
        charge = captured["latest_charge"]
        assert (charge["captured"], charge["amount_captured"], charge["amount"]) == (True, 600, 1000)
        assert effects(sandbox)[1:] == [("capture", intent, 600, "usd")]

    def test_it_can_add_metadata(self, stripe: Client) -> None:
        intent = stripe.held(**{"metadata[hold]": "h", "metadata[step]": "1"})
        captured = ok(stripe.capture(intent, **{"metadata[step]": "2"}))
        assert captured["metadata"] == {"hold": "h", "step": "2"}

    def test_of_more_is_refused(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.held()
        refused = stripe.capture(intent, amount_to_capture="1001")
        assert said(refused) == (400, "amount_too_large", "amount_to_capture")
        assert error(refused)["payment_intent"]["status"] == "requires_capture"
        assert len(sandbox.ledger()) == 1

    @pytest.mark.parametrize("before", ["capture", "cancel"])
    def test_a_second_time_is_refused(self, stripe: Client, sandbox: Sandbox, before: str) -> None:
        intent = stripe.held()
        ok(getattr(stripe, before)(intent))
        refused = stripe.capture(intent)
        assert said(refused) == (400, UNEXPECTED, None)
        assert error(refused)["payment_intent"]["id"] == intent
        assert len(sandbox.ledger()) == 2


class TestRelease:
    def test_it_frees_the_hold(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.held()
        canceled = ok(stripe.cancel(intent, cancellation_reason="requested_by_customer"))
        assert (canceled["status"], canceled["amount_capturable"]) == ("canceled", 0)
        assert canceled["cancellation_reason"] == "requested_by_customer"
        assert soon(canceled["canceled_at"], NOW)
        charge = stripe.intent(intent)["latest_charge"]
        assert (charge["captured"], charge["refunded"], charge["amount_refunded"]) == (False, True, 1000)
        assert effects(sandbox)[1:] == [("release", intent, 1000, "usd")]

    @pytest.mark.parametrize("before", ["capture", "cancel"])
    def test_what_is_captured_or_canceled_is_not_released(
        self, stripe: Client, sandbox: Sandbox, before: str
    ) -> None:
        intent = stripe.held()
        ok(getattr(stripe, before)(intent))
        assert said(stripe.cancel(intent)) == (400, UNEXPECTED, None)
        assert len(sandbox.ledger()) == 2

    def test_of_a_declined_intent_no_money_moves(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = error(stripe.hold(payment_method="pm_card_visa_chargeDeclined"))["payment_intent"]["id"]
        assert ok(stripe.cancel(intent))["status"] == "canceled"
        assert sandbox.ledger() == []


class TestRefund:
    def test_of_all(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.charged()
        refund = ok(stripe.refund(intent, "key-r", reason="duplicate", **METADATA))
        assert refund["id"].startswith("re_")
        expected = {
            "object": "refund",
            "amount": 1000,
            "currency": "usd",
            "payment_intent": intent,
            "status": "succeeded",
            "reason": "duplicate",
            "metadata": {"operation": "op-7", "booking": "é & 12"},
        }
        assert {name: refund[name] for name in expected} == expected
        effect = sandbox.ledger()[1]
        assert (effect.kind, effect.intent, effect.amount, effect.key) == ("refund", intent, 1000, "key-r")
        assert effect.metadata["operation"] == "op-7"
        assert stripe.intent(intent)["latest_charge"]["refunded"] is True

    def test_in_parts_until_nothing_is_left(self, stripe: Client) -> None:
        intent = stripe.held()
        ok(stripe.capture(intent, amount_to_capture="600"))
        assert ok(stripe.refund(intent, amount="250"))["amount"] == 250
        charge = stripe.intent(intent)["latest_charge"]
        assert (charge["amount_refunded"], charge["refunded"]) == (250, False)
        assert said(stripe.refund(intent, amount="351")) == (400, None, "amount")
        assert ok(stripe.refund(intent))["amount"] == 350
        assert said(stripe.refund(intent)) == (400, "charge_already_refunded", None)

    def test_of_what_was_never_captured(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.held()
        assert said(stripe.refund(intent)) == (400, None, "payment_intent")
        ok(stripe.cancel(intent))
        assert said(stripe.refund(intent)) == (400, None, "payment_intent")
        assert [each.kind for each in sandbox.ledger()] == ["hold", "release"]

    def test_they_are_listed_for_their_intent(self, stripe: Client) -> None:
        first, second = stripe.charged(), stripe.charged()
        made = [ok(stripe.refund(first, amount=each))["id"] for each in ("100", "200")]
        ok(stripe.refund(second))
        listed = ok(stripe.get(REFUNDS, payment_intent=first))
        assert (listed["object"], listed["has_more"]) == ("list", False)
        assert [each["id"] for each in listed["data"]] == made[::-1]
        assert len(ok(stripe.get(REFUNDS))["data"]) == 3


# Code, decline code and advice as the documents' table of test cards has them.
DECLINES: dict[str, tuple[str, str | None, str | None]] = {
    "pm_card_visa_chargeDeclined": ("card_declined", "generic_decline", "try_again_later"),
    "pm_card_chargeDeclined": ("card_declined", "generic_decline", "try_again_later"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": (
        "card_declined",
        "insufficient_funds",
        "try_again_later",
    ),
    "pm_card_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds", "try_again_later"),
    "pm_card_visa_chargeDeclinedLostCard": ("card_declined", "lost_card", None),
    "pm_card_visa_chargeDeclinedStolenCard": ("card_declined", "stolen_card", None),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": ("card_declined", "card_velocity_exceeded", None),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", None, None),
    "pm_card_chargeDeclinedIncorrectCvc": ("incorrect_cvc", None, None),
    "pm_card_chargeDeclinedProcessingError": ("processing_error", None, None),
    "pm_card_chargeCustomerFail": ("card_declined", "generic_decline", "try_again_later"),
    "pm_card_radarBlock": ("card_declined", "fraudulent", None),
    "pm_card_authenticationRequired": ("authentication_required", "authentication_required", None),
}


def codes(found: dict[str, Any]) -> tuple[str, str | None, str | None]:
    return found["code"], found.get("decline_code"), found.get("advice_code")


class TestDecline:
    @pytest.mark.parametrize(("card", "expected"), DECLINES.items())
    def test_each_card_has_its_codes(
        self, stripe: Client, sandbox: Sandbox, card: str, expected: tuple[str, str | None, str | None]
    ) -> None:
        refused = stripe.hold(payment_method=card)
        assert (refused.status_code, error(refused)["type"]) == (402, "card_error")
        assert codes(error(refused)) == expected
        assert sandbox.ledger() == []

    def test_the_intent_exists_and_tells_why(self, stripe: Client) -> None:
        refused = error(stripe.charge(payment_method="pm_card_visa_chargeDeclined", **METADATA))
        intent = refused["payment_intent"]
        assert (intent["status"], intent["payment_method"]) == ("requires_payment_method", None)
        assert codes(intent["last_payment_error"]) == ("card_declined", "generic_decline", "try_again_later")
        assert refused["charge"] == intent["latest_charge"]
        (listed,) = ok(stripe.get(INTENTS))["data"]
        assert listed == intent
        charge = stripe.intent(intent["id"])["latest_charge"]
        assert (charge["status"], charge["paid"], charge["captured"]) == ("failed", False, False)
        assert charge["failure_code"] == "card_declined"

    def test_on_session_authentication_is_the_customers_to_do(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = ok(stripe.hold(payment_method="pm_card_authenticationRequired", off_session="false"))
        assert (intent["status"], intent["latest_charge"]) == ("requires_action", None)
        assert sandbox.ledger() == []

    def test_a_card_set_up_for_it_needs_no_authentication_off_session(self, stripe: Client) -> None:
        card = "pm_card_authenticationRequiredSetupForOffSession"
        assert ok(stripe.hold(payment_method=card))["status"] == "requires_capture"
