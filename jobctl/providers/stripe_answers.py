"""What Stripe's answers mean. Whatever isn't in these tables is unknown, never a success.

Sources: Stripe's API reference (The PaymentIntent object, Errors, Idempotent requests), and its guides
"Place a hold on a payment method" and "Declines".
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from jobctl.errors import Exit
from jobctl.money import Money
from jobctl.providers.protocol import (
    Declined,
    Kind,
    Listed,
    NoEffect,
    Outcome,
    Pending,
    Rejected,
    Succeeded,
    Unknown,
)
from jobctl.providers.transport import Reply

REFERENCE = "jobctl_key"  # in the metadata: our key, by which a payment is found again
HELD, DONE, GONE, UNDECIDED = "requires_capture", "succeeded", "canceled", "processing"
YES = {("authorize", HELD), ("charge", DONE), ("capture", DONE), ("release", GONE)}
NOT_YET = {("capture", HELD), ("release", HELD)}
NO = {
    ("authorize", GONE): ("hold_ended", "the hold has ended"),
    ("charge", GONE): ("canceled", "the payment was cancelled"),
    ("capture", GONE): ("hold_ended", "the hold ended before it was captured"),
    ("release", DONE): ("already_captured", "the payment was captured already"),
}
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
LOCKED_OUT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
BUSY = {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
LENGTH = 200


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
    outcome = of_error(kind, reply) if reply.tells and reply.status != HTTPStatus.OK else no_answer(reply)
    if isinstance(outcome, Rejected) and reply.open:
        return Unknown(outcome.code, f"{outcome.reason}; an earlier request had no answer", outcome.closes)
    return outcome


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
        return of_card(intent.get("last_payment_error") or {}, payment_id)
    return Unknown("unexpected_answer", f"Stripe has the payment as {status[:LENGTH]}")


def of_refund(refund: Mapping[str, Any]) -> Outcome:
    payment_id = str(refund.get("payment_intent") or "")
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
    code = str(error.get("decline_code") or error.get("code") or f"http_{reply.status}")
    intent = error.get("payment_intent") or {}
    if reply.status == HTTPStatus.PAYMENT_REQUIRED:
        return of_card(error, intent.get("id"))
    if code in EXPIRED:
        return Declined("hold_ended", "the hold ended before it was captured", payment_id=intent.get("id"))
    if code == "idempotency_error":
        return Unknown(code, "Stripe has another request under this key")
    if intent and kind in ("capture", "release"):
        found = of_intent(kind, intent)
        if isinstance(found, Succeeded | Declined):
            return found
    if not reply.begun:
        code = "not_reached"
    return Rejected(code, said(reply), closes(reply), later=reply.status in BUSY or not reply.begun)


def of_card(error: Mapping[str, Any], payment_id: str | None) -> Declined:
    code = str(error.get("decline_code") or error.get("code") or "declined")
    retryable = code in MAY_WORK_LATER and error.get("advice_code") != "do_not_try_again"
    customer = "authentication_required" in (code, error.get("code"))
    return Declined(code, str(error.get("message") or code)[:LENGTH], retryable, customer, payment_id)


def no_answer(reply: Reply) -> Unknown:
    """Read what tells nothing, or the failure of a look-up."""
    code = "no_answer" if reply.status is None else f"http_{reply.status}"
    return Unknown(code, said(reply), closes(reply))


def closes(reply: Reply) -> Exit | None:
    """Return the exit code where the provider is of no use for the rest of the run."""
    if reply.status in LOCKED_OUT:
        return Exit.MISCONFIGURED
    return None if reply.begun else Exit.UNREACHABLE


def said(reply: Reply) -> str:
    if reply.status is None:
        return f"Stripe gave no answer: {reply.trouble}"
    request = reply.headers.get("Request-Id", "")
    message = str(error_of(reply).get("message") or "").strip()[:LENGTH]
    parts = [f"Stripe answered {reply.status}", message, f"request {request}" if request else ""]
    return ", ".join(each for each in parts if each)


def error_of(reply: Reply) -> Mapping[str, Any]:
    error = (reply.body or {}).get("error")
    return error if isinstance(error, dict) else {}


def hold_end(intent: Mapping[str, Any]) -> datetime:
    """Return the end of the hold as Stripe tells it, in `latest_charge`, else the earliest that it can be."""
    charge = intent.get("latest_charge")
    card = (charge.get("payment_method_details") or {}).get("card") if isinstance(charge, dict) else None
    before = (card or {}).get("capture_before")
    if isinstance(before, int):
        return datetime.fromtimestamp(before, UTC)
    return datetime.fromtimestamp(int(intent.get("created") or 0), UTC) + SHORTEST_HOLD


def reference_of(thing: Mapping[str, Any]) -> str | None:
    metadata = thing.get("metadata")
    return metadata.get(REFERENCE) if isinstance(metadata, dict) else None


def listed(intent: Mapping[str, Any]) -> Listed:
    money = Money(int(intent["amount_received"]), str(intent["currency"]).upper())
    paid = datetime.fromtimestamp(int(intent["created"]), UTC)
    return Listed("stripe", str(intent["id"]), money, paid, dict(intent.get("metadata") or {}))
