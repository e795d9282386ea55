"""Whether an answer is about what was asked: the one check between what a provider tells and what follows.

An answer that is about something else is neither a success nor a failure of what was asked for, nor its
delay; it is a fact that a person has to decide about.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from jobctl.journal import Operation
from jobctl.money import Money
from jobctl.providers.protocol import (
    Answer,
    Declined,
    Found,
    Mismatched,
    Paid,
    Pending,
    Succeeded,
    Unknown,
    Unreadable,
)

REFERRING = ("authorize", "charge", "refund")  # requests that carry our reference themselves
BEGINNING = ("authorize", "charge")  # requests that make a payment
MOST_AHEAD = timedelta(days=1)  # of a provider's clock
DONE = {
    "authorize": "the hold is of",
    "capture": "what was captured is",
    "charge": "what was charged is",
    "refund": "what was given back is",
}


def proved(operation: Operation, live: bool | None, answer: Answer) -> Answer:
    """Return the answer, unless it is about another payment, amount, currency, mode or reference.

    live: whether the key that was asked with moves real money.
    """
    if not isinstance(answer, Succeeded | Declined | Pending):
        return answer
    if operation.payment_id and answer.payment_id not in (None, operation.payment_id):
        return of_another_payment(operation.provider, operation.payment_id, answer.payment_id)
    told = getattr(answer, "amount", None)
    if doubt := of_reference(operation, answer, told):
        return doubt
    if live is not None and answer.live is not None and answer.live != live:
        return of_another_mode(operation.provider, answer.payment_id, told, theirs=answer.live)
    if isinstance(answer, Declined) and answer.unfinished and answer.reference is None:
        return replace(answer, unfinished=False)  # whose payment stands open nobody can tell
    return of_amount(operation, answer) if isinstance(answer, Succeeded) else answer


def of_reference(
    operation: Operation, answer: Succeeded | Declined | Pending, told: Money | None
) -> Answer | None:
    if answer.reference is None:
        # Nothing else says that a payment is ours which was begun, and whose number was not known before.
        begun = operation.kind in BEGINNING and operation.payment_id is None
        if begun and isinstance(answer, Succeeded):
            return Unknown("unproved", f"{operation.provider} tells no reference of its {operation.kind}")
        return None
    if operation.kind not in REFERRING or answer.reference == operation.key:
        return None
    theirs = f"{operation.provider} answered about {answer.reference!a}"
    reason = f"{theirs}, and {operation.key} was asked for"
    return Mismatched("other_reference", reason, answer.payment_id, told)


def of_amount(operation: Operation, answer: Succeeded) -> Answer:
    if operation.amount_minor is None:
        return answer
    if answer.amount is None:
        return Unknown("unproved", f"{operation.provider} tells no amount of its {operation.kind}")
    if answer.amount != operation.amount:
        same_currency = answer.amount.currency == operation.amount.currency
        code = "other_amount" if same_currency else "other_currency"
        told = f"{DONE[operation.kind]} {answer.amount} at {operation.provider}"
        reason = f"{told}, and {operation.amount} was asked for"
        return Mismatched(code, reason, answer.payment_id, answer.amount)
    return answer


def proved_payment(provider: str, payment_id: str, live: bool | None, found: Found, now: datetime) -> Found:
    """Return what was found of a payment, unless it is another one, of another mode, or of the future."""
    theirs = found.id if isinstance(found, Paid) else getattr(found, "payment_id", None)
    if theirs not in (None, payment_id):
        return of_another_payment(provider, payment_id, theirs)
    mode = getattr(found, "live", None)
    if live is not None and mode is not None and mode != live:
        return of_another_mode(provider, payment_id, getattr(found, "amount", None), theirs=mode)
    if isinstance(found, Paid) and found.paid_at > now + MOST_AHEAD:
        return Unknown("unexpected_answer", f"{provider} has payment {payment_id} as paid in the future")
    return found


def proved_listed(listed: Paid | Unreadable, live: bool | None, until: datetime) -> Paid | Unreadable:
    """Return what a list up to `until` has, unless it is of another mode, or of the future."""
    if not isinstance(listed, Paid):
        return listed
    if live is not None and listed.live is not None and listed.live != live:
        return Unreadable(listed.provider, listed.id, "it is of another mode than the key")
    if listed.paid_at > until + MOST_AHEAD:
        return Unreadable(listed.provider, listed.id, "it is told to be paid in the future")
    return listed


def of_another_payment(provider: str, asked: str, told: str | None) -> Mismatched:
    reason = f"{provider} answered about payment {told!a}, and {asked} was asked for"
    return Mismatched("other_payment", reason)


def of_another_mode(
    provider: str, payment_id: str | None, amount: Money | None, *, theirs: bool
) -> Mismatched:
    told, asked = ("live", "test") if theirs else ("test", "live")
    reason = f"{provider} answered about a payment of {told} mode, and the key is of {asked} mode"
    return Mismatched("other_mode", reason, payment_id, amount)
