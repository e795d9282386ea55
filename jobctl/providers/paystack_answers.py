"""What Paystack's answers mean. Whatever isn't in these tables is unknown, never a success.

Sources: Paystack's API reference (Transactions: Verify, List; Refunds; Errors), and its guides "Verify
Payments" and "Refunds". The `status` at the top of an answer only says that the call worked.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from jobctl.money import Money
from jobctl.providers.protocol import (
    Declined,
    Found,
    NotFound,
    Outcome,
    Paid,
    Pending,
    Rejected,
    Succeeded,
    Unknown,
    Unreadable,
    sound,
)
from jobctl.providers.transport import Reply, mapping

NAME = "paystack"
REVERSED, FAILED = "reversed", "failed"
NO = {FAILED: "Paystack has it as failed", REVERSED: "it was given back at Paystack"}
# Abandoned: the customer has not completed it, and still may.
UNDECIDED = {"abandoned", "ongoing", "pending", "processing", "queued"}
REFUND_UNDECIDED = {"pending", "processing", "needs-attention"}
LENGTH = 200


def worth_repeating(reply: Reply) -> bool:
    """Tell whether a look-up is to be made again at once."""
    busy = reply.status is None or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return busy or reply.status == HTTPStatus.TOO_MANY_REQUESTS


def safe_again(reply: Reply) -> bool:
    """Tell whether a request without a key may be sent again: what certainly was not taken up."""
    return not reply.begun or reply.status == HTTPStatus.TOO_MANY_REQUESTS


def data_of(reply: Reply) -> Mapping[str, Any]:
    body = reply.body or {}
    return mapping(body.get("data")) if reply.status == HTTPStatus.OK and body.get("status") is True else {}


def found(reply: Reply) -> Found:
    """Read the answer to a verification."""
    if not_there(reply):
        return NotFound()
    transaction = data_of(reply)
    status = transaction.get("status")
    if status == "success":
        paid = listed(transaction)
        return paid if isinstance(paid, Paid) else Unknown("unexpected_answer", paid.reason)
    if status in NO:
        return Declined(str(status), NO[status])
    if status in UNDECIDED:
        return Pending(str(transaction.get("reference")))
    if reply.status == HTTPStatus.OK:
        return Unknown("unexpected_answer", "Paystack answered without a transaction's status that is known")
    return Unknown(code_of(reply), said(reply), reply.closes)


def not_there(reply: Reply) -> bool:
    """Tell whether there is no such thing, which a 400 may say as well as a 404 ("Verify Payments")."""
    refused = reply.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
    return refused and "not found" in str((reply.body or {}).get("message")).lower()


def listed(transaction: Mapping[str, Any]) -> Paid | Unreadable:
    """Read a transaction that succeeded; raises KeyError for one without a reference."""
    reference = str(transaction["reference"])
    try:
        paid = Paid(
            NAME,
            reference,
            Money(whole(transaction["amount"]), str(transaction["currency"])),
            datetime.fromisoformat(str(transaction["paid_at"])).astimezone(UTC),
            refunded=transaction.get("status") == REVERSED,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return Unreadable(NAME, reference, "Paystack tells of it what cannot be read")
    return sound(paid)


def whole(amount: object) -> int:
    """Read an amount, which is a whole number of subunits; raises ValueError for anything else."""
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise ValueError("an amount is a whole number")  # noqa: TRY004 (what it says cannot be read)
    return amount


def refund_told(reply: Reply, payment_id: str) -> Outcome:
    """Read the answer to a request for a refund."""
    if reply.status == HTTPStatus.OK:
        return of_refund(data_of(reply), payment_id)
    if not reply.tells:
        return no_answer(reply)
    later = not reply.begun or reply.status == HTTPStatus.TOO_MANY_REQUESTS
    return Rejected(code_of(reply), said(reply), reply.closes, later=later)


def of_refund(refund: Mapping[str, Any], payment_id: str) -> Outcome:
    status = refund.get("status")
    if status == "processed":
        return Succeeded(payment_id)
    if status in REFUND_UNDECIDED:
        return Pending(payment_id)
    if status == FAILED:
        return Declined("refund_failed", "Paystack has the refund as failed", payment_id=payment_id)
    return Unknown("unexpected_answer", "Paystack answered without a refund's status that is known")


def no_answer(reply: Reply) -> Unknown:
    """Read what tells nothing, or the failure of a look-up."""
    code = "no_answer" if reply.status is None else f"http_{reply.status}"
    return Unknown(code, said(reply), reply.closes)


def code_of(reply: Reply) -> str:
    return no_answer(reply).code if reply.begun else "not_reached"


def said(reply: Reply) -> str:
    if reply.status is None:
        return f"Paystack gave no answer: {reply.trouble}"
    message = str((reply.body or {}).get("message") or "").strip()[:LENGTH]
    return ", ".join(each for each in (f"Paystack answered {reply.status}", message, reply.trouble) if each)
