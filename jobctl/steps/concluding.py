"""What an answer makes of an operation and of its subject: noted here, written by the money step."""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobctl import journal
from jobctl.db import first_line
from jobctl.errors import Exit
from jobctl.job import Ask, At, Look, Lost, MoneyStep, ScopeDownError
from jobctl.journal import Operation
from jobctl.providers.protocol import (
    Declined,
    NoEffect,
    NotListed,
    Pending,
    Rejected,
    Succeeded,
    Unknown,
    UnrepresentableError,
)
from jobctl.providers.switchboard import key_lives
from jobctl.steps.settling import Noted
from jobctl.tables.journal import TRANSITIONS

log = logging.getLogger(__name__)
AnyMoney = MoneyStep[Any]
NO_EFFECT = Rejected("no_effect", "the provider knows of no such effect", later=True)
NOTHING_SENT = Rejected("not_sent", "it was not sent", later=True)
UNWANTED = Rejected("not_wanted", "it was not sent: nobody wants it any more", later=True)


@dataclass
class Conclusion:
    """What is to be written about one operation."""

    operation: Operation
    outcome: str  # the word under which it is counted
    values: dict[str, Any] = field(default_factory=dict)  # of the operation
    subject: Noted | None = None  # what becomes of its subject
    asked: list[Ask] = field(default_factory=list)  # to be sent now
    later: list[Ask] = field(default_factory=list)  # to be sent by another run
    error: str | None = None  # what a person has to see to


def asking(step: AnyMoney, at: At, row: Any, look: Look) -> Ask | Noted:
    """Ask the job about a row, and let it settle what it refuses itself."""
    noted = Noted(row, look)
    try:
        asked = step.ask(at, row)
        if isinstance(asked, Ask):
            return asked
        noted.outcome = step.settle(at, row, None, asked, noted)
    except UnrepresentableError as error:
        return Noted(row, look, outcome="failed", errors=[str(error)])
    except Exception as error:  # isolation: one bad row never stops the others
        log.debug("ask.broken", exc_info=True)
        return Noted(row, look, outcome="failed", errors=[f"{type(error).__name__}: {first_line(error)}"])
    return noted


def closing(provider: str, answer: Any) -> ScopeDownError | None:
    """Return why the provider is of no use for the rest of the run, where the answer says so."""
    down: Exit | None = getattr(answer, "closes", None)
    return ScopeDownError(provider, answer.reason, down) if down else None


def conclude(at: At, step: AnyMoney, operation: Operation, subject: Noted | None, answer: Any) -> Conclusion:
    """Note what an answer changes.

    operation: as it is now, locked. subject: its row, locked; None where that is gone.
    """
    if isinstance(answer, Succeeded | Declined):
        return decided(at, step, operation, subject, answer)
    if isinstance(answer, Pending):
        return pending(at, operation, answer)
    if isinstance(answer, Lost):
        return unknown(at, operation, Unknown("broken", answer.reason))
    if isinstance(answer, Unknown):
        return unknown(at, operation, answer)
    return rejected(
        at, step, operation, subject, NO_EFFECT if isinstance(answer, NoEffect | NotListed) else answer
    )


def unknown(at: At, operation: Operation, answer: Unknown) -> Conclusion:
    values: dict[str, Any] = {"claimed_by": None}
    if may_become(operation, "unknown"):
        values |= {"status": "unknown", "code": answer.code, "reason": answer.reason}
    if overdue(at, operation) and not answer.closes:
        values |= asked_again(at, operation)
    return Conclusion(operation, "unknown", values)


def pending(at: At, operation: Operation, answer: Pending) -> Conclusion:
    values = {"claimed_by": None, "payment_id": answer.payment_id, **asked_again(at, operation)}
    if may_become(operation, "pending"):
        values["status"] = "pending"
    return Conclusion(operation, "pending", values)


def overdue(at: At, operation: Operation) -> bool:
    return operation.answer_by is not None and operation.answer_by <= at.present


def asked_again(at: At, operation: Operation) -> dict[str, Any]:
    return {"answer_by": journal.next_time(operation.asked, at.present), "asked": operation.asked + 1}


