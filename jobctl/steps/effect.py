"""The effect step: claim rows of our own, call about each, settle what arrived."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, Update, bindparam, select, update
from sqlalchemy.exc import DBAPIError

from jobctl import db
from jobctl.changes import ChangedMeanwhileError
from jobctl.db import among, among_named, first_line, id_list, id_list_type, passing_over
from jobctl.job import At, Broken, Call, EffectStep, Lost, Means, NotBegunError, ScopeDownError
from jobctl.locks import Locks
from jobctl.pace import Pace
from jobctl.steps.running import Running
from jobctl.steps.selection import After, Selection
from jobctl.steps.settling import Noted, forget_known, looking, note, tally, write
from jobctl.steps.window import Answered, Window
from jobctl.tables.types import Key

log = logging.getLogger(__name__)
AnyEffect = EffectStep[Any, Any, Any, Any]
PUT_BACK = "put back"
FRESH = 1.0  # seconds for which what was read is taken for true
DIED = "the run that had it ended before its outcome was known"


def decide(step: AnyEffect, at: At, row: Any) -> Any:
    """Ask the job about a row; what it stumbles over is the row's own failure, never the run's."""
    try:
        return step.ask(at, row)
    except ScopeDownError as down:
        return down
    except Exception as error:
        log.debug("ask.broken", exc_info=True)
        return Broken(f"{type(error).__name__}: {first_line(error)}")


def run(step: AnyEffect, running: Running) -> None:
    """Do one run of the step. Raises UnreachableError when the database goes away."""
    work = EffectRun(step, running)
    work.recover()
    number = work.number_due()
    if not number:
        work.tell_opening(0)
        return
    counted = Counter(running.record.counts)
    with step.connect(
        running.at, Means(running.stop, work.concurrency, running.out, clock=running.clock)
    ) as outside:
        work.tell_opening(number)
        work.serve(outside)
    if step.closing:
        running.tell(step.closing(running.at, number, running.record.counts - counted))
    work.free_what_is_left()


class EffectRun(Window):
    """One run of one effect step."""

    def __init__(self, step: AnyEffect, running: Running) -> None:
        concurrency = running.options.concurrency or step.concurrency(running.at.settings)
        super().__init__(running, concurrency, ahead=concurrency // 2)
        self.step = step
        self.claims_rows = running.options.share or not step.polls
        self.due = step.due(running.at)
        self.table = self.due.table
        self.selection = Selection(self.due, running.options.since, running.options.only)
        paces = step.pace(running.at.settings)
        self.paces = {lane: Pace(rate) for lane, rate in paces.items() if rate}
        self.read_at: dict[Key, float] = {}  # when those that wait were read, by time.monotonic()
        self.called: set[Key] = set()  # those about whom a call was made, until they are settled
        self.after: After | None = None
        self.claims: dict[tuple[bool, int], Select[Any]] = {}  # built once for each shape

    def recover(self) -> None:
        """Settle as lost what dead runs had claimed; look-ups only have to be made again."""
        with self.running.transaction() as connection:
            dead = dead_claims(self.step, self.running, connection)
            if dead and self.step.looks_up:
                theirs = among(self.table.c.id, [row.id for row in dead], connection.dialect.name)
                ended = self.table.c.claimed_by.in_({row.claimed_by for row in dead})
                connection.execute(update(self.table).where(theirs, ended).values(claimed_by=None))
                return
        for row in dead:
            self.commit([(row, Lost(DIED))], [], 0)

    def number_due(self) -> int:
        """Return how many rows are due, or with no opening to tell it in, whether any is; open the record."""
        with self.running.transaction() as connection:
            if self.step.opening:
                number = connection.scalar(self.selection.count(self.running.left())) or 0
            else:
                number = int(connection.scalar(self.selection.one()) is not None)
            if number:
                self.running.open_record(connection)
        return number

    def tell_opening(self, number: int) -> None:
        if self.step.opening:
            self.running.tell(self.step.opening(self.at, number))

    def decide(self, item: Any) -> Any:
        asked = decide(self.step, self.at, item)
        if isinstance(asked, Call):
            self.called.add(item.id)
        return asked

    def lane_of(self, item: Any) -> str:
        return "" if self.step.lane is None else str(getattr(item, self.step.lane.name))

    def stale(self, waiting: Sequence[Any]) -> set[Key]:
        """Look again at those that have waited for long: somebody may have decided about them."""
        now = time.monotonic()
        old = {row.id: row for row in waiting if now - self.read_at[row.id] > FRESH}
        if not old:
            return set()
        self.read_at |= dict.fromkeys(old, now)
        columns = [each.label(name) for name, each in self.due.read.items()]
        with self.running.transaction() as connection:
            theirs = among(self.due.key, list(old), connection.dialect.name)
            found = connection.execute(select(*columns).select_from(self.due.rows).where(theirs)).all()
        return set(old) - {row.id for row in found if same(old[row.id], self.step.row(*row))}

    def make(self, outside: Any, payload: Any) -> Any:
        return self.step.call(outside, payload)

    def settle_and_claim(self, answered: Sequence[Answered], wanted: int) -> Sequence[Any]:
        """Do both in one transaction where all rows agree."""
        for row, _ in answered:
            del self.read_at[row.id]
        returned = [row.id for row, answer in answered if isinstance(answer, NotBegunError)]
        settled = [(row, answer) for row, answer in answered if row.id not in returned]
        found = self.commit(settled, returned, wanted)
        self.called -= {row.id for row, _ in answered}
        return found

    def commit(self, answered: Sequence[Answered], returned: Sequence[Key], room: int) -> Sequence[Any]:
        try:
            with self.running.transaction() as connection:
                self.bound_waiting(connection, db.BRIEFLY)
                items = self.settle(connection, answered)
                self.give_back(connection, returned)
                found = self.claim(connection, room)
        except (DBAPIError, ChangedMeanwhileError):
            if not answered:
                raise
            for row, answer in answered:
                self.settle_alone(row, answer)
            return self.commit([], returned, room)
        self.count(items)
        self.running.record.counts.update({PUT_BACK: len(returned)} if returned else {})
        return self.remember(found, room)

    def bound_waiting(self, connection: Connection, patience: timedelta) -> None:
        """Wait so long for others' rows where an answer can be had again; else it has to be recorded."""
        if self.step.polls:
            db.bound_waiting(connection, patience)

    def settle(self, connection: Connection, answered: Sequence[Answered]) -> list[Noted]:
        """Let the job settle answers, in the transaction that what it wants is written in."""
        items = [note(self.step, self.at, row, answer, looking(connection)) for row, answer in answered]
        for item in items:
            forget_known(item, connection)
        if items:
            self.running.open_record(connection)
            how = {"claimed": self.claims_rows, "free": not self.step.polls}
            write(connection, self.table, items, self.running.record, self.at, **how)
        return items

    def remember(self, found: Sequence[Any], room: int) -> Sequence[Any]:
        """Note how far the run has come, once the claims are committed."""
        self.exhausted = self.exhausted or len(found) < min(room, self.running.left())
        if found:
            self.after = (found[-1].place_in_order, found[-1].id)
        self.running.attempted += len(found)
        self.read_at |= dict.fromkeys([row.id for row in found], time.monotonic())
        return [self.step.row(*row[:-1]) for row in found]

    def count(self, items: Sequence[Noted]) -> None:
        for item in items:
            tally(self.running.record, item)
            for exit_code, complaint in item.complaints:
                self.running.fail(exit_code, complaint)
            log.info("row.settled", extra={"row": item.row.id, "outcome": item.outcome})
        if lines := [line for item in items for line in item.said]:
            self.running.tell("\n".join(lines))

    def settle_alone(self, row: Any, answer: Any) -> None:
        """Settle what a batch could not; what the database refuses of it is the row's own failure."""
        try:
            with self.running.transaction() as connection:
                self.bound_waiting(connection, db.PATIENCE)
                (item,) = self.settle(connection, [(row, answer)])
        except ChangedMeanwhileError:
            log.warning("row.changed_meanwhile", extra={"table": self.table.name, "row": row.id})
            self.let_go(row)
            self.running.record.counts["changed meanwhile"] += 1
        except DBAPIError as error:
            reason = db.refusal(error)
            if not isinstance(answer, Broken):
                return self.settle_alone(row, self.instead(row, reason))
            self.record_error(row, reason)
            self.running.record.counts["failed"] += 1
        else:
            self.count([item])

    def instead(self, row: Any, reason: str) -> Lost | Broken:
        """Return what to settle a row by whose outcome the database refused: a call that was made is lost."""
        if row.id not in self.called:
            return Broken(reason)
        self.called.remove(row.id)
        return Lost(f"the outcome could not be recorded: {reason}")

    def let_go(self, row: Any) -> None:
        """Free the claim, if it is still the one, on a row that somebody else has decided about."""
        if not self.claims_rows:
            return
        theirs, owner = self.table.c.id == row.id, row.claimed_by or self.running.run_id
        with self.running.transaction() as connection:
            freed = update(self.table).where(theirs, self.table.c.claimed_by == owner)
            connection.execute(freed.values(claimed_by=None))

    def record_error(self, row: Any, reason: str) -> None:
        with self.running.transaction() as connection:
            self.running.open_record(connection)
            self.running.record.error(connection, self.at.present, self.table.name, row.id, reason)

    def give_back(self, connection: Connection, ids: Sequence[Key]) -> None:
        """Return rows whose call never began, with their attempt."""
        if not ids or not self.claims_rows:
            return
        values: dict[str, Any] = {"claimed_by": None}
        if "attempts" in self.table.c:
            values["attempts"] = self.table.c.attempts - 1
        theirs = among(self.table.c.id, ids, connection.dialect.name)
        ours = self.table.c.claimed_by == self.running.run_id
        connection.execute(update(self.table).where(theirs, ours).values(values))

    def claim(self, connection: Connection, room: int) -> Sequence[Any]:
        room = min(room, self.running.left())
        if room <= 0:
            return []
        values = {**self.selection.place(self.after, room), "the_owner": self.running.run_id}
        dialect = connection.dialect.name
        found = connection.execute(self.claiming(dialect), values).all()
        if found and self.claims_rows and dialect != "postgresql":
            ids = id_list([row.id for row in found], dialect)
            connection.execute(taking(self.table, dialect), {**values, "the_ids": ids})
        return found

    def claiming(self, dialect: str) -> Select[Any]:
        """Return the SELECT that finds rows; on PostgreSQL it claims them as well."""
        shape = (self.after is None, len(self.closed))
        if shape not in self.claims:
            page = self.selection.page(first=self.after is None)
            if self.closed and self.step.lane is not None:
                page = page.where(self.step.lane.not_in(sorted(self.closed)))
            at_once = self.claims_rows and dialect == "postgresql"
            self.claims[shape] = taken_at_once(page, self.table) if at_once else page
        return self.claims[shape]

    def free_what_is_left(self) -> None:
        """Give up the claims on rows that nobody has settled, but not on calls still under way."""
        if self.running.record.id is None or not self.claims_rows:
            return
        ours = self.table.c.claimed_by == self.running.run_id
        with self.running.transaction() as connection:
            under_way = among(self.table.c.id, list(self.claimed), connection.dialect.name)
            connection.execute(update(self.table).where(ours, ~under_way).values(claimed_by=None))


