"""What an answer makes of an operation and of its subject: noted here, written by the money step."""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from jobctl import journal
from jobctl.db import first_line
from jobctl.errors import Exit
from jobctl.findings import MISMATCH, Finding
from jobctl.job import Ask, At, Look, Lost, MoneyStep, ScopeDownError
from jobctl.journal import Operation
from jobctl.providers.protocol import (
    Declined,
    Mismatched,
    NoEffect,
    NotListed,
    Pending,
    Rejected,
    Release,
    Succeeded,
    Unknown,
    UnrepresentableError,
)
from jobctl.providers.switchboard import key_lives
from jobctl.steps import absence
from jobctl.steps.settling import Noted
from jobctl.tables.journal import TRANSITIONS

log = logging.getLogger(__name__)
AnyMoney = MoneyStep[Any]
NO_EFFECT = Rejected("no_effect", "the provider knows of no such effect", later=True)
NOTHING_SENT = Rejected("not_sent", "it was not sent", later=True)
UNWANTED = Rejected("not_wanted", "it was not sent: nobody wants it any more", later=True)


BY_HAND = "refunded_by_hand"
OTHER_ACCOUNT = "other_account"  # the code of what was sent to an account that the settings don't have
USELESS = timedelta(minutes=10)  # a hold that ends so soon takes no money


@dataclass(frozen=True)
class OtherAccount:
    """It can be asked about, or sent, at another account alone than `named`, which the settings have."""

    named: str


@dataclass
class Conclusion:
    """What is to be written about one operation."""

    operation: Operation
    outcome: str  # the word under which it is counted, if it is
    values: dict[str, Any] = field(default_factory=dict)  # of the operation
    subject: Noted | None = None  # what becomes of its subject
    asked: list[Ask] = field(default_factory=list)  # to be sent now
    later: list[Ask] = field(default_factory=list)  # to be sent by another run
    error: str | None = None  # what a person has to see to
    finding: Finding | None = None
    done: list[Finding] = field(default_factory=list)  # what needs nobody any more


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
    made = what_follows(at, step, operation, subject, answer)
    if operation.code == OTHER_ACCOUNT and made.values.get("settled_at"):
        made.done.append(out_of_reach(operation))
    return made


def what_follows(
    at: At, step: AnyMoney, operation: Operation, subject: Noted | None, answer: Any
) -> Conclusion:
    if isinstance(answer, Mismatched):
        return mismatched(at, step, operation, subject, answer)
    if operation.seemed_absent and not isinstance(answer, Succeeded):
        return still_absent(at, operation, answer)
    if isinstance(answer, Succeeded | Declined):
        return decided(at, step, operation, subject, answer)
    if isinstance(answer, Pending | Unknown | Lost | OtherAccount):
        return undecided(at, operation, answer)
    if isinstance(answer, NotListed):
        return absent(at, step, operation, subject)
    return rejected(at, step, operation, subject, NO_EFFECT if isinstance(answer, NoEffect) else answer)


def is_undone(at: At, step: AnyMoney, operation: Operation, subject: Noted, answer: Mismatched) -> bool:
    """Tell whether a person has given all of it back that nobody wants any more: what our refund would do."""
    by_hand = answer.code == BY_HAND and operation.kind in ("capture", "charge")
    known = operation.payment_id or answer.payment_id
    news = is_news(operation, "succeeded")  # what the journal has as mismatched stays that
    if not by_hand or not known or not news or answer.amount != operation.amount:
        return False
    return not step.wanted(at, subject.row, operation, subject.look)


def mismatched(
    at: At, step: AnyMoney, operation: Operation, subject: Noted | None, answer: Mismatched
) -> Conclusion:
    """Record an answer about something else as the fact that it is; the subject waits for a person."""
    if subject is not None and is_undone(at, step, operation, subject, answer):
        done = Succeeded(str(operation.payment_id or answer.payment_id))
        return decided(at, step, operation, subject, done)
    if not is_news(operation, "mismatched"):
        return Conclusion(operation, "known already")
    told = answer.amount
    values = known_as(at, operation, "mismatched", answer) | {
        "settled_at": at.present,
        "look_until": None,
        "answered_minor": told and told.minor,
        "answered_currency": told and told.currency,
        "payment_id": operation.payment_id or answer.payment_id,
    }
    return Conclusion(operation, "mismatched", values, finding=of_mismatch(operation, answer))


