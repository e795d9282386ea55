"""Payments that succeeded, as Stripe retrieves and lists them."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from jobctl.outside_text import is_id
from jobctl.providers.protocol import (
    Declined,
    Found,
    NotFound,
    Paid,
    Pending,
    Unknown,
    Unreadable,
    marked,
    sound,
)
from jobctl.providers.stripe_answers import ASKS_CUSTOMER, DONE, GONE, HELD, UNDECIDED, UNREADABLE
from jobctl.providers.stripe_reading import (
    NAME,
    amount_of,
    closes,
    code_of,
    error_of,
    instant,
    live_of,
    missing,
    reference_of,
    said,
)
from jobctl.providers.transport import Reply, mapping
from jobctl.providers.wire import exact

PAID, REFUNDED = "payment_intent.succeeded", "charge.refunded"  # types of events


def found(reply: Reply) -> Found:
    """Read the answer to a look-up of an intent by its number, with its charge in it."""
    if not_there(reply):
        return NotFound()
    if reply.status != HTTPStatus.OK or not reply.body:
        return Unknown(code_of(reply), said(reply), closes(reply))
    number = reply.body.get("id")
    return marked(of_status(number, reply.body), live_of(reply.body)) if is_id(number) else UNREADABLE


def of_status(number: str, intent: Mapping[str, Any]) -> Found:
    status = exact(intent.get("status"))
    if status == DONE:
        paid = with_charge(intent)
        return paid if isinstance(paid, Paid) else Unknown("unexpected_answer", paid.reason)
    if status == GONE:
        return Declined("canceled", "the payment was cancelled", payment_id=number)
    if status in {HELD, UNDECIDED, *ASKS_CUSTOMER}:  # the customer may still complete it
        return Pending(number)
    return Unknown("unexpected_answer", f"Stripe has the payment as {status or 'nothing'}")


def not_there(reply: Reply) -> bool:
    """Tell whether Stripe says that this account has no such intent."""
    about_it = error_of(reply).get("param") == "intent"
    return reply.status == HTTPStatus.NOT_FOUND and missing(reply) and about_it


def of_events(page: Sequence[Mapping[str, Any]], refunded: set[str]) -> list[Paid | Unreadable]:
    """Read a page of the events PAID or REFUNDED; add to what was refunded.

    Raises KeyError or TypeError for what is no event.
    """
    paid = []
    for each in page:
        thing = each["data"]["object"]
        if each["type"] == REFUNDED and is_id(thing["payment_intent"]):
            refunded.add(thing["payment_intent"])
        elif each["type"] == PAID:
            paid.append(
                listed(thing, each["created"], refunded=is_id(thing["id"]) and thing["id"] in refunded)
            )
    return paid


def of_intents(page: Sequence[Mapping[str, Any]]) -> list[Paid | Unreadable]:
    """Read those of a page of intents, with their charges in them, that succeeded."""
    return [with_charge(each) for each in page if each["status"] == DONE]


def with_charge(intent: Mapping[str, Any]) -> Paid | Unreadable:
    charge = mapping(intent.get("latest_charge"))
    return listed(intent, charge.get("created"), refunded=bool(charge.get("amount_refunded")))


def is_saved(intent: Mapping[str, Any]) -> bool:
    """Tell whether its card may be charged again: it was set up for that, or charged by us before."""
    return intent.get("setup_future_usage") == "off_session" or reference_of(intent) is not None


def listed(intent: Mapping[str, Any], paid_at: object, *, refunded: bool) -> Paid | Unreadable:
    """Read an intent that succeeded, at the second `paid_at`; raises KeyError for one without a number."""
    number, customer, method = intent["id"], intent.get("customer"), intent.get("payment_method")
    if not is_id(number):
        return Unreadable(NAME, ascii(number)[:200], "its number is none")
    if intent.get("status") != DONE:
        return Unreadable(NAME, number, "Stripe lists it as paid, and says that it is not")
    try:
        amount, created = amount_of(intent, "amount_received"), instant(intent.get("created"))
    except ValueError:
        amount = created = None
    at = instant(paid_at) or created
    if amount is None or at is None:
        return Unreadable(NAME, number, "Stripe tells of it what cannot be read")
    metadata = {
        name: value for name, value in mapping(intent.get("metadata")).items() if isinstance(value, str)
    }
    saved = method if customer and method and is_saved(intent) else None
    return sound(Paid(NAME, number, amount, at, metadata, customer or None, saved, refunded, live_of(intent)))