def same(one: Any, other: Any) -> bool:
    """Tell whether a row is what it was but for our claim."""
    ours = {"claimed_by", "attempts"}
    return all(getattr(one, name) == getattr(other, name) for name in one._fields if name not in ours)


def dead_claims(step: AnyEffect, running: Running, connection: Connection) -> list[Any]:
    """Return the rows that dead runs have claimed, as the job reads them; of --only that one at most."""
    due = step.due(running.at)
    dead = dead_owners(due.table, connection, running.locks)
    if not dead:
        return []
    columns = [each.label(name) for name, each in due.read.items()]
    theirs: list[ColumnElement[bool]] = [due.table.c.claimed_by.in_(dead)]
    if running.options.only is not None:
        theirs.append(due.key == running.options.only)
    found = select(*columns).select_from(due.rows).where(*theirs).order_by(due.key)
    return [step.row(*row) for row in connection.execute(found)]


def dead_owners(table: Table, connection: Connection, locks: Locks) -> set[int]:
    """Return the runs that have rows claimed, and are gone."""
    owner = table.c.claimed_by
    owners = set(connection.scalars(select(owner).where(owner.is_not(None)).distinct()))
    return owners - locks.alive(owners) if owners else set()


def claim_values(table: Table) -> dict[str, Any]:
    owner = {"claimed_by": bindparam("the_owner", type_=table.c.claimed_by.type)}
    return {**owner, "attempts": table.c.attempts + 1} if "attempts" in table.c else owner


@cache
def taking(table: Table, dialect: str) -> Update:
    theirs = among_named(table.c.id, bindparam("the_ids", type_=id_list_type(table.c.id, dialect)), dialect)
    return update(table).where(theirs).values(claim_values(table))


def taken_at_once(page: Select[Any], table: Table) -> Select[Any]:
    """Claim the rows of a page in the statement that finds them: one way to the server and back."""
    found = page.with_for_update(**passing_over(table)).cte("found")
    taken = update(table).where(table.c.id == found.c.id).values(claim_values(table)).cte("taken")
    return select(found).add_cte(taken).order_by(found.c.place_in_order, found.c.id)
