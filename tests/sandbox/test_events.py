"""Stripe's events: what happened to a payment, newest first, with the object as it was then."""

from datetime import timedelta

from jobctl.sandbox import Sandbox
from tests.sandbox.client import Client, ok, said
from tests.world import NOW

EVENTS = "/v1/events"


def told(stripe: Client, **parameters: str) -> list[tuple[str, str]]:
    """Return the types of events, and which object each is of."""
    listed = ok(stripe.get(EVENTS, **parameters))["data"]
    return [(each["type"], each["data"]["object"]["id"]) for each in listed]


def test_a_payment_is_told_of_once_it_succeeded(stripe: Client) -> None:
    held, charged = stripe.held(), ok(stripe.charge())["id"]
    assert told(stripe) == [("payment_intent.succeeded", charged)]
    ok(stripe.capture(held))
    assert told(stripe) == [("payment_intent.succeeded", held), ("payment_intent.succeeded", charged)]


def test_it_is_as_it_was_then(stripe: Client) -> None:
    charged = ok(stripe.charge())
    ok(stripe.refund(charged["id"]))
    refund, paid = ok(stripe.get(EVENTS))["data"]
    assert (paid["data"]["object"]["status"], paid["data"]["object"]["amount_received"]) == (
        "succeeded",
        1000,
    )
    assert refund["type"] == "charge.refunded"
    assert refund["data"]["object"]["payment_intent"] == charged["id"]
    assert refund["data"]["object"]["amount_refunded"] == charged["amount"]


def test_some_types_page_by_page(stripe: Client) -> None:
    charged = [ok(stripe.charge())["id"] for _ in range(3)]
    for each in charged:
        ok(stripe.refund(each))
    first = ok(stripe.get(EVENTS, limit="2", **{"types[]": "payment_intent.succeeded"}))
    assert [each["data"]["object"]["id"] for each in first["data"]] == charged[:0:-1]
    assert first["has_more"]
    rest = told(stripe, type="payment_intent.succeeded", starting_after=first["data"][-1]["id"])
    assert rest == [("payment_intent.succeeded", charged[0])]


def test_for_thirty_days(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.set_clock(NOW)
    ok(stripe.charge())
    sandbox.set_clock(NOW + timedelta(days=29))
    assert len(told(stripe)) == 1
    sandbox.set_clock(NOW + timedelta(days=31))
    assert told(stripe) == []


def test_a_parameter_that_there_is_not(stripe: Client) -> None:
    assert said(stripe.get(EVENTS, kind="x"))[0] == 400
