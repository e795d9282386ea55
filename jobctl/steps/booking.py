"""What the money step writes: requests into the journal, answers into it and into their subjects.

All of it in the caller's transaction. Subjects are locked before their operations, by everybody.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, select
from sqlalchemy.exc import DBAPIError

from jobctl import changes, journal
from jobctl.changes import Author, ChangedMeanwhileError
from jobctl.db import among_named, first_line, id_list, id_list_type
from jobctl.findings import Finding, resolve
from jobctl.job import Ask, At, Due, MoneyStep, NotBegunError, ScopeDownError
from jobctl.journal import Operation
from jobctl.providers.protocol import (
    KINDS,
    NotFound,
    Rejected,
    Unknown,
    UnrepresentableError,
    doubtful,
)
from jobctl.providers.switchboard import Providers, account
from jobctl.steps import absence, journalling
from jobctl.steps.concluding import (
    NOTHING_SENT,
    AnyMoney,
    Conclusion,
    asking,
    conclude,
    fact_alone,
    in_plain_words,
    of_another_cycle,
)
from jobctl.steps.effect import PUT_BACK
from jobctl.steps.journalling import Written
from jobctl.steps.running import Running
from jobctl.steps.selection import After
from jobctl.steps.settling import Noted, looking, write_beside
from jobctl.steps.window import Answered
from jobctl.tables.journal import money_operations

log = logging.getLogger(__name__)
Owners = Mapping[tuple[str, str], AnyMoney]  # by subject and kind


@dataclass(frozen=True)
class Item:
    """An operation in hand."""

    operation: Operation
    step: AnyMoney
    row: Any  # its subject, as it was read when this was taken up; None where that is gone
    look: bool = False  # ask what became of it, instead of sending it
    answer: Any = None  # where nothing is to be asked
    restore: Mapping[str, Any] | None = None  # what the journal had of it; None where it is new

    @property
    def id(self) -> int:
        return self.operation.id

    @property
    def sent_before(self) -> bool:
        return self.restore is not None and self.restore["first_sent_at"] is not None


@dataclass
class Taken:
    """What one turn took up, to be remembered once it is committed."""

    items: list[Item] = field(default_factory=list)
    conclusions: list[Conclusion] = field(default_factory=list)
    recovered: After | None = None
    all_recovered: bool = False
    after: After | None = None
    attempted: int = 0
    exhausted: bool = False
    counts: list[str] = field(default_factory=list)


def owners_of(steps: Iterable[Any]) -> Owners:
    money = [each for each in steps if isinstance(each, MoneyStep)]
    return {(each.subject, kind): each for each in money for kind in each.kinds}


class Books:
    """The journal and the subjects, as one run writes them."""

    providers: Providers

    def __init__(self, running: Running, owners: Callable[[], Owners], closed: set[str]) -> None:
        self.running, self.closed = running, closed
        self.all_owners = cache(owners)
        self.readings: dict[tuple[int, bool], Select[Any]] = {}  # building one takes longer than running it
        self.down: list[ScopeDownError] = []  # found here; the window closes them
        self.at = running.at

    @property
    def author(self) -> Author:
        return Author(self.running.run_id, self.at.present)

    def owner(self, operation: Operation) -> AnyMoney | None:
        """Return the step that settles operations of this kind, whichever job asked for them."""
        return self.all_owners().get((operation.subject, operation.kind))

    def is_open(self, provider: str) -> bool:
        """Tell whether a provider can be asked; one that jobctl doesn't know is refused row by row."""
        with suppress(UnrepresentableError):
            try:
                self.providers.open(provider)
            except ScopeDownError as down:
                self.closed.add(provider)
                self.down.append(down)
        return provider not in self.closed

    def can_ask(self, ask: Ask) -> bool:
        """Tell whether a request can be sent now, to the account that it names."""
        with suppress(UnrepresentableError):  # of a provider that there is not: writing it down says so
            known = self.is_open(ask.provider)
            return known and ask.account in (None, account(self.running.at.settings, ask.provider))
        return False

    # ── requests ─────────────────────────────────────────────────────────────────────────────

    def begin(
        self, connection: Connection, step: AnyMoney, rows: Iterable[Any], taken: Taken
    ) -> list[Operation]:
        """Ask the job about rows, and write its requests down as sent."""
        found = {row.id: row for row in rows}
        asked = {key: self.asked(connection, step, row, taken) for key, row in found.items()}
        requests = {key: ask for key, ask in asked.items() if ask and self.is_open(ask.provider)}
        taken.counts += [PUT_BACK] * sum(
            ask is not None and key not in requests for key, ask in asked.items()
        )
        self.refuse_waiting(connection, step, requests, taken)
        operations = self.journal(connection, step, requests, taken, now=True).operations
        begun = [Noted(found[each.subject_id], looking(connection)) for each in operations]
        for noted, operation in zip(begun, operations, strict=True):
            step.begin(self.at, noted.row, operation, noted)
        self.write_subjects(connection, step, begun)
        return operations

    def asked(self, connection: Connection, step: AnyMoney, row: Any, taken: Taken) -> Ask | None:
        """Ask the job about a row; settle at once what it refuses."""
        asked = asking(step, self.at, row, looking(connection))
        if isinstance(asked, Ask):
            return asked
        self.write_subjects(connection, step, [asked])
        taken.counts.append(asked.outcome)
        return None

    def refuse_waiting(
        self, connection: Connection, step: AnyMoney, requests: dict[int, Ask], taken: Taken
    ) -> None:
        """Leave out, as they are now, subjects about which a person has to decide first."""
        for each in journal.waiting_among(connection, step.subject, list(requests)):
            del requests[each]
            taken.counts.append(PUT_BACK)

    def journal(
        self, connection: Connection, step: AnyMoney, requests: Mapping[int, Ask], taken: Taken, *, now: bool
    ) -> Written:
        """Write requests down, by subject; `now`: as sent by this run, once it is committed."""
        sent = self.as_sent if now else lambda _: {}
        run_id = self.running.run_id
        written = journalling.write_down(connection, self.at, run_id, step.subject, requests, sent=sent)
        for key, reason in written.refused.items():
            if requests[key].follows is None:
                self.complain(connection, step, key, reason)
            else:
                self.find_unwritten(connection, step, key, requests[key], reason)
            taken.counts.append("failed")
        return written

    def find_unwritten(
        self, connection: Connection, step: AnyMoney, subject_id: int, ask: Ask, reason: str
    ) -> None:
        """Leave to a person what must follow and cannot be written down: no later run comes back to it."""
        kind = KINDS[type(ask.request)]
        amount = getattr(ask.request, "amount", None)
        payment = getattr(ask.request, "payment_id", None)
        facts = {"provider": ask.provider, "payment": payment, "operation": ask.follows}
        told = f"the {kind} that must follow operation {ask.follows} of {step.subject} {subject_id}"
        reason = f"{told} cannot be asked for: {reason}"
        found = Finding(f"{kind} not begun", [ask.follows], reason, amount, facts)
        found.write_down(connection, self.running.record, self.at.present)

    def as_sent(self, ask: Ask) -> dict[str, Any]:
        return {"claimed_by": self.running.run_id, **self.sent(ask.provider)}

    def sent(self, provider: str, first: datetime | None = None) -> dict[str, Any]:
        """Return what the journal has of a request that goes out as soon as this is committed."""
        patience = self.providers.open(provider).patience
        return {
            "first_sent_at": first or self.at.present,
            "answer_by": self.at.present + patience + journal.SLACK,
        }

    def complain(self, connection: Connection, step: AnyMoney, row_id: int, reason: str) -> None:
        self.running.record.error(connection, self.at.present, table_of(step).name, row_id, reason)

    # ── answers ──────────────────────────────────────────────────────────────────────────────

    def concluded(
        self, connection: Connection, item: Item, operation: Operation, row: Any, answer: Any
    ) -> Conclusion:
        if isinstance(answer, NotFound):
            answer = absence.of_number(self.at, operation, answer, looked=item.look)
        if isinstance(answer, Rejected) and item.sent_before and item.answer is None:
            answer = doubtful(answer)  # else the journal has it: what is known is not doubted again
        if isinstance(answer, NotBegunError):
            if item.restore is not None:
                return Conclusion(operation, PUT_BACK, dict(item.restore))
            answer = NOTHING_SENT
        subject = None if row is None else Noted(row, looking(connection))
        try:
            made = conclude(self.at, item.step, operation, subject, answer)
        except (DBAPIError, ChangedMeanwhileError):
            raise  # of the transaction, not of this row
        except Exception as error:  # isolation: one bad row never stops the others
            log.debug("conclude.broken", exc_info=True)
            made = conclude(self.at, item.step, operation, None, answer)
            return fact_alone(made, f"{type(error).__name__}: {first_line(error)}")
        sent_again = made.operation.status == "unknown" and not item.look
        if sent_again and isinstance(answer, Unknown) and not answer.closes:
            # The last answer to the request itself tells whether to send it once more, or only to look.
            made.values["code"] = answer.code
        return made

    def settle(
        self, connection: Connection, answered: Sequence[Answered], taken: Taken, *, alone: bool = False
    ) -> None:
        """Record what was answered and let the subjects follow, subjects locked first."""
        if not answered:
            return
        if len({(item.step.subject, item.operation.subject_id) for item, _ in answered}) < len(answered):
            raise ChangedMeanwhileError  # two of one subject, of which the second has to see the first
        rows = self.lock_subjects(connection, answered)
        operations = locked(connection, [item.id for item, _ in answered])
        for item, answer in answered:
            row = rows[item.step.subject, item.operation.subject_id, id(item.step)]
            made = self.concluded(connection, item, operations[item.id], row, answer)
            # Of two successes in one cycle the later one is rare, and refused by the database at first.
            late = alone or not operations[item.id].is_open
            taken.conclusions.append(of_another_cycle(connection, made) if late else made)
        self.write(connection, {item.id: item.step for item, _ in answered}, taken)

    def lock_subjects(self, connection: Connection, answered: Sequence[Answered]) -> Mapping[Any, Any]:
        rows: dict[Any, Any] = {}
        for step in {id(item.step): item.step for item, _ in answered}.values():
            ids = {item.operation.subject_id for item, _ in answered if item.step is step}
            found = {row.id: row for row in self.subjects(connection, step, sorted(ids), lock=True)}
            rows |= {(step.subject, each, id(step)): found.get(each) for each in ids}
        return rows

    def write(self, connection: Connection, steps: Mapping[int, AnyMoney], taken: Taken) -> None:
        """Write conclusions: first the operations, whose places on their subjects are then free.

        With its conclusion, whatever it is, an operation is no run's any more.
        """
        made = taken.conclusions
        facts = {each.operation.id: {"claimed_by": None, **each.values} for each in made}
        changes.update_each(connection, money_operations, facts, None, self.author)
        for step in {id(each): each for each in steps.values()}.values():
            theirs = [each for each in made if steps[each.operation.id] is step]
            self.write_subjects(connection, step, [each.subject for each in theirs if each.subject])
        for each in made:
            step = steps[each.operation.id]
            if each.error:
                self.complain(connection, step, each.operation.subject_id, each.error)
            self.write_finding(connection, each)
            self.follow(connection, step, each, taken)

    def write_finding(self, connection: Connection, made: Conclusion) -> None:
        if made.finding:
            made.finding.write_down(connection, self.running.record, self.at.present)
        for each in made.done:
            resolve(connection, each.key, f"operation {made.operation.id} ended it", self.author)

    def write_subjects(self, connection: Connection, step: AnyMoney, noted: Sequence[Noted]) -> None:
        values = {each.row.id: each.values for each in noted}
        changes.update_each(connection, table_of(step), values, None, self.author)
        write_beside(connection, noted, self.running.record, self.at)
        for each in noted:
            for reason in each.errors:
                self.complain(connection, step, each.row.id, reason)

    def follow(self, connection: Connection, step: AnyMoney, made: Conclusion, taken: Taken) -> None:
        """Journal what follows; what is to be sent now takes the place of the operation it follows."""
        subject_id = made.operation.subject_id
        for ask in made.later:
            self.must_write(connection, step, {subject_id: ask}, taken, now=False)
        for ask in made.asked:
            now = self.can_ask(ask) and not journal.waiting_among(connection, step.subject, [subject_id])
            for operation in self.must_write(connection, step, {subject_id: ask}, taken, now=now):
                restore = {"first_sent_at": None, "answer_by": None}
                owner = self.owner(operation)
                assert owner is not None, "a request that nobody settles"
                taken.items += [Item(operation, owner, None, restore=restore)] if now else []

    def must_write(
        self, connection: Connection, step: AnyMoney, requests: Mapping[int, Ask], taken: Taken, *, now: bool
    ) -> list[Operation]:
        written = self.journal(connection, step, requests, taken, now=now)
        if len(written.operations) + len(written.refused) != len(requests):
            raise ChangedMeanwhileError
        return written.operations

    def keep_fact(
        self, connection: Connection, item: Item, answer: Any, reason: str, taken: Taken, *, plain: bool
    ) -> None:
        """Record what was answered, for a later run to settle; plain: without a word that others wrote."""
        (operation,) = locked(connection, [item.id]).values()
        made = fact_alone(self.concluded(connection, item, operation, None, answer), reason)
        taken.conclusions.append(in_plain_words(made) if plain else made)
        self.write(connection, {item.id: item.step}, taken)

    # ── subjects ─────────────────────────────────────────────────────────────────────────────

    def subjects(
        self, connection: Connection, step: AnyMoney, ids: Sequence[int], *, lock: bool
    ) -> Sequence[Any]:
        """Read the subjects of operations as their step reads its rows, in the order of their keys."""
        dialect = connection.dialect.name
        shape = (id(step), lock)
        if shape not in self.readings:
            self.readings[shape] = reading(step.due(self.running.at), dialect, lock=lock)
        rows = connection.execute(self.readings[shape], {"the_ids": id_list(ids, dialect)})
        return [step.row(*row) for row in rows]


def reading(due: Due, dialect: str, *, lock: bool) -> Select[Any]:
    columns = [each.label(name) for name, each in due.read.items()]
    theirs = among_named(due.key, bindparam("the_ids", type_=id_list_type(due.key, dialect)), dialect)
    query = select(*columns).select_from(due.rows).where(theirs).order_by(due.key)
    return query.with_for_update(of=due.table) if lock else query


@cache
def table_of(step: AnyMoney) -> Table:
    """Return the table of its subjects, which depends on no time and no settings."""
    return step.due(At(datetime(2000, 1, 1, tzinfo=UTC))).table


def locked(connection: Connection, ids: Sequence[int]) -> dict[int, Operation]:
    dialect = connection.dialect.name
    rows = connection.execute(locking(dialect), {"the_ids": id_list(ids, dialect)})
    return {row.id: Operation(*row) for row in rows}


@cache
def locking(dialect: str) -> Select[Any]:
    key = money_operations.c.id
    theirs = among_named(key, bindparam("the_ids", type_=id_list_type(key, dialect)), dialect)
    return select(*journal.READ.values()).where(theirs).order_by(key).with_for_update()
