"""What Stripe's answers mean. Whatever isn't in these tables is unknown, never a success.

Sources: Stripe's API reference (The PaymentIntent object, Errors, Idempotent requests), and its guides
"Place a hold on a payment method" and "Declines".
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from jobctl.money import Money
from jobctl.providers.protocol import (
    REFERENCE,
    Declined,
    Found,
    Kind,
    NoEffect,
    NotFound,
    Outcome,
    Paid,
    Pending,
    Rejected,
    Succeeded,
    Unknown,
    Unreadable,
    doubtful,
    sound,
)
from jobctl.providers.transport import BUSY, Reply, mapping

# "Supported currencies": what Stripe counts in other units than ISO 4217 has minor ones.
LARGER = {"ISK": 100, "UGX": 100}
NAME = "stripe"
HELD, DONE, GONE, UNDECIDED = "requires_capture", "succeeded", "canceled", "processing"
YES = {("authorize", HELD), ("charge", DONE), ("capture", DONE), ("release", GONE)}
NOT_YET = {("capture", HELD), ("release", HELD)}
NO = {
    ("authorize", GONE): ("hold_ended", "the hold has ended"),
    ("charge", GONE): ("canceled", "the payment was cancelled"),
    ("capture", GONE): ("hold_ended", "the hold ended before it was captured"),
    ("release", DONE): ("already_captured", "the payment was captured already"),
}
PAID, REFUNDED = "payment_intent.succeeded", "charge.refunded"  # types of events
# What a customer has to do something about; for an off-session payment both mean: not by a job.
ASKS_CUSTOMER = {"requires_action", "requires_confirmation", "requires_payment_method"}
# Off-session holds by Visa, the shortest of the networks', where the answer tells no end.
SHORTEST_HOLD = timedelta(days=4, hours=18)
EXPIRED = {"charge_expired_for_capture", "capture_charge_authorization_expired"}
# "Decline codes": those after which the same card may work another day.
MAY_WORK_LATER = {
    "approve_with_id",
    "card_velocity_exceeded",
    "insufficient_funds",
    "issuer_not_available",
    "processing_error",
    "reenter_transaction",
    "try_again_later",
    "withdrawal_count_limit_exceeded",
}
# And those after which nothing more is to be charged: the customer withdrew the permission, or it is fraud.
NEVER_AGAIN = {
    "fraudulent",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "stop_payment_order",
}
LENGTH = 200
LATEST = 2**32  # of the seconds since 1970 that are believed to be some


def worth_repeating(reply: Reply) -> bool:
    """Tell whether the same request, under the same key, is to be sent again ("Advanced error handling")."""
    asked = reply.headers.get("Stripe-Should-Retry")
    if asked in ("true", "false"):
        return asked == "true"
    return reply.status is None or reply.status in BUSY or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def told(kind: Kind, reply: Reply) -> Outcome | NoEffect:
    """Read the answer to a request of that kind, or to a look-up of its intent."""
    if reply.status == HTTPStatus.OK and reply.body:
        return of_refund(reply.body) if kind == "refund" else of_intent(kind, reply.body)
    outcome = of_error(kind, reply) if reply.tells else no_answer(reply)
    return doubtful(outcome) if isinstance(outcome, Rejected) and reply.open else outcome


def of_intent(kind: Kind, intent: Mapping[str, Any]) -> Outcome | NoEffect:
    payment_id, status = intent.get("id"), intent.get("status")
    if not isinstance(payment_id, str) or not isinstance(status, str):
        return Unknown("unexpected_answer", "Stripe answered without a payment")
    if (kind, status) in YES:
        return Succeeded(payment_id, hold_end(intent) if kind == "authorize" else None)
    if (kind, status) in NOT_YET:
        return NoEffect()
    return Pending(payment_id) if status == UNDECIDED else of_state(kind, payment_id, intent)


def of_state(kind: Kind, payment_id: str, intent: Mapping[str, Any]) -> Outcome:
    status = intent["status"]
    if (kind, status) in NO:
        code, reason = NO[kind, status]
        return Declined(code, reason, payment_id=payment_id)
    if status in ASKS_CUSTOMER:
        declined = of_card(mapping(intent.get("last_payment_error")), payment_id)
        return replace(declined, needs_customer=True) if status == "requires_action" else declined
    return Unknown("unexpected_answer", f"Stripe has the payment as {status[:LENGTH]}")


def of_refund(refund: Mapping[str, Any]) -> Outcome:
    payment_id = refund.get("payment_intent")
    if not isinstance(payment_id, str):
        return Unknown("unexpected_answer", "Stripe answered without a refund")
    match refund.get("status"):
        case "succeeded":
            return Succeeded(payment_id)
        case "pending" | "requires_action":
            return Pending(payment_id)
        case "failed" | "canceled":
            code = str(refund.get("failure_reason") or "refund_failed")
            return Declined(code, "the refund failed", payment_id=payment_id)
    return Unknown("unexpected_answer", "Stripe answered without a refund")


def of_error(kind: Kind, reply: Reply) -> Outcome:
    error = error_of(reply)
    code = str(error.get("decline_code") or error.get("code") or f"http_{reply.status}")[:LENGTH]
    intent = mapping(error.get("payment_intent"))
    if code in EXPIRED:
        return Declined("hold_ended", "the hold ended before it was captured", payment_id=intent.get("id"))
    if error.get("type") == "idempotency_error":
        return Unknown("idempotency_error", "Stripe has another request under this key")
    if reply.status == HTTPStatus.PAYMENT_REQUIRED:
        return of_card(error, intent.get("id")) if error else no_answer(reply)
    if intent and kind in ("capture", "release"):
        found = of_intent(kind, intent)
        if isinstance(found, Succeeded | Declined):
            return found
    if not reply.begun:
        code = "not_reached"
    return Rejected(code, said(reply), reply.closes, later=reply.status in BUSY or not reply.begun)


def of_card(error: Mapping[str, Any], payment_id: str | None) -> Declined:
    code = str(error.get("decline_code") or error.get("code") or "declined")
    advice = error.get("advice_code")
    retryable = advice == "try_again_later" or (code in MAY_WORK_LATER and advice != "do_not_try_again")
    authentication = "authentication_required" in (code, error.get("code"))
    customer = authentication or not (retryable or code in NEVER_AGAIN)
    return Declined(code, str(error.get("message") or code)[:LENGTH], retryable, customer, payment_id)


def no_answer(reply: Reply) -> Unknown:
    """Read what tells nothing, or the failure of a look-up."""
    code = "no_answer" if reply.status is None else f"http_{reply.status}"
    return Unknown(code, said(reply), reply.closes)


def code_of(reply: Reply) -> str:
    """Return the code of a failed look-up."""
    if not reply.begun:
        return "not_reached"
    return str(error_of(reply).get("code") or no_answer(reply).code)[:LENGTH]


def said(reply: Reply) -> str:
    if reply.status is None:
        return f"Stripe gave no answer: {reply.trouble}"
    request = reply.headers.get("Request-Id", "")
    message = str(error_of(reply).get("message") or "").strip()[:LENGTH]
    parts = [
        f"Stripe answered {reply.status}",
        message,
        reply.trouble,
        f"request {request}" if request else "",
    ]
    return ", ".join(each for each in parts if each)


def error_of(reply: Reply) -> Mapping[str, Any]:
    return mapping((reply.body or {}).get("error"))


def hold_end(intent: Mapping[str, Any]) -> datetime | None:
    """Return the end of the hold as Stripe tells it, in `latest_charge`, else the earliest that it can be."""
    details = mapping(mapping(intent.get("latest_charge")).get("payment_method_details"))
    told = instant(mapping(details.get("card")).get("capture_before"))
    created = instant(intent.get("created"))
    return told or (created + SHORTEST_HOLD if created else None)


def instant(seconds: object) -> datetime | None:
    if not isinstance(seconds, int) or not 0 < seconds < LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def reference_of(thing: Mapping[str, Any]) -> str | None:
    metadata = thing.get("metadata")
    return metadata.get(REFERENCE) if isinstance(metadata, dict) else None


def ours(amount: int, currency: str) -> Money:
    """Return an amount of Stripe's in minor units of ISO 4217: the reverse of `smallest`."""
    if currency == "MGA":
        return Money(amount * 100, currency)
    return Money(amount // LARGER.get(currency, 1), currency)


def found(reply: Reply) -> Found:
    """Read the answer to a look-up of an intent by its number, with its charge in it."""
    intent = reply.body or {}
    if reply.status == HTTPStatus.NOT_FOUND:
        return NotFound()
    if reply.status != HTTPStatus.OK:
        return Unknown(code_of(reply), said(reply), reply.closes)
    match intent.get("status"):
        case "succeeded":
            paid = with_charge(intent)
            return paid if isinstance(paid, Paid) else Unknown("unexpected_answer", paid.reason)
        case "canceled":
            return Declined("canceled", "the payment was cancelled", payment_id=str(intent.get("id")))
        case str():  # the customer may still complete it
            return Pending(str(intent.get("id")))
    return Unknown("unexpected_answer", "Stripe answered without a payment")


def of_events(page: Sequence[Mapping[str, Any]], refunded: set[str]) -> list[Paid | Unreadable]:
    """Read a page of the events PAID or REFUNDED; add to what was refunded.

    Raises KeyError or TypeError for what is no event.
    """
    paid = []
    for each in page:
        thing = each["data"]["object"]
        if each["type"] == REFUNDED:
            refunded.add(str(thing["payment_intent"]))
        elif each["type"] == PAID:
            paid.append(listed(thing, each["created"], refunded=str(thing["id"]) in refunded))
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
    number, customer, method = str(intent["id"]), intent.get("customer"), intent.get("payment_method")
    try:
        paid = Paid(
            NAME,
            number,
            ours(int(intent["amount_received"]), str(intent["currency"]).upper()),
            instant(paid_at) or datetime.fromtimestamp(int(intent["created"]), UTC),
            {name: str(value) for name, value in mapping(intent.get("metadata")).items()},
            customer=str(customer) if customer else None,
            method=str(method) if customer and method and is_saved(intent) else None,
            refunded=refunded,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return Unreadable(NAME, number, "Stripe tells of it what cannot be read")
    return sound(paid)
