"""What Paystack's answers mean. Whatever isn't in these tables is unknown, never a success.

Sources: Paystack's API reference (Transactions: Verify, List; Refunds; Errors), and its guides "Verify
Payments" and "Refunds". The `status` at the top of an answer only says that the call worked.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from jobctl.money import Money
from jobctl.outside_text import is_id
from jobctl.providers import amounts
from jobctl.providers.failures import Failures
from jobctl.providers.protocol import (
    Declined,
    Found,
    Mismatched,
    NotFound,
    Outcome,
    Paid,
    Pending,
    Rejected,
    Succeeded,
    Unknown,
    Unreadable,
    marked,
    sound,
)
from jobctl.providers.transport import Reply, mapping
from jobctl.providers.wire import exact, moment, word

NAME = "paystack"
# Paystack's own description of its API (OpenAPI). XOF and RWF, of other sources, are counted in hundredths
# there though ISO 4217 gives them none: refused until Paystack confirms it.
DECIMALS = dict.fromkeys(["GHS", "KES", "NGN", "USD", "ZAR"], 2)
SUCCESS, REVERSED, FAILED = "success", "reversed", "failed"
NO = {FAILED: "Paystack has it as failed", REVERSED: "it was given back at Paystack"}
# Abandoned: the customer has not completed it, and still may.
UNDECIDED = {"abandoned", "ongoing", "pending", "processing", "queued"}
REFUND_DONE, REFUND_UNDECIDED = "processed", {"pending", "processing", "needs-attention"}
NOT_THERE = "transaction reference not found"
UNREADABLE = Unknown("unexpected_answer", "Paystack answered without a transaction's status that is known")
NO_REFUND = Unknown("unexpected_answer", "Paystack answered without a refund that can be read")


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
    if reply.status != HTTPStatus.OK:
        return Unknown(code_of(reply), said(reply), closes(reply))
    transaction = data_of(reply)
    reference, status = transaction.get("reference"), exact(transaction.get("status"))
    if not is_id(reference):
        return UNREADABLE
    return marked(of_status(reference, status, transaction), live_of(transaction))


def of_status(reference: str, status: str, transaction: Mapping[str, Any]) -> Found:
    if status == SUCCESS:
        paid = listed(transaction)
        return paid if isinstance(paid, Paid) else Unknown("unexpected_answer", paid.reason)
    if status in NO:
        return Declined(status, NO[status], payment_id=reference)
    return Pending(reference) if status in UNDECIDED else UNREADABLE


def not_there(reply: Reply) -> bool:
    """Tell whether Paystack says, in its own form, that there is no such transaction ("Verify Payments")."""
    body, refused = reply.body or {}, reply.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
    named = body.get("code") == "transaction_not_found"
    said = word(body.get("message")).lower().startswith(NOT_THERE)
    return refused and body.get("status") is False and (named or said)


def listed(transaction: Mapping[str, Any]) -> Paid | Unreadable:
    """Read a transaction that succeeded; raises KeyError for one without a reference."""
    reference = transaction["reference"]
    if not is_id(reference):
        return Unreadable(NAME, ascii(reference)[:200], "its reference is none")
    amount, paid_at = money_told(transaction), moment(transaction.get("paid_at"))
    if amount is None or paid_at is None:
        return Unreadable(NAME, reference, "Paystack tells of it what cannot be read")
    refunded = transaction.get("status") == REVERSED
    if not refunded and transaction.get("status") != SUCCESS:
        return Unreadable(NAME, reference, "Paystack lists it as paid, and says that it is not")
    return sound(Paid(NAME, reference, amount, paid_at, refunded=refunded, live=live_of(transaction)))


def refund_told(reply: Reply, payment_id: str) -> Outcome:
    """Read the answer to a request for a refund."""
    if reply.status == HTTPStatus.OK:
        return of_refund(data_of(reply), payment_id)
    if not_there(reply) and not reply.open:
        return NotFound(said(reply))
    if not reply.tells:
        return no_answer(reply)
    later = not reply.begun or reply.status == HTTPStatus.TOO_MANY_REQUESTS
    return Rejected(code_of(reply), said(reply), closes(reply), later=later)


def of_refund(refund: Mapping[str, Any], asked: str | None) -> Outcome:
    """Read a refund. asked: of which payment one was asked for, which Paystack doesn't always tell."""
    return marked(as_it_went(refund, asked), live_of(refund), note_of(refund))


def as_it_went(refund: Mapping[str, Any], asked: str | None) -> Outcome:
    theirs, status = payment_of(refund), exact(refund.get("status"))
    payment_id = asked if theirs is None else theirs
    if not is_id(payment_id):
        return NO_REFUND
    if status == REFUND_DONE:
        return refunded(payment_id, refund)
    if status in REFUND_UNDECIDED:
        return Pending(payment_id)
    if status == FAILED:
        return Declined("refund_failed", "Paystack has the refund as failed", payment_id=payment_id)
    return NO_REFUND


def refunded(payment_id: str, refund: Mapping[str, Any]) -> Outcome:
    """Return the success with what it is to be proved by."""
    amount = money_told(refund)
    if amount is None and "amount" in refund:
        return NO_REFUND
    return Succeeded(payment_id, None, amount, live_of(refund), note_of(refund))


def note_of(refund: Mapping[str, Any]) -> str | None:
    """Return our key, which refunds bear as their note."""
    note = refund.get("merchant_note")
    return note if isinstance(note, str) else None


def payment_of(refund: Mapping[str, Any]) -> Any:
    """Return the reference of what was given back; None where only its number is told, or nothing."""
    return mapping(refund.get("transaction")).get("reference", refund.get("transaction_reference"))


def given_back(
    wanted: Money, transaction: Mapping[str, Any], refunds: Sequence[Mapping[str, Any]]
) -> Succeeded | Pending | Mismatched | None:
    """Tell why a refund may have been refused: nothing, or too little, is left to be given back."""
    reference, received = transaction.get("reference"), money_told(transaction)
    if not is_id(reference) or received is None:
        return None
    if transaction.get("status") == REVERSED:
        return Succeeded(reference, amount=received, live=live_of(transaction))
    told = [money_told(each) for each in refunds if comes_to_something(each)]
    back = Money(sum(each.minor for each in told if each), received.currency)
    if back == received:  # asked for, and reversed once it is done
        return Pending(reference)
    if not back.minor or back.minor + wanted.minor <= received.minor:
        return None
    reason = f"{back} of {received} were given back at Paystack already, and {wanted} do not fit beside them"
    return Mismatched("refunded_by_hand", reason, reference, back)


def comes_to_something(refund: Mapping[str, Any]) -> bool:
    """Tell of a refund that it is done, or may yet be: what is neither is no refund that failed."""
    return refund.get("status") != FAILED


def live_of(thing: Mapping[str, Any]) -> bool | None:
    return {"live": True, "test": False}.get(exact(thing.get("domain")))


def money_told(thing: Mapping[str, Any]) -> Money | None:
    """Read an amount, in subunits; None where it is none."""
    try:
        return amounts.ours(DECIMALS, thing.get("amount"), thing.get("currency"))
    except ValueError:
        return None


def own(reply: Reply) -> bool:
    """Tell whether Paystack itself, by the form of it, refuses something."""
    return (reply.body or {}).get("status") is False


FAILURES = Failures("Paystack", "PAYSTACK_URL", own, lambda reply: [word((reply.body or {}).get("message"))])
closes, code_of, no_answer, said = FAILURES.closes, FAILURES.code_of, FAILURES.no_answer, FAILURES.said
torn = FAILURES.torn
