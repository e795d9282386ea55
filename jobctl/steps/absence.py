"""What seems absent at a provider: believed twice, later than its lists may lag, and looked at again.

A request whose answer was lost may have taken effect though a list lacks it. Two lists, complete by the
provider's own word and apart by its own delay, end it; until its horizon has passed it is looked for again.
"""

from typing import Any

from jobctl import journal
from jobctl.job import At
from jobctl.journal import Operation
from jobctl.providers.protocol import (
    Answer,
    Declined,
    Mismatched,
    NoEffect,
    NotFound,
    NotListed,
    Pending,
    Rejected,
    Unknown,
)
from jobctl.providers.switchboard import horizon, listed_after

MISSED = "a list of the provider lacks it; it is looked for once more before that is believed"
NO_PAYMENT = "no_payment"  # the code of what is about a payment that its provider doesn't have


def is_believed(at: At, operation: Operation) -> bool:
    """Tell whether a list that lacks it now, as one did before, proves that there was no effect."""
    missed = operation.missed_at
    return missed is not None and at.present >= missed + listed_after(operation.provider)


def of_number(
    at: At, operation: Operation, answer: NotFound, *, looked: bool
) -> Mismatched | Rejected | Unknown:
    """Read that the account has no payment of the number that the journal has.

    Where the account is proved to be the right one, or that is said for long, a person has to decide; until
    then it may be the key that is wrong. looked: it was looked for, else the request was refused.
    """
    sent = operation.first_sent_at
    past = sent is not None and sent + horizon(operation.provider) <= at.present
    if answer.proved or (past if looked else operation.attempt >= journal.PATIENT):
        reason = f"{operation.provider} has no payment {operation.payment_id}"
        return Mismatched(NO_PAYMENT, reason, operation.payment_id)
    if looked:
        return Unknown(NO_PAYMENT, answer.reason, answer.closes)
    return Rejected(NO_PAYMENT, answer.reason)


def missed(at: At, operation: Operation) -> dict[str, Any]:
    """Return what the journal has of an operation that a list lacks for the first time."""
    return {
        "status": "unknown",
        "code": operation.code or "not_listed",  # of the answer to the request, which says how to go on
        "reason": MISSED,
        "missed_at": operation.missed_at or at.present,
        "answer_by": at.present + listed_after(operation.provider),
        "asked": operation.asked + 1,
    }


def looked_for(at: At, operation: Operation) -> dict[str, Any]:
    """Return when an operation that was taken for absent is looked for, and until when."""
    sent = operation.first_sent_at
    assert sent is not None, "what was never sent is not absent"
    until = sent + horizon(operation.provider)
    if until <= at.present:
        return {"look_until": None, "answer_by": None}
    # The older it is, the less likely it turns up: the intervals double.
    again = at.present + max(at.present - sent, journal.FIRST_INTERVAL)
    return {"look_until": until, "answer_by": min(again, until)}


def looked_again(at: At, operation: Operation, answer: Answer) -> dict[str, Any]:
    """Return what becomes of an operation that was taken for absent, and is not seen to have succeeded."""
    values: dict[str, Any] = {"asked": operation.asked + 1}
    if isinstance(answer, Declined):
        return values | {"look_until": None, "answer_by": None}
    if isinstance(answer, NoEffect | NotListed):
        return values | looked_for(at, operation)
    # Nobody could tell, or the provider has not decided: the horizon waits for that.
    known = {"payment_id": answer.payment_id} if isinstance(answer, Pending) else {}
    return values | known | {"answer_by": journal.next_time(operation.asked, at.present)}