def of_mismatch(operation: Operation, answer: Mismatched) -> Finding:
    asked = None if operation.amount_minor is None else operation.amount
    facts = {
        "operation": operation.id,
        "provider": operation.provider,
        "payment": operation.payment_id or answer.payment_id,
        "asked": asked and str(asked),
        "answered": answer.amount and str(answer.amount),
    }
    return Finding(
        MISMATCH,
        once=[operation.key],
        reason=f"the {operation.kind} of {operation.subject} {operation.subject_id}: {answer.reason}",
        amount=answer.amount or asked,
        facts=facts,
        waits=(operation.subject, operation.subject_id),
    )


def absent(at: At, step: AnyMoney, operation: Operation, subject: Noted | None) -> Conclusion:
    """Note that a list lacks it; what was concluded from that is looked at again."""
    if not absence.is_believed(at, operation):
        return Conclusion(operation, "unknown", absence.missed(at, operation))
    made = rejected(at, step, operation, subject, NO_EFFECT)
    if made.values.get("status") == "rejected":
        made.values |= absence.looked_for(at, operation)
    return made


def still_absent(at: At, operation: Operation, answer: Any) -> Conclusion:
    made = Conclusion(operation, "looked for again", absence.looked_again(at, operation, answer))
    return unfinished(made, answer) if isinstance(answer, Declined) else made


def undecided(at: At, operation: Operation, answer: Pending | Unknown | Lost | OtherAccount) -> Conclusion:
    if not operation.is_open:  # somebody else was told more
        return Conclusion(operation, "known already")
    if isinstance(answer, OtherAccount):
        return at_another_account(operation, answer)
    if isinstance(answer, Pending):
        return pending(at, operation, answer)
    return unknown(at, operation, Unknown("broken", answer.reason) if isinstance(answer, Lost) else answer)


def unknown(at: At, operation: Operation, answer: Unknown) -> Conclusion:
    values: dict[str, Any] = {"reason": answer.reason}
    if may_become(operation, "unknown"):
        values |= {"status": "unknown", "code": answer.code}
    if overdue(at, operation) and not answer.closes:
        values |= asked_again(at, operation)
    return Conclusion(operation, "unknown", values)


def at_another_account(operation: Operation, answer: OtherAccount) -> Conclusion:
    """Leave it open, and tell a person; once the account can be asked again, it is settled as ever."""
    found = out_of_reach(operation, answer.named)
    values = {"code": OTHER_ACCOUNT, "reason": found.reason}
    if operation.first_sent_at is not None:
        values["status"] = "unknown"
    return Conclusion(operation, "at another account", values, finding=found)


def out_of_reach(operation: Operation, named: str = "") -> Finding:
    """Return what a person has to know of an operation whose account cannot be asked, until it is settled."""
    asked = "is to be asked" if operation.first_sent_at is None else "was asked"
    told = f"the {operation.kind} of {operation.subject} {operation.subject_id} {asked} of the "
    there = f"{operation.provider} account {operation.account}, and the settings have {named}"
    return Finding(
        "money at another account",
        once=[operation.key],
        reason=f"{told}{there}: run jobctl settle-operations with the key of that account",
        amount=None if operation.amount_minor is None else operation.amount,
        facts={"provider": operation.provider, "account": operation.account, "operation": operation.id},
    )


def pending(at: At, operation: Operation, answer: Pending) -> Conclusion:
    values = {"payment_id": answer.payment_id, **asked_again(at, operation)}
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
    if not is_news(operation, "rejected"):
        return Conclusion(operation, "known already")
    values = known_as(at, operation, "rejected", answer) | {"settled_at": at.present}
    made = Conclusion(operation, "put back" if answer in (NOTHING_SENT, UNWANTED) else "rejected", values)
    if subject is not None:
        step.withdraw(at, operation, answer.code, subject)
        made.subject = subject
    in_vain = answer == NO_EFFECT and operation.attempt >= journal.PATIENT
    if in_vain or (not answer.later and answer.closes is None):
        made.error = f"its {operation.kind} was rejected ({answer.code}): {answer.reason}"
    return repeating(at, made) if operation.undoes else made


def repeating(at: At, made: Conclusion) -> Conclusion:
    """Have a release or refund that was refused repeated; a person is told of what is refused for long."""
    operation = made.operation
    made.later.append(journal.repeated(at, operation))
    if operation.attempt >= journal.PATIENT:
        made.finding = not_undone(operation, made.values.get("reason") or operation.reason or "")
    return made


