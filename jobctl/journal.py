"""The journal of money operations: what is asked of a provider is written down before it is asked.

The open operation is the claim on its subject, for every job alike.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, tuple_

from jobctl.job import Ask, At, Due, Look
from jobctl.money import Money
from jobctl.providers.protocol import Kind, Refund, Release, Stored
from jobctl.tables.journal import OPEN, is_open, money_operations
from jobctl.tables.types import inline

# How long after a request could have been answered at the latest nobody else asks what became of it.
SLACK = timedelta(seconds=60)
FIRST_INTERVAL, LONGEST_INTERVAL = timedelta(minutes=1), timedelta(hours=1)

ours = money_operations.c


class Operation(NamedTuple):
    """A row of the journal."""

    id: int
    key: str
    kind: Kind
    subject: str
    subject_id: int
    cycle: str
    attempt: int
    provider: str
    account: str
    request: Stored
    amount_minor: int | None
    currency: str | None
    payment_id: str | None
    status: str
    code: str | None
    reason: str | None
    retryable: bool | None
    needs_customer: bool | None
    hold_ends_at: datetime | None
    follows: int | None
    claimed_by: int | None
    first_sent_at: datetime | None
    answer_by: datetime | None
    asked: int
    settled_at: datetime | None

    @property
    def amount(self) -> Money:
        assert self.amount_minor is not None, "a request without an amount"
        assert self.currency is not None, "the same"
        return Money(self.amount_minor, self.currency)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


READ = {name: ours[name] for name in Operation._fields}


def nothing_open(subject: str, subject_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Hold where no operation on the subject is under way or of unknown outcome."""
    theirs = (ours.subject == inline(subject)) & (ours.subject_id == subject_id)
    return ~exists(select(ours.id).where(theirs, is_open))


def not_open(key: ColumnElement[str]) -> ColumnElement[bool]:
    """Hold where the operation of that key, if there is one, is not under way or of unknown outcome."""
    return ~exists(select(ours.id).where(ours.key == key, is_open))


def of_kinds(kinds: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    """Hold for operations of these (subject, kind)."""
    return or_(*((ours.subject == inline(subject)) & (ours.kind == inline(kind)) for subject, kind in kinds))


def unfinished(at: At, kinds: Iterable[tuple[str, str]] = ()) -> Due:
    """Return the operations that somebody has to see to: all, or those of some (subject, kind)."""
    mine = list(kinds)
    return Due(
        money_operations,
        {
            "its outcome is not settled": ours.settled_at.is_(None),
            "no answer to it is to be waited for": or_(ours.answer_by.is_(None), ours.answer_by <= at.now),
            **({"it is of this job": of_kinds(mine)} if mine else {}),
        },
        since=func.coalesce(ours.first_sent_at, ours.created_at),
        read=READ,
    )


def compensation(operation: Operation, payment_id: str) -> Ask | None:
    """Return what undoes a success that nobody wants any more."""
    match operation.kind:
        case "authorize":
            undo: Release | Refund = Release(payment_id)
        case "charge" | "capture":
            undo = Refund(payment_id, operation.amount)
        case _:
            return None
    return Ask(operation.cycle, operation.provider, undo, operation.account, follows=operation.id)


def repeated(operation: Operation) -> Ask | None:
    """Return a release or refund once more."""
    assert operation.payment_id is not None, "a release or refund of nothing"
    match operation.kind:
        case "release":
            undo: Release | Refund = Release(operation.payment_id)
        case "refund":
            undo = Refund(operation.payment_id, operation.amount)
        case _:
            return None
    return Ask(operation.cycle, operation.provider, undo, operation.account, operation.follows)


def next_time(asked: int, present: datetime) -> datetime:
    """Return when to ask again, after so many times, about what nobody could tell; the intervals grow."""
    interval: timedelta = FIRST_INTERVAL * 2 ** min(asked, 10)
    return present + min(interval, LONGEST_INTERVAL)


def succeeded_before(operation: Operation) -> Select[Any]:
    """Select another operation that has had the effect already which this one was for."""
    same = tuple_(ours.subject, ours.subject_id, ours.kind, ours.cycle) == tuple_(
        operation.subject, operation.subject_id, operation.kind, operation.cycle
    )
    return select(ours.id).where(same, ours.id != operation.id, ours.status == inline("succeeded"))


def concluded(at: At, status: str, code: str | None, reason: str | None) -> dict[str, Any]:
    return {
        "status": status,
        "code": code,
        "reason": reason,
        "claimed_by": None,
        "answer_by": None,
        "concluded_at": at.present,
    }


def took_effect(at: At, payment_id: str, when: datetime) -> dict[str, Any]:
    return concluded(at, "succeeded", None, None) | {"payment_id": payment_id, "effective_at": when}


def succeeded_late(
    at: At, operation: Operation, payment_id: str, when: datetime, look: Look
) -> dict[str, Any]:
    """Return what becomes of an operation, which is locked, that was taken for declined or rejected.

    Its own step settles it anew: where its place is taken meanwhile, it is undone.
    """
    values = took_effect(at, payment_id, when) | {"settled_at": None}
    twice = look(succeeded_before(operation)) is not None
    return values | ({"cycle": once_more(operation)} if twice else {})


def once_more(operation: Operation) -> str:
    """Name the cycle of an effect that came a second time in its own."""
    return f"{operation.cycle}-again-{operation.attempt}"
