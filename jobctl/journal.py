"""The journal of money operations: what is asked of a provider is written down before it is asked.

The open operation is the claim on its subject, for every job alike. Keys are derived here alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    true,
    tuple_,
)

from jobctl.db import among_named, id_list, id_list_type, insertion, records, records_value
from jobctl.job import Ask, At, Due, Look
from jobctl.money import Money
from jobctl.providers.protocol import KINDS, Kind, Refund, Release, Stored, UnrepresentableError
from jobctl.providers.switchboard import account, compose
from jobctl.settings import Settings
from jobctl.tables.journal import OPEN, is_open, money_operations
from jobctl.tables.types import inline

# How long after a request could have been answered at the latest nobody else asks what became of it.
SLACK = timedelta(seconds=60)
FIRST_INTERVAL, LONGEST_INTERVAL = timedelta(minutes=1), timedelta(hours=1)
LONGEST_KEY = 64
KEY_LIVES = timedelta(hours=23)  # providers forget keys after 24 hours

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


@dataclass(frozen=True)
class Entry:
    """An operation about to be written down."""

    ask: Ask
    subject: str
    subject_id: int
    account: str
    installation: str
    attempt: int = 1
    succeeded: bool = False  # the same succeeded before

    @property
    def kind(self) -> Kind:
        return KINDS[type(self.ask.request)]

    @property
    def key(self) -> str:
        """Derive the idempotency key; of `[0-9A-Za-z._-]`, and at most 64 characters."""
        ask, subject = self.ask, f"{self.subject}-{self.subject_id}"
        return f"{self.installation}.{self.kind}.{subject}.{ask.cycle}.{self.attempt}"


def numbered(connection: Connection, entries: Sequence[Entry]) -> list[Entry]:
    """Give entries, all of one subject's kind, the numbers of their attempts."""
    if not entries:
        return []
    dialect = connection.dialect.name
    ids = id_list([each.subject_id for each in entries], dialect)
    made = connection.execute(counting(dialect), {"the_ids": ids, "the_subject": entries[0].subject})
    before = {(row[0], row[1], row[2]): (row[3], bool(row[4])) for row in made}
    found = [before.get((each.subject_id, each.kind, each.ask.cycle), (0, False)) for each in entries]
    return [
        replace(each, attempt=attempts + 1, succeeded=succeeded)
        for each, (attempts, succeeded) in zip(entries, found, strict=True)
    ]


@cache
def counting(dialect: str) -> Select[Any]:
    theirs = among_named(ours.subject_id, bindparam("the_ids", type_=id_list_type(dialect)), dialect)
    done = case((ours.status == inline("succeeded"), 1), else_=0)
    return (
        select(ours.subject_id, ours.kind, ours.cycle, func.max(ours.attempt), func.max(done))
        .where(ours.subject == bindparam("the_subject", type_=ours.subject.type), theirs)
        .group_by(ours.subject_id, ours.kind, ours.cycle)
    )


def refuse_again(entry: Entry) -> None:
    """Raise UnrepresentableError for what succeeded already: it would be had twice."""
    if entry.succeeded:
        raise UnrepresentableError(
            f"its {entry.kind} for {entry.ask.cycle} has succeeded already: "
            f"jobctl operations list --subject {entry.subject}-{entry.subject_id}"
        )


def values_of(entry: Entry, at: At, run_id: int) -> dict[str, Any]:
    """Return the row of an operation that is not sent yet; raises UnrepresentableError."""
    refuse_again(entry)
    if len(entry.key) > LONGEST_KEY:
        raise UnrepresentableError(f"its key {entry.key} is longer than {LONGEST_KEY} characters")
    asked = entry.ask.request
    amount = None if isinstance(asked, Release) else asked.amount
    return {
        "key": entry.key,
        "kind": entry.kind,
        "subject": entry.subject,
        "subject_id": entry.subject_id,
        "cycle": entry.ask.cycle,
        "attempt": entry.attempt,
        "provider": entry.ask.provider,
        "account": entry.account,
        "request": compose(entry.ask.provider, asked, entry.key),
        "amount_minor": amount and amount.minor,
        "currency": amount and amount.currency,
        "payment_id": getattr(asked, "payment_id", None),
        "status": "started",
        "follows": entry.ask.follows,
        "run_id": run_id,
        "claimed_by": None,
        "created_at": at.present,
        "first_sent_at": None,
        "answer_by": None,
    }


@dataclass
class Written:
    """What was written down, and of which subjects it could not be, with the reason."""

    operations: list[Operation] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


def write_down(
    connection: Connection,
    at: At,
    run_id: int,
    subject: str,
    requests: Mapping[int, Ask],
    *,
    sent: Callable[[Ask], dict[str, Any]] = lambda _: {},
) -> Written:
    """Write requests down, by the number of their subject, where that has no operation open.

    sent: what the journal has of a request that the caller sends once this is committed; another one waits
    for settle-operations. Raises ScopeDownError where the settings have no account at the provider.
    """
    written, rows, entries = Written(), [], []
    for key, ask in requests.items():
        try:
            entries.append(Entry(ask, subject, key, account_of(at.settings, ask), at.installation))
        except UnrepresentableError as error:
            written.refused[key] = str(error)
    for entry in numbered(connection, entries):
        try:
            rows.append(values_of(entry, at, run_id) | sent(entry.ask))
        except UnrepresentableError as error:
            written.refused[entry.subject_id] = str(error)
    written.operations = insert_all(connection, rows)
    return written


def account_of(settings: Settings, ask: Ask) -> str:
    """Name the account to ask; raises ScopeDownError, or UnrepresentableError where it is another's."""
    named = account(settings, ask.provider)
    if ask.account not in (None, named):
        raise UnrepresentableError(
            f"its payment is of the {ask.provider} account {ask.account}, and the settings have {named}"
        )
    return named


def insert_all(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Operation]:
    if not rows:
        return []
    made = connection.execute(inserting(tuple(rows[0]), connection.dialect.name), records_value(rows))
    return sorted((Operation(*row) for row in made), key=lambda each: each.id)


@cache
def inserting(names: Sequence[str], dialect: str) -> Any:
    """Build the statement once, whatever the number of rows."""
    given = records([ours[name] for name in names], dialect)
    rows = select(*given.c).where(true())  # SQLite takes ON CONFLICT for a join's ON without a WHERE
    fresh = insertion(money_operations, dialect).from_select(list(names), rows)
    return fresh.on_conflict_do_nothing().returning(*READ.values())


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
