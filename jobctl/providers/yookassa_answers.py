"""What YooKassa's answers mean. Whatever isn't in these tables is unknown, never a success.

Sources: YooKassa's API reference (The payment object, The refund object, HTTP codes, Errors), and its guide
"Declined payments".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from jobctl.money import EXPONENTS, Money
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
from jobctl.providers.transport import Reply, mapping, retry_after

NAME = "yookassa"
HELD, DONE, GONE, UNDECIDED = "waiting_for_capture", "succeeded", "canceled", "pending"
YES = {("authorize", HELD), ("charge", DONE), ("capture", DONE), ("release", GONE)}
NOT_YET = {("capture", HELD), ("release", HELD)}
NO = {
    ("capture", GONE): ("hold_ended", "the hold ended before it was captured"),
    ("release", DONE): ("already_captured", "the payment was captured already"),
}
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
LENGTH = 200


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
    if not reply.tells:
        return no_answer(reply)
    later = not reply.begun or reply.status == HTTPStatus.TOO_MANY_REQUESTS
    outcome = Rejected(code_of(reply), said(reply), reply.closes, later=later)
    return doubtful(outcome) if reply.open else outcome


def of_payment(kind: Kind, payment: Mapping[str, Any]) -> Outcome | NoEffect:
    payment_id, status = payment.get("id"), payment.get("status")
    if not isinstance(payment_id, str) or not isinstance(status, str):
        return Unknown("unexpected_answer", "YooKassa answered without a payment")
    if (kind, status) in YES:
        return Succeeded(payment_id, moment(payment.get("expires_at")) if kind == "authorize" else None)
    if (kind, status) in NOT_YET:
        return NoEffect()
    return Pending(payment_id) if status == UNDECIDED else of_state(kind, payment_id, payment)


def of_state(kind: Kind, payment_id: str, payment: Mapping[str, Any]) -> Outcome:
    status = payment["status"]
    if (kind, status) in NO:
        code, reason = NO[kind, status]
        return Declined(code, reason, payment_id=payment_id)
    if status == GONE:
        return of_cancellation(mapping(payment.get("cancellation_details")), payment_id)
    return Unknown("unexpected_answer", f"YooKassa has the payment as {status[:LENGTH]}")


def of_cancellation(details: Mapping[str, Any], payment_id: str) -> Declined:
    code = str(details.get("reason") or "canceled")[:LENGTH]
    party = str(details.get("party") or "YooKassa")[:LENGTH]
    retryable = code in MAY_WORK_LATER
    customer = not retryable and code not in NEVER_AGAIN
    return Declined(code, f"{party} declined it: {code}", retryable, customer, payment_id)


def of_refund(refund: Mapping[str, Any]) -> Outcome:
    payment_id = refund.get("payment_id")
    if not isinstance(payment_id, str):
        return Unknown("unexpected_answer", "YooKassa answered without a refund")
    match refund.get("status"):
        case "succeeded":
            return Succeeded(payment_id)
        case "pending":
            return Pending(payment_id)
        case "canceled":
            code = str(mapping(refund.get("cancellation_details")).get("reason") or "refund_failed")[:LENGTH]
            return Declined(code, "the refund failed", payment_id=payment_id)
    return Unknown("unexpected_answer", "YooKassa answered without a refund")


def no_answer(reply: Reply) -> Unknown:
    """Read what tells nothing, or the failure of a look-up."""
    code = "no_answer" if reply.status is None else f"http_{reply.status}"
    return Unknown(code, said(reply), reply.closes)


def code_of(reply: Reply) -> str:
    if not reply.begun:
        return "not_reached"
    return str((reply.body or {}).get("code") or no_answer(reply).code)[:LENGTH]


def said(reply: Reply) -> str:
    if reply.status is None:
        return f"YooKassa gave no answer: {reply.trouble}"
    body = reply.body or {}
    parts = [str(body.get(name) or "").strip()[:LENGTH] for name in ("description", "parameter", "id")]
    return ", ".join(each for each in (f"YooKassa answered {reply.status}", *parts, reply.trouble) if each)


def moment(written: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(written)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def reference_of(thing: Mapping[str, Any]) -> str | None:
    reference = mapping(thing.get("metadata")).get(REFERENCE)
    return reference if isinstance(reference, str) else None


def money(amount: Mapping[str, Any]) -> Money:
    """Read an amount; raises ValueError where it is no whole number of minor units."""
    currency = str(amount["currency"])
    minor = Decimal(str(amount["value"])).scaleb(EXPONENTS.get(currency, 2))
    if minor != int(minor):
        raise ValueError(f"{amount['value']} {currency} is no whole number of minor units")
    return Money(int(minor), currency)


def found(reply: Reply) -> Found:
    """Read the answer to a look-up of a payment by its number."""
    payment = reply.body or {}
    if reply.status == HTTPStatus.NOT_FOUND:
        return NotFound()
    if reply.status != HTTPStatus.OK:
        return Unknown(code_of(reply), said(reply), reply.closes)
    match payment.get("status"):
        case "succeeded":
            paid = listed(payment)
            return paid if isinstance(paid, Paid) else Unknown("unexpected_answer", paid.reason)
        case "canceled":
            return of_cancellation(mapping(payment.get("cancellation_details")), str(payment.get("id")))
        case "pending" | "waiting_for_capture":
            return Pending(str(payment.get("id")))
    return Unknown("unexpected_answer", "YooKassa answered without a payment")


def listed(payment: Mapping[str, Any]) -> Paid | Unreadable:
    """Read a payment that succeeded; raises KeyError for one without a number."""
    method, number = mapping(payment.get("payment_method")), str(payment["id"])
    try:
        paid = Paid(
            NAME,
            number,
            money(payment["amount"]),
            datetime.fromisoformat(str(payment["captured_at"])).astimezone(UTC),
            {name: str(value) for name, value in mapping(payment.get("metadata")).items()},
            method=str(method["id"]) if method.get("saved") else None,
            refunded="refunded_amount" in payment and money(payment["refunded_amount"]).minor > 0,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return Unreadable(NAME, number, "YooKassa tells of it what cannot be read")
    return sound(paid)
