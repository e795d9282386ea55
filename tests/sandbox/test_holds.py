"""How long a hold lasts, and what becomes of it afterwards."""

from datetime import timedelta
from typing import Any

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import Client, error, ok, said
from tests.world import NOW

VISA, OTHERS = timedelta(days=4, hours=18), timedelta(days=7)


def end_of(intent: dict[str, Any]) -> int:
    end: int = intent["latest_charge"]["payment_method_details"]["card"]["capture_before"]
    return end


@pytest.mark.parametrize(
    ("card", "lasts"),
    [
        ("pm_card_visa", VISA),
        ("pm_card_visa_debit", VISA),
        ("pm_card_mastercard", OTHERS),
        ("pm_card_amex", OTHERS),
        ("pm_card_discover", OTHERS),
    ],
)
def test_its_end_is_in_the_charge_and_depends_on_the_network(
    stripe: Client, card: str, lasts: timedelta
) -> None:
    intent = stripe.intent(stripe.held(payment_method=card))
    assert end_of(intent) - intent["created"] == lasts.total_seconds()


def test_until_its_end_it_can_be_captured(stripe: Client, sandbox: Sandbox) -> None:
    intent = stripe.held()
    sandbox.set_clock(NOW + VISA - timedelta(minutes=1))
    assert ok(stripe.capture(intent))["status"] == "succeeded"
    sandbox.set_clock(NOW + VISA + timedelta(minutes=1))
    assert stripe.intent(intent)["status"] == "succeeded"
    assert [each.kind for each in sandbox.ledger()] == ["hold", "capture"]


def test_after_it_the_intent_is_canceled(stripe: Client, sandbox: Sandbox) -> None:
    """Nobody need have asked: the ledger has the expiry, of the time at which it was."""
    intent = stripe.held(**{"metadata[operation]": "op-7"})
    end = end_of(stripe.intent(intent))
    sandbox.advance((VISA + timedelta(days=1)).total_seconds())
    effect = sandbox.ledger()[1]
    assert (effect.kind, effect.intent, effect.amount, effect.key) == ("expiry", intent, 1000, None)
    assert (effect.at.timestamp(), effect.metadata) == (end, {"operation": "op-7"})
    found = stripe.intent(intent)
    assert (found["status"], found["cancellation_reason"]) == ("canceled", "automatic")
    assert found["canceled_at"] == end
    assert (found["amount_capturable"], found["latest_charge"]["refunded"]) == (0, True)


def test_a_late_capture_or_release_meets_an_unexpected_state(stripe: Client, sandbox: Sandbox) -> None:
    intent = stripe.held()
    sandbox.advance(VISA.total_seconds() + 1)
    for late in (stripe.capture(intent), stripe.cancel(intent)):
        assert said(late) == (400, "payment_intent_unexpected_state", None)
        assert error(late)["payment_intent"]["cancellation_reason"] == "automatic"
    assert [each.kind for each in sandbox.ledger()] == ["hold", "expiry"]


def test_what_was_released_does_not_expire(stripe: Client, sandbox: Sandbox) -> None:
    ok(stripe.cancel(stripe.held()))
    sandbox.advance(OTHERS.total_seconds())
    assert [each.kind for each in sandbox.ledger()] == ["hold", "release"]