def rejected(
    at: At, step: AnyMoney, operation: Operation, subject: Noted | None, answer: Rejected
) -> Conclusion:
    """Conclude what certainly had no effect; what must not get lost is written down anew."""
    if not may_become(operation, "rejected"):
        return Conclusion(operation, "known already", {"claimed_by": None})
    values = journal.concluded(at, "rejected", answer.code, answer.reason) | {"settled_at": at.present}
    made = Conclusion(operation, "put back" if answer in (NOTHING_SENT, UNWANTED) else "rejected", values)
    if subject is not None:
        step.withdraw(at, operation, answer.code, subject)
        made.subject = subject
    if not answer.later and answer.closes is None:
        made.error = f"its {operation.kind} was rejected ({answer.code}): {answer.reason}"
    elif operation.follows is not None and (undo := journal.repeated(operation)):
        made.later.append(undo)
    return made


def may_become(operation: Operation, status: str) -> bool:
    """Tell whether a fact is news: compare and set, of whoever was first."""
    return status != operation.status and status in TRANSITIONS.get(operation.status, ())


def decided(
    at: At, step: AnyMoney, operation: Operation, subject: Noted | None, answer: Succeeded | Declined
) -> Conclusion:
    """Record a fact, and settle the subject by it."""
    status = "succeeded" if isinstance(answer, Succeeded) else "declined"
    if operation.settled_at and not may_become(operation, status):
        return Conclusion(operation, "known already", {"claimed_by": None})
    known = {"claimed_by": None} if operation.status == status else fact(at, answer)
    made = Conclusion(operation, status, known | {"settled_at": at.present})
    if subject is None:
        made.error = f"its {operation.kind} {status}, and the {operation.subject} is gone"
        return undone(made, answer)
    row = subject.row
    try:
        subject.outcome = made.outcome = step.settle(at, row, operation, answer, subject)
    except Exception as error:  # isolation: one bad row never stops the others
        log.debug("settle.broken", exc_info=True)
        return fact_alone(made, f"{type(error).__name__}: {first_line(error)}")
    made.subject, made.asked = subject, subject.asked
    if isinstance(answer, Declined) and operation.follows is not None:
        subject.error(f"its {operation.kind} was declined ({answer.code}): {answer.reason}")
    return made if step.wanted(at, row, operation, subject.look) else undone(made, answer)


def fact(at: At, answer: Succeeded | Declined) -> dict[str, Any]:
    """Return what the journal keeps of an answer, whatever becomes of the subject."""
    if isinstance(answer, Declined):
        known = {"payment_id": answer.payment_id} if answer.payment_id else {}
        said = {"retryable": answer.retryable, "needs_customer": answer.needs_customer}
        return journal.concluded(at, "declined", answer.code, answer.reason) | said | known
    took_effect = journal.took_effect(at, answer.payment_id, at.present)
    return took_effect | {"hold_ends_at": answer.hold_ends_at}


def undone(made: Conclusion, answer: Succeeded | Declined) -> Conclusion:
    """Undo a success that nobody wants any more, instead of what would have followed it."""
    undo = isinstance(answer, Succeeded) and journal.compensation(made.operation, answer.payment_id)
    if undo and made.subject:
        made.subject.notices.clear()  # nobody gets a receipt for what is given back
    if undo:
        made.outcome, made.asked = f"{made.outcome} and to be undone", [undo]
    return made


def of_another_cycle(connection: Connection, made: Conclusion) -> Conclusion:
    """Give an effect that came twice a cycle of its own, and have it undone."""
    operation = made.operation
    if made.values.get("status") != "succeeded":
        return made
    if connection.scalar(journal.succeeded_before(operation)) is None:
        return made
    values = made.values | {"cycle": journal.once_more(operation)}
    doubled = replace(made, values=values, subject=None, asked=[], outcome="had twice")
    return undone(doubled, Succeeded(made.values["payment_id"]))


def fact_alone(made: Conclusion, reason: str) -> Conclusion:
    """Keep the fact where the subject could not follow it; the next run settles it again."""
    values = {**made.values, "settled_at": None}
    return Conclusion(made.operation, "failed", values, error=reason)


def stored_answer(operation: Operation) -> Succeeded | Declined:
    """Return the answer that the journal has, for a subject that has not followed it yet."""
    if operation.status == "succeeded":
        return Succeeded(operation.payment_id or "", operation.hold_ends_at)
    return Declined(
        operation.code or "",
        operation.reason or "",
        bool(operation.retryable),
        bool(operation.needs_customer),
        operation.payment_id,
    )


def key_is_alive(operation: Operation, present: datetime) -> bool:
    sent = operation.first_sent_at
    return sent is not None and present - sent < key_lives(operation.provider)
