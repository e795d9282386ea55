"""What YooKassa's answers mean. Whatever isn't in these tables is unknown, never a success.

Sources: YooKassa's API reference (The payment object, The refund object, HTTP codes, Errors), and its guide
"Declined payments".
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from jobctl.outside_text import is_id
from jobctl.providers.protocol import (
    NAMING,
    Declined,
    Found,
    Kind,
    Mismatched,
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
    marked,
    sound,
)
from jobctl.providers.transport import Reply, mapping, retry_after
from jobctl.providers.wire import moment, word
from jobctl.providers.yookassa_reading import (
    NAME,
    closes,
    code_of,
    live_of,
    missing,
    money,
    money_told,
    no_answer,
    reference_of,
    said,
)

HELD, DONE, GONE, UNDECIDED = "waiting_for_capture", "succeeded", "canceled", "pending"
YES = {("authorize", HELD), ("charge", DONE), ("capture", DONE), ("release", GONE)}
NOT_YET = {("capture", HELD), ("release", HELD)}
# Nothing of ours captures what another request of ours wants held, or released.
CAPTURED = {("authorize", DONE), ("release", DONE)}
# "Declined payments": the reasons after which the same method may work another day.
MAY_WORK_LATER = {
    "general_decline",
    "insufficient_funds",
    "internal_timeout",
    "issuer_unavailable",
    "payment_method_limit_exceeded",
}
# And those after which nothing more is to be charged: the payer withdrew the permission, or it is forbidden.
NEVER_AGAIN = {"country_forbidden", "fraud_suspected", "permission_revoked"}
LAPSED, BY_HAND = "expired_on_capture", "canceled_by_merchant"
IDEMPOTENCY = "idempotency_error"
UNREADABLE = Unknown("unexpected_answer", "YooKassa answered without a payment")
NO_AMOUNT = Unknown("unexpected_answer", "YooKassa tells an amount that cannot be read")


def worth_repeating(reply: Reply) -> bool:
    """Tell whether the same request, under the same key, is to be sent again at once.

    A server's error is not: it is to be repeated about once a minute ("HTTP codes"), which later runs do.
    """
    return reply.status in (None, HTTPStatus.ACCEPTED, HTTPStatus.TOO_MANY_REQUESTS)


def pause_asked(reply: Reply) -> float | None:
    """Return the seconds to wait, which the body has in milliseconds."""
    asked = (reply.body or {}).get("retry_after")
    return asked / 1000 if isinstance(asked, int) and asked >= 0 else retry_after(reply)


def told(kind: Kind, reply: Reply) -> Outcome | NoEffect:
    """Read the answer to a request of that kind, or to a look-up of its payment."""
    if reply.status == HTTPStatus.OK and reply.body:
        return of_refund(reply.body) if kind == "refund" else of_payment(kind, reply.body)
    if kind in NAMING and missing(reply) and not reply.open:
        return NotFound(said(reply))
    if not reply.tells:
        return no_answer(reply)
    if duplicated(reply):
        return Unknown(IDEMPOTENCY, "YooKassa has another request under this key")
    later = not reply.begun or reply.status == HTTPStatus.TOO_MANY_REQUESTS
    outcome = Rejected(code_of(reply), said(reply), closes(reply), later=later)
    return doubtful(outcome) if reply.open else outcome


def duplicated(reply: Reply) -> bool:
    """Tell whether something else was asked under the key before, of which there may be an effect."""
    about = word((reply.body or {}).get("parameter")) or word((reply.body or {}).get("description"))
    return reply.status == HTTPStatus.BAD_REQUEST and about.lower().startswith(
        ("idempotence-key", "idempotence key")
    )


def of_payment(kind: Kind, payment: Mapping[str, Any]) -> Outcome | NoEffect:
    return marked(as_it_stands(kind, payment), live_of(payment), reference_of(payment))


def as_it_stands(kind: Kind, payment: Mapping[str, Any]) -> Outcome | NoEffect:
    payment_id, status = payment.get("id"), payment.get("status")
    if not is_id(payment_id) or not isinstance(status, str):
        return UNREADABLE
    if (kind, status) in YES:
        return succeeded(kind, payment_id, payment)
    if (kind, status) in NOT_YET:
        return NoEffect()
    return Pending(payment_id) if status == UNDECIDED else of_state(kind, payment_id, payment)


def succeeded(kind: Kind, payment_id: str, payment: Mapping[str, Any]) -> Outcome:
    """Return the success with what it is to be proved by; once captured, `amount` is what was captured."""
    if kind == "release":
        return Succeeded(payment_id, live=live_of(payment))
    if payment.get("paid", True) is not True:
        return Unknown("unpaid", f"YooKassa has the payment as {payment['status']} and as not paid")
    try:
        amount = money(payment["amount"]) if "amount" in payment else None
    except ValueError:
        return NO_AMOUNT
    back = money_told(payment.get("refunded_amount"))
    if kind in ("capture", "charge") and back and back.minor:
        reason = f"{back} of {amount or 'it'} were given back at YooKassa"
        return Mismatched("refunded_by_hand", reason, payment_id, back)
    ends = moment(payment.get("expires_at")) if kind == "authorize" else None
    reference = reference_of(payment) if kind != "capture" else None
    return Succeeded(payment_id, ends, amount, live_of(payment), reference)


def of_state(kind: Kind, payment_id: str, payment: Mapping[str, Any]) -> Outcome:
    status = payment["status"]
    if status == GONE:
        return of_cancellation(kind, payment_id, mapping(payment.get("cancellation_details")))
    if (kind, status) in CAPTURED:
        reason = "the payment was captured at YooKassa, and not by this request"
        return Mismatched("captured_by_hand", reason, payment_id, money_told(payment.get("amount")))
    return Unknown("unexpected_answer", f"YooKassa has the payment as {word(status)}")


def of_cancellation(kind: Kind, payment_id: str, details: Mapping[str, Any]) -> Outcome:
    """Tell a lapse, a decision and a decline apart; what was held is not declined any more."""
    because = word(details.get("reason"))
    if because == LAPSED:
        return Declined("hold_ended", "the hold ended before it was captured", payment_id=payment_id)
    if kind == "capture" or because == BY_HAND:
        party = word(details.get("party"), "somebody")
        reason = f"the payment was cancelled at YooKassa by {party} ({because or 'no reason is told'})"
        return Mismatched("cancelled_by_hand", reason, payment_id)
    return declined(details, payment_id)


def declined(details: Mapping[str, Any], payment_id: str) -> Declined:
    code, party = word(details.get("reason"), "canceled"), word(details.get("party"), "YooKassa")
    retryable = code in MAY_WORK_LATER
    customer = not retryable and code not in NEVER_AGAIN
    return Declined(code, f"{party} declined it: {code}", retryable, customer, payment_id)


def of_refund(refund: Mapping[str, Any]) -> Outcome:
    return marked(as_it_went(refund), live_of(refund), reference_of(refund))


def as_it_went(refund: Mapping[str, Any]) -> Outcome:
    payment_id = refund.get("payment_id")
    if not is_id(payment_id):
        return Unknown("unexpected_answer", "YooKassa answered without a refund")
    match refund.get("status"):
        case "succeeded":
            try:
                amount = money(refund["amount"]) if "amount" in refund else None
            except ValueError:
                return NO_AMOUNT
            return Succeeded(payment_id, None, amount, live_of(refund), reference_of(refund))
        case "pending":
            return Pending(payment_id)
        case "canceled":
            code = word(mapping(refund.get("cancellation_details")).get("reason"), "refund_failed")
            return Declined(code, "the refund failed", payment_id=payment_id)
    return Unknown("unexpected_answer", "YooKassa answered without a refund")


def given_back(asked: Mapping[str, Any], payment: Mapping[str, Any]) -> Succeeded | Mismatched | None:
    """Tell why a refund may have been refused: nothing, or too little, is left to be given back."""
    payment_id, wanted = asked["payment_id"], money(asked["amount"])
    received, back = money_told(payment.get("amount")), money_told(payment.get("refunded_amount"))
    done = (payment.get("id"), payment.get("status")) == (payment_id, DONE)
    if not done or not received or not back or not back.minor:
        return None
    if back == received:
        return Succeeded(payment_id, amount=back, live=live_of(payment))
    if back.minor + wanted.minor <= received.minor:
        return None
    reason = f"{back} of {received} were given back at YooKassa already, and {wanted} do not fit beside them"
    return Mismatched("refunded_by_hand", reason, payment_id, back)


def found(reply: Reply) -> Found:
    """Read the answer to a look-up of a payment by its number."""
    if missing(reply):
        return NotFound()
    if reply.status != HTTPStatus.OK or not reply.body:
        return Unknown(code_of(reply), said(reply), closes(reply))
    number = reply.body.get("id")
    return marked(of_status(number, reply.body), live_of(reply.body)) if is_id(number) else UNREADABLE


def of_status(number: str, payment: Mapping[str, Any]) -> Found:
    match payment.get("status"):
        case "succeeded":
            paid = listed(payment)
            return paid if isinstance(paid, Paid) else Unknown("unexpected_answer", paid.reason)
        case "canceled":
            return declined(mapping(payment.get("cancellation_details")), number)
        case "pending" | "waiting_for_capture":
            return Pending(number)
    return UNREADABLE


def listed(payment: Mapping[str, Any]) -> Paid | Unreadable:
    """Read a payment that succeeded; raises KeyError for one without a number."""
    method, number = mapping(payment.get("payment_method")), payment["id"]
    if not is_id(number):
        return Unreadable(NAME, ascii(number)[:200], "its number is none")
    if payment.get("status") != "succeeded":
        return Unreadable(NAME, number, "YooKassa lists it as paid, and says that it is not")
    amount, paid_at = money_told(payment.get("amount")), moment(payment.get("captured_at"))
    back = money_told(payment["refunded_amount"]) if "refunded_amount" in payment else amount
    if amount is None or paid_at is None or back is None or payment.get("paid", True) is not True:
        return Unreadable(NAME, number, "YooKassa tells of it what cannot be read")
    metadata = {
        name: value for name, value in mapping(payment.get("metadata")).items() if isinstance(value, str)
    }
    saved = method.get("id", "") if method.get("saved") else None
    refunded = "refunded_amount" in payment and back.minor > 0
    paid = Paid(
        NAME, number, amount, paid_at, metadata, method=saved, refunded=refunded, live=live_of(payment)
    )
    return sound(paid)