def not_undone(operation: Operation, reason: str = "") -> Finding:
    """Return what a person has to know of a release or refund that is refused, until it is done."""
    subject = f"{operation.subject} {operation.subject_id}"
    return Finding(
        f"{operation.kind} refused",
        once=[operation.follows],
        reason=f"the {operation.kind} of {subject} is refused, and asked for again each day: {reason}",
        amount=None if operation.amount_minor is None else operation.amount,
        facts={"provider": operation.provider, "payment": operation.payment_id},
    )


def may_become(operation: Operation, status: str) -> bool:
    """Tell whether a fact is news: compare and set, of whoever was first."""
    return status != operation.status and status in TRANSITIONS.get(operation.status, ())


def is_news(operation: Operation, status: str) -> bool:
    """Tell whether a fact is one, or is known and its subject has not followed it yet."""
    return may_become(operation, status) or (operation.status == status and operation.settled_at is None)


def known_as(at: At, operation: Operation, status: str, answer: Rejected | Mismatched) -> dict[str, Any]:
    """Return what the journal is to keep of an answer; nothing where it has it, and its subject follows."""
    if operation.status == status:
        return {}
    return journal.concluded(at, status, answer.code, answer.reason)


def decided(
    at: At, step: AnyMoney, operation: Operation, subject: Noted | None, answer: Succeeded | Declined
) -> Conclusion:
    """Record a fact, and settle the subject by it."""
    if isinstance(answer, Succeeded) and lapsed_at_once(at, answer):
        answer = replace(answer, hold_ends_at=None)
    status = "succeeded" if isinstance(answer, Succeeded) else "declined"
    if not is_news(operation, status):
        return Conclusion(operation, "known already")
    known = {} if operation.status == status else fact(at, answer)
    made = Conclusion(operation, status, known | {"settled_at": at.present, "look_until": None})
    if isinstance(answer, Declined) and operation.undoes:
        made.error = f"its {operation.kind} was declined ({answer.code}): {answer.reason}"
        return repeating(at, made)
    if isinstance(answer, Succeeded) and operation.undoes and operation.attempt > journal.PATIENT:
        made.done.append(not_undone(operation))
    if operation.ends_a_decline:
        return replace(made, outcome="")  # the decline itself was counted, and its subject has followed it
    if subject is None:
        made.error = f"its {operation.kind} {status}, and the {operation.subject} is gone"
        return undone(made, answer)
    row = subject.row
    subject.outcome = made.outcome = step.settle(at, row, operation, answer, subject)
    made.subject, made.asked = subject, subject.asked
    if isinstance(answer, Declined):
        return unfinished(made, answer)
    return made if step.wanted(at, row, operation, subject.look) else undone(made, answer)


def lapsed_at_once(at: At, answer: Succeeded) -> bool:
    """Tell whether a hold is told to end before it can be of any use: that is no end to go by."""
    return answer.hold_ends_at is not None and answer.hold_ends_at <= at.present + USELESS


def unfinished(made: Conclusion, answer: Declined) -> Conclusion:
    """Cancel a payment that was declined and stands open at the provider: its customer could complete it."""
    operation = made.operation
    if answer.unfinished and answer.payment_id and operation.kind in ("authorize", "charge"):
        cycle = f"{operation.cycle}{journal.DECLINED}{operation.attempt}"
        open_one = Release(answer.payment_id)
        made.asked.append(Ask(cycle, operation.provider, open_one, operation.account, follows=operation.id))
    return made


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
    operation = made.operation._replace(cycle=made.values.get("cycle", made.operation.cycle))
    undo = isinstance(answer, Succeeded) and journal.compensation(operation, answer.payment_id)
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


def in_plain_words(made: Conclusion) -> Conclusion:
    """Keep the fact where the database takes no text that others wrote."""
    ours = {name: "(it could not be stored)" for name in ("code", "reason") if made.values.get(name)}
    return replace(made, values=made.values | ours, error="what the provider said of it could not be stored")


def stored_answer(operation: Operation) -> Succeeded | Declined | Rejected | Mismatched:
    """Return the answer that the journal has, for a subject that has not followed it yet."""
    code, reason = operation.code or "", operation.reason or ""
    match operation.status:
        case "succeeded":
            return Succeeded(operation.payment_id or "", operation.hold_ends_at)
        case "rejected":
            return Rejected(code, reason, later=True)
        case "mismatched":
            return Mismatched(code, reason, operation.payment_id, operation.answered)
    return Declined(
        code,
        reason,
        bool(operation.retryable),
        bool(operation.needs_customer),
        operation.payment_id,
    )


def key_is_alive(operation: Operation, present: datetime) -> bool:
    sent = operation.first_sent_at
    return sent is not None and present - sent < key_lives(operation.provider)
