"""The journal of money operations: what is asked of a provider is written down before it is asked.

The open operation is the claim on its subject, for every job alike.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select, tuple_

from jobctl.db import among
from jobctl.job import Ask, At, Due, Look
from jobctl.money import Money
from jobctl.providers.protocol import Kind, Refund, Release, Stored
from jobctl.tables.findings import findings, waiting
from jobctl.tables.journal import OPEN, is_open, money_operations
from jobctl.tables.journal import unfinished as to_be_seen_to
from jobctl.tables.types import inline

# How long after a request could have been answered at the latest nobody else asks what became of it.
SLACK = timedelta(seconds=60)
FIRST_INTERVAL, LONGEST_INTERVAL = timedelta(minutes=1), timedelta(hours=1)
# A release or refund that was refused is repeated after growing intervals, up to the attempt PATIENT, some 16
# hours later; from then on daily, and a person is told.
PATIENT, LONGEST_PATIENCE, A_DAY = 12, timedelta(hours=4), timedelta(days=1)
UNDOING = ("release", "refund")
NOTHING_THERE = "nothing_there"  # the code of a mismatch that a person found the provider to have nothing of
DECLINED = "-declined-"  # in the cycle of what cancels a declined payment

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
    answered_minor: int | None
    answered_currency: str | None
    missed_at: datetime | None
    look_until: datetime | None

    @property
    def undoes(self) -> bool:
        """Whether it undoes another operation, so that it must not get lost."""
        return self.follows is not None and self.kind in UNDOING

    @property
    def seemed_absent(self) -> bool:
        """Whether it was concluded from what lists lacked, and is looked for again."""
        return self.look_until is not None and self.settled_at is not None

    @property
    def ends_a_decline(self) -> bool:
        """Whether it cancels a payment that was declined and stood open at the provider."""
        return self.kind == "release" and DECLINED in self.cycle

    @property
    def amount(self) -> Money:
        assert self.amount_minor is not None, "a request without an amount"
        assert self.currency is not None, "the same"
        return Money(self.amount_minor, self.currency)

    @property
    def answered(self) -> Money | None:
        """What the provider tells instead, of one that is mismatched."""
        if self.answered_minor is None or self.answered_currency is None:
            return None
        return Money(self.answered_minor, self.answered_currency)

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


def nobody_decides(subject: str, subject_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Hold where no finding about the subject waits for a person, which keeps every job from it."""
    theirs = (findings.c.subject == inline(subject)) & (findings.c.subject_id == subject_id)
    return ~exists(select(findings.c.id).where(theirs, waiting))


def undisturbed(subject: str, subject_id: ColumnElement[int]) -> dict[str, ColumnElement[bool]]:
    """Return the conditions under which a job may ask for something about a subject."""
    return {
        "no money operation on it is open": nothing_open(subject, subject_id),
        "no finding about it waits for a person": nobody_decides(subject, subject_id),
    }


def waiting_among(connection: Connection, subject: str, ids: Sequence[int]) -> Sequence[int]:
    """Return those of these subjects about which a person has to decide first."""
    if not ids:
        return ()
    theirs = among(findings.c.subject_id, ids, connection.dialect.name)
    query = select(findings.c.subject_id).where(waiting, findings.c.subject == inline(subject), theirs)
    return connection.scalars(query.distinct()).all()


def of_kinds(kinds: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    """Hold for operations of these (subject, kind)."""
    return or_(*((ours.subject == inline(subject)) & (ours.kind == inline(kind)) for subject, kind in kinds))


def unfinished(at: At, kinds: Iterable[tuple[str, str]] = ()) -> Due:
    """Return the operations that somebody has to see to: all, or those of some (subject, kind)."""
    mine = list(kinds)
    return Due(
        money_operations,
        {
            "its outcome is not settled, or it seemed absent and may still turn up": to_be_seen_to,
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


def repeated(at: At, operation: Operation) -> Ask:
    """Return a release or refund once more, for later: the intervals grow."""
    assert operation.payment_id is not None, "a release or refund of nothing"
    undo: Release | Refund = Release(operation.payment_id)
    if operation.kind == "refund":
        undo = Refund(operation.payment_id, operation.amount)
    later = at.present + patience(operation.attempt)
    return Ask(operation.cycle, operation.provider, undo, operation.account, operation.follows, later)


def patience(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts at a release or refund that were refused."""
    if attempts >= PATIENT:
        return A_DAY
    growing: timedelta = FIRST_INTERVAL * 2 ** (attempts - 1)
    return min(growing, LONGEST_PATIENCE)


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


def kept() -> ColumnElement[bool]:
    """Tell of an operation that took money that it was not given back, nor is about to be.

    The invariants say the same in words of their own: what they shared with this they could not check.
    """
    refunds = money_operations.alias("refunds")
    given_back = exists(
        select(refunds.c.id).where(
            refunds.c.subject == ours.subject,
            refunds.c.subject_id == ours.subject_id,
            refunds.c.kind == inline("refund"),
            refunds.c.follows == ours.id,
            refunds.c.status.not_in([inline("declined"), inline("rejected")]),
        )
    )
    taking = ours.kind.in_([inline("capture"), inline("charge")])
    return and_(taking, ours.status == inline("succeeded"), ~given_back)


def concluded(at: At, status: str, code: str | None, reason: str | None) -> dict[str, Any]:
    return {
        "status": status,
        "code": code,
        "reason": reason,
        "answer_by": None,
        "concluded_at": at.present,
    }


def took_effect(at: At, payment_id: str, when: datetime) -> dict[str, Any]:
    return concluded(at, "succeeded", None, None) | {"payment_id": payment_id, "effective_at": when}


def succeeded_late(
    at: At, operation: Operation, payment_id: str, when: datetime, look: Look
) -> dict[str, Any]:
    """Return what becomes of an operation that was taken for declined or rejected.

    Its own step settles it anew: where its place is taken meanwhile, it is undone.
    """
    values = took_effect(at, payment_id, when) | {"settled_at": None}
    twice = look(succeeded_before(operation)) is not None
    return values | ({"cycle": once_more(operation)} if twice else {})


def once_more(operation: Operation) -> str:
    """Name the cycle of an effect that came a second time in its own."""
    return f"{operation.cycle}-again-{operation.attempt}"
