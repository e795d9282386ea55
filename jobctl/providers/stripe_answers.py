"""What Stripe's answers mean. Whatever isn't in these tables is unknown, never a success.

Sources: Stripe's API reference (The PaymentIntent object, Errors, Idempotent requests), and its guides
"Place a hold on a payment method" and "Declines".
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from jobctl.money import Money
from jobctl.outside_text import is_id
from jobctl.providers import amounts
from jobctl.providers.protocol import (
    NAMING,
    Declined,
    Kind,
    Mismatched,
    NoEffect,
    NotFound,
    Outcome,
    Pending,
    Rejected,
    Succeeded,
    Unknown,
    doubtful,
    marked,
)
from jobctl.providers.stripe_reading import (
    amount_of,
    amount_told,
    closes,
    error_of,
    instant,
    live_of,
    missing,
    no_answer,
    reference_of,
    said,
)
from jobctl.providers.stripe_requests import DECIMALS
from jobctl.providers.transport import BUSY, Reply, mapping
from jobctl.providers.wire import exact, word

HELD, DONE, GONE, UNDECIDED = "requires_capture", "succeeded", "canceled", "processing"
# What a customer has to do something about; for an off-session payment both mean: not by a job.
ASKS_CUSTOMER = {"requires_action", "requires_confirmation", "requires_payment_method"}
YES = {("authorize", HELD), ("charge", DONE), ("capture", DONE), ("release", GONE)}
NOT_YET = {("capture", HELD), ("release", HELD), *(("release", each) for each in ASKS_CUSTOMER)}
# Nothing of ours captures what another request of ours wants held, or released.
# What an intent beside a refusal is like where the refusal is not the whole truth.
MOVED: dict[str, tuple[str, ...]] = {
    "authorize": (HELD, DONE, UNDECIDED),
    "charge": (HELD, DONE, UNDECIDED),
}
CAPTURED = {("authorize", DONE), ("release", DONE)}
PROOF = {"authorize": "amount_capturable", "charge": "amount_received", "capture": "amount_received"}
GIVEN = ("amount_refunded", "amount", "amount_captured")
# "The PaymentIntent object": the reasons that are nobody's decision.
LAPSED = {"automatic", "expired"}
ENDED = "the hold ended before it was captured"
# Off-session holds by Visa, the shortest of the networks', where the answer tells no end.
SHORTEST_HOLD = timedelta(days=4, hours=18)
EXPIRED = {"charge_expired_for_capture", "capture_charge_authorization_expired"}
IDEMPOTENCY = "idempotency_error"
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
# With which no day is another one, whatever the advice beside it is.
NEVER_THIS_CARD = {
    *NEVER_AGAIN,
    "authentication_required",
    "expired_card",
    "incorrect_number",
    "invalid_account",
    "invalid_number",
    "lost_card",
    "merchant_blacklist",
    "pickup_card",
    "restricted_card",
    "security_violation",
    "stolen_card",
}
UNREADABLE = Unknown("unexpected_answer", "Stripe answered without a payment")


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
    if kind in NAMING and missing(reply) and not reply.open:
        return NotFound(said(reply))
    outcome = of_error(kind, reply) if reply.tells else no_answer(reply)
    return doubtful(outcome) if isinstance(outcome, Rejected) and reply.open else outcome


def of_intent(kind: Kind, intent: Mapping[str, Any]) -> Outcome | NoEffect:
    return marked(as_it_stands(kind, intent), live_of(intent), reference_of(intent))


def as_it_stands(kind: Kind, intent: Mapping[str, Any]) -> Outcome | NoEffect:
    payment_id, status = intent.get("id"), intent.get("status")
    if not is_id(payment_id) or not isinstance(status, str):
        return UNREADABLE
    if (kind, status) in YES:
        return succeeded(kind, payment_id, intent)
    if (kind, status) in NOT_YET:
        return NoEffect()
    return Pending(payment_id) if status == UNDECIDED else of_state(kind, payment_id, intent)


def succeeded(kind: Kind, payment_id: str, intent: Mapping[str, Any]) -> Outcome:
    """Return the success with what it is to be proved by."""
    try:
        amount = amount_of(intent, PROOF[kind]) if kind in PROOF else None
    except ValueError:
        return Unknown("unexpected_answer", "Stripe tells an amount that cannot be read")
    if amount and kind in ("capture", "charge") and (back := sent_back(intent)):
        reason = f"{back} of {amount} were given back at Stripe"
        return Mismatched("refunded_by_hand", reason, payment_id, back)
    ends = hold_end(intent) if kind == "authorize" else None
    reference = reference_of(intent) if kind in ("authorize", "charge") else None
    return Succeeded(payment_id, ends, amount, live_of(intent), reference)


def sent_back(intent: Mapping[str, Any]) -> Money | None:
    """Return what was given back of what was captured, if anything, as the charge in the intent tells."""
    charge = mapping(intent.get("latest_charge"))
    told = {name: amount_told({**charge, "currency": intent.get("currency")}, name) for name in GIVEN}
    back, whole, captured = told.values()
    if not back:
        return None
    # What was not captured of a hold may be counted as given back too.
    released = whole.minor - captured.minor if whole and captured else 0
    return Money(back.minor - released, back.currency) if back.minor > released else None


def of_state(kind: Kind, payment_id: str, intent: Mapping[str, Any]) -> Outcome:
    status = intent["status"]
    if status == GONE:
        return of_cancellation(kind, payment_id, intent)
    if (kind, status) in CAPTURED:
        reason = "the payment was captured at Stripe, and not by this request"
        return Mismatched("captured_by_hand", reason, payment_id, amount_told(intent, "amount_received"))
    if status in ASKS_CUSTOMER:
        return of_card(mapping(intent.get("last_payment_error")), intent)
    return Unknown("unexpected_answer", f"Stripe has the payment as {word(status)}")


def of_cancellation(kind: Kind, payment_id: str, intent: Mapping[str, Any]) -> Outcome:
    """Tell a lapse from a decision: what no rule of Stripe's ended, a person did."""
    because = word(intent.get("cancellation_reason"))
    if because not in LAPSED:
        reason = f"the payment was cancelled at Stripe ({because or 'no reason is told'})"
        return Mismatched("cancelled_by_hand", reason, payment_id)
    if kind == "charge":
        return Declined("canceled", "the payment was cancelled", payment_id=payment_id)
    return Declined("hold_ended", ENDED, payment_id=payment_id)


