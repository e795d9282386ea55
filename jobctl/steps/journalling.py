"""Requests are written down before they are sent; the idempotency keys are derived here alone."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, func, select, true

from jobctl.db import among, among_named, id_list, id_list_type, insertion, records, records_value
from jobctl.job import Ask, At
from jobctl.journal import NOTHING_THERE, READ, Operation, kept
from jobctl.money import Money
from jobctl.providers.proof import BEGINNING
from jobctl.providers.protocol import KINDS, Kind, Release, UnrepresentableError
from jobctl.providers.switchboard import account, compose
from jobctl.settings import Settings
from jobctl.tables.journal import money_operations
from jobctl.tables.types import inline

LONGEST_KEY = 64
ours = money_operations.c


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
    odd: int | None = None  # the hold or charge in its place that was answered with something else
    taken: int | None = None  # the operation that took money for the subject, where it may be taken but once
    held: Money | None = None  # what the hold was of that it is asked for instead of

    @property
    def kind(self) -> Kind:
        return KINDS[type(self.ask.request)]

    @property
    def key(self) -> str:
        """Derive the idempotency key; of `[0-9A-Za-z._-]`, and at most 64 characters.

        What would be longer is told by its digest, after what every key of an installation begins with.
        """
        ask, subject = self.ask, f"{self.subject}-{self.subject_id}"
        begin = f"{self.installation}.{self.kind}."
        whole = f"{begin}{subject}.{ask.cycle}.{self.attempt}"
        if len(whole) <= LONGEST_KEY:
            return whole
        return (begin + hashlib.sha256(whole.encode()).hexdigest())[:LONGEST_KEY]


def numbered(connection: Connection, entries: Sequence[Entry]) -> list[Entry]:
    """Give entries, all of one subject's kind, the numbers of their attempts."""
    if not entries:
        return []
    dialect = connection.dialect.name
    ids = id_list([each.subject_id for each in entries], dialect)
    made = connection.execute(counting(dialect), {"the_ids": ids, "the_subject": entries[0].subject})
    rows = made.all()
    before = {(row[0], row[1], row[2]): (row[3], bool(row[4])) for row in rows}
    odd = {(row[0], row[2]): row[5] for row in rows if row[5] is not None}
    found = [before.get((each.subject_id, each.kind, each.ask.cycle), (0, False)) for each in entries]
    taken, held = known_of_money(connection, [each for each in entries if each.ask.once])
    return [
        replace(
            each,
            attempt=attempts + 1,
            succeeded=succeeded,
            odd=odd.get((each.subject_id, each.ask.cycle)),
            taken=taken.get(each.subject_id),
            held=held.get((each.subject_id, each.ask.instead_of)),
        )
        for each, (attempts, succeeded) in zip(entries, found, strict=True)
    ]


def known_of_money(
    connection: Connection, entries: Sequence[Entry]
) -> tuple[dict[int, int], dict[tuple[int, str | None], Money]]:
    """Return, by subject, the operation that took money which was not given back; and what holds were of."""
    if not entries:
        return {}, {}
    theirs = among(ours.subject_id, [each.subject_id for each in entries], connection.dialect.name)
    of_them = and_(ours.subject == entries[0].subject, theirs)
    taken = select(ours.subject_id, ours.id).where(of_them, kept())
    holds = select(ours.subject_id, ours.payment_id, ours.amount_minor, ours.currency)
    holds = holds.where(of_them, ours.kind == inline("authorize"), ours.status == inline("succeeded"))
    held = {(row[0], row[1]): Money(row[2], row[3]) for row in connection.execute(holds)}
    return {row[0]: row[1] for row in connection.execute(taken)}, held


@cache
def counting(dialect: str) -> Select[Any]:
    ids = bindparam("the_ids", type_=id_list_type(ours.subject_id, dialect))
    theirs = among_named(ours.subject_id, ids, dialect)
    done = case((ours.status == inline("succeeded"), 1), else_=0)
    odd = case((stands_there(), ours.id))
    return (
        select(ours.subject_id, ours.kind, ours.cycle, func.max(ours.attempt), func.max(done), func.max(odd))
        .where(ours.subject == bindparam("the_subject", type_=ours.subject.type), theirs)
        .group_by(ours.subject_id, ours.kind, ours.cycle)
    )


def stands_there() -> ColumnElement[bool]:
    """Hold for a hold or charge that something else was answered to, unless a person found nothing there."""
    nothing = func.coalesce(ours.code, "") == inline(NOTHING_THERE)
    return and_(ours.status == inline("mismatched"), ours.kind.in_(BEGINNING), ~nothing)


def refuse_again(entry: Entry) -> None:
    """Raise UnrepresentableError for what succeeded already: it would be had twice."""
    if entry.succeeded:
        raise UnrepresentableError(
            f"its {entry.kind} for {entry.ask.cycle} has succeeded already: "
            f"jobctl operations list --subject {entry.subject}-{entry.subject_id}"
        )
    if entry.odd is not None and entry.kind in BEGINNING:
        raise UnrepresentableError(
            f"{entry.ask.provider} has something else of operation {entry.odd}, which was for the same: see "
            f"jobctl operations list --subject {entry.subject}-{entry.subject_id}, and put the row right, "
            "or resolve its finding with --nothing-there"
        )
    if entry.taken is not None:
        raise UnrepresentableError(
            f"operation {entry.taken} has taken money for it already, which was not given back: "
            f"jobctl operations list --subject {entry.subject}-{entry.subject_id}"
        )
    if entry.held is not None and entry.held != getattr(entry.ask.request, "amount", None):
        raise UnrepresentableError(
            f"its hold was of {entry.held}, and it is of {getattr(entry.ask.request, 'amount', None)} now: "
            "set its amount back, or cancel it"
        )


def values_of(entry: Entry, at: At, run_id: int) -> dict[str, Any]:
    """Return the row of an operation that is not sent yet; raises UnrepresentableError."""
    refuse_again(entry)
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
        "created_at": at.present,
        "first_sent_at": None,
        "answer_by": entry.ask.not_before,  # nobody takes it up before
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
    """Name the account to ask; raises ScopeDownError, or UnrepresentableError where it is another's.

    What undoes something is written down whatever the settings have: it waits until they name its account.
    """
    if ask.follows is not None and ask.account is not None:
        return ask.account
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