def of_refund(refund: Mapping[str, Any]) -> Outcome:
    return marked(as_it_went(refund), live_of(refund), reference_of(refund))


def as_it_went(refund: Mapping[str, Any]) -> Outcome:
    payment_id = refund.get("payment_intent")
    if not is_id(payment_id):
        return Unknown("unexpected_answer", "Stripe answered without a refund")
    match refund.get("status"):
        case "succeeded":
            try:
                amount = amount_of(refund, "amount")
            except ValueError:
                return Unknown("unexpected_answer", "Stripe tells an amount that cannot be read")
            return Succeeded(payment_id, None, amount, live_of(refund), reference_of(refund))
        case "pending" | "requires_action":
            return Pending(payment_id)
        case "failed" | "canceled":
            code = word(refund.get("failure_reason"), "refund_failed")
            return Declined(code, "the refund failed", payment_id=payment_id)
    return Unknown("unexpected_answer", "Stripe answered without a refund")


def of_error(kind: Kind, reply: Reply) -> Outcome:
    error = error_of(reply)
    code = word(error.get("decline_code")) or word(error.get("code"), f"http_{reply.status}")
    intent = mapping(error.get("payment_intent"))
    if kind in MOVED and intent.get("status") in MOVED[kind] and is_id(intent.get("id")):
        # An error, and beside it money that moved or may have: the intent itself is asked.
        return marked(Pending(intent["id"]), live_of(intent), reference_of(intent))
    state = of_intent(kind, intent) if intent and kind in ("capture", "release") else None
    if code in EXPIRED:
        return expired(intent, state)
    if word(error.get("type")) == IDEMPOTENCY:
        return Unknown(IDEMPOTENCY, "Stripe has another request under this key")
    refused = reply.status == HTTPStatus.PAYMENT_REQUIRED
    if isinstance(state, Succeeded | Mismatched | Pending) or (isinstance(state, Declined) and not refused):
        return state
    if refused:
        declined = of_card(error, intent) if error else no_answer(reply)
        return marked(declined, live_of(intent), reference_of(intent))
    if not reply.begun:
        code = "not_reached"
    later = reply.status in BUSY or not reply.begun
    return Rejected(code, said(reply), closes(reply), later=later)


def expired(intent: Mapping[str, Any], state: Outcome | NoEffect | None) -> Outcome:
    """Read a code that says that the hold lapsed, unless the intent beside it tells of a decision."""
    if isinstance(state, Succeeded) or (
        isinstance(state, Mismatched) and word(intent.get("cancellation_reason"))
    ):
        return state
    number = intent.get("id")
    return Declined("hold_ended", ENDED, payment_id=number if is_id(number) else None)


def of_card(error: Mapping[str, Any], intent: Mapping[str, Any]) -> Declined:
    """Read a decline; the intent that it left, if told, may still be completed by the customer."""
    codes = [word(error.get("decline_code")), word(error.get("code"))]
    code = codes[0] or codes[1] or "declined"
    number, advice = intent.get("id"), error.get("advice_code")
    never = not NEVER_THIS_CARD.isdisjoint(codes)
    retryable = advice == "try_again_later" or (code in MAY_WORK_LATER and advice != "do_not_try_again")
    retryable = retryable and not never
    customer = "authentication_required" in codes or not (retryable or code in NEVER_AGAIN)
    declined = Declined(code, word(error.get("message"), code), retryable, customer)
    if not is_id(number):
        return declined
    status = exact(intent.get("status"))
    if status == "requires_action":
        declined = replace(declined, retryable=False, needs_customer=True)
    return replace(declined, payment_id=number, unfinished=status in ASKS_CUSTOMER)


def given_back(payment_id: str, asked: object, intent: Mapping[str, Any]) -> Succeeded | Mismatched | None:
    """Tell why a refund may have been refused: nothing, or too little, is left to be given back.

    asked: in Stripe's smallest unit.
    """
    charge = mapping(intent.get("latest_charge"))
    received, back = (
        amount_told(intent, "amount_received"),
        amount_told({**charge, "currency": intent.get("currency")}, "amount_refunded"),
    )
    if intent.get("id") != payment_id or not received or not back or not back.minor:
        return None
    if back == received:
        return Succeeded(payment_id, amount=back, live=live_of(intent))
    try:
        wanted = amounts.ours(DECIMALS, asked, received.currency)
    except ValueError:  # of another currency, which has no such amount
        return None
    if back.minor + wanted.minor <= received.minor:
        return None
    reason = f"{back} of {received} were given back at Stripe already, and {wanted} do not fit beside them"
    return Mismatched("refunded_by_hand", reason, payment_id, back)


def hold_end(intent: Mapping[str, Any]) -> datetime | None:
    """Return the end of the hold as Stripe tells it, in `latest_charge`, else the earliest that it can be."""
    details = mapping(mapping(intent.get("latest_charge")).get("payment_method_details"))
    told = instant(mapping(details.get("card")).get("capture_before"))
    created = instant(intent.get("created"))
    return told or (created + SHORTEST_HOLD if created else None)
