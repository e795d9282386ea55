"""The effect step: claim rows of our own, call about each, settle what arrived."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from jobctl import circuits, db
from jobctl.db import among, first_line
from jobctl.errors import JobctlError
from jobctl.job import At, Broken, Call, Lost, Means, NotBegunError, ScopeDownError
from jobctl.locks import Locks
from jobctl.pace import Pace
from jobctl.steps.claiming import AnyEffect, Claims
from jobctl.steps.outcomes import Outcomes
from jobctl.steps.running import Running
from jobctl.steps.window import Answered, Window
from jobctl.tables.frame import runs
from jobctl.tables.types import Key

log = logging.getLogger(__name__)
PUT_BACK = "put back"
FEWEST = 3  # failures in a row that close a scope: one message, or two, may be at fault themselves
FRESH = 1.0  # seconds for which what was read is taken for true
DEAD = "died"  # the outcome of such a run
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
    again = work.recover()
    number = work.number_due()
    if not number:
        work.tell_opening(0)
        return
    counted = Counter(running.record.counts)
    with step.connect(
        running.at, Means(running.stop, work.concurrency, running.out, clock=running.clock)
    ) as outside:
        work.tell_opening(number)
        work.serve_singly(outside, again)
        work.serve(outside)
        work.serve_what_others_had(outside, work.outcomes.patience)
    if step.closing:
        running.tell(step.closing(running.at, number, running.record.counts - counted))
    work.outcomes.free_what_is_left(list(work.claimed))


class EffectRun(Window):
    """One run of one effect step."""

    def __init__(self, step: AnyEffect, running: Running) -> None:
        concurrency = running.options.concurrency or step.concurrency(running.at.settings)
        super().__init__(running, concurrency, ahead=concurrency // 2)
        self.step = step
        self.claims = Claims(step, running, self.closed)
        self.outcomes = Outcomes(step, running, self.claims)
        self.due = self.claims.due
        paces = step.pace(running.at.settings)
        self.paces = {lane: Pace(rate) for lane, rate in paces.items() if rate}
        self.read_at: dict[Key, float] = {}  # when those that wait were read, by time.monotonic()
        self.at_once: Counter[str] = Counter()  # the most calls that were under way, of each scope
        self.down: dict[str, ScopeDownError] = {}  # the scopes that were found so
        self.held: dict[str, ScopeDownError] = {}  # those that are not to be asked yet, as they said before

    def recover(self) -> list[Key]:
        """Settle as lost what dead runs had claimed, and return it; look-ups only have to be made again."""
        with self.running.transaction() as connection:
            dead = dead_claims(self.step, self.running, connection)
            lost = [] if self.step.looks_up else lost_claims(self.due.table, dead, connection)
        if self.step.looks_up:
            self.outcomes.free({row.id: row.claimed_by for row in dead})
        self.outcomes.settle(lost)
        return [row.id for row, _ in lost]

    def serve_singly(self, outside: Any, ids: Sequence[Key]) -> None:
        """Serve first, one by one, what dead runs had in hand, so that one that ends a run is alone then."""
        for each in ids:
            if self.goes_on():
                self.begin_again([each])
                self.serve(outside)
        self.begin_again(None)

    def number_due(self) -> int:
        """Return how many rows are due, or with no opening to tell it in, whether any is; open the record."""
        selection = self.claims.selection
        with self.running.transaction() as connection:
            if self.step.opening:
                number = connection.scalar(selection.count(self.running.left())) or 0
            else:
                number = int(connection.scalar(selection.one()) is not None)
            if number:
                self.running.open_record(connection)
                self.held = circuits.still_down(connection, self.running.record.job, self.at.now)
        return number

    def tell_opening(self, number: int) -> None:
        if self.step.opening:
            self.running.tell(self.step.opening(self.at, number))

    # ── calls ────────────────────────────────────────────────────────────────────────────────

    def decide(self, item: Any) -> Any:
        asked = decide(self.step, self.at, item)
        if isinstance(asked, Call):
            self.outcomes.called.add(item.id)
        return circuits.heeding(asked, self.held)

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

    def sift(self, answered: Sequence[Answered]) -> Sequence[Answered]:
        """Withhold failures that may pass, until it is known whether it is the scope that fails.

        It is, where as many of them follow one another as calls were under way at once.
        """
        under_way = Counter(self.scope_of(each) for each in self.begun)
        under_way.subtract(self.scope_of(row.id) for row, _ in self.withheld)
        self.at_once |= under_way
        settled: list[Answered] = []
        for row, answer in answered:
            if isinstance(answer, ScopeDownError):
                self.down.setdefault(answer.scope, answer)
            if row.id not in self.begun or isinstance(answer, NotBegunError | ScopeDownError):
                settled.append((row, answer))
            elif self.step.passing(self.at, row, answer):
                self.withheld.append((row, answer))
                self.running.in_vain.add(self.scope_of(row.id))
                settled += self.closed_by(self.scope_of(row.id), answer.reason)
            else:
                settled += [*self.let_out(self.scope_of(row.id)), (row, answer)]
        return settled

    def scope_of(self, row_id: Key) -> str:
        """Return the narrowest scope of a call."""
        return self.begun[row_id][-1]

    def closed_by(self, scope: str, reason: str) -> list[Answered]:
        """Close the scope where enough has failed in a row, and return what failed so."""
        failed = sum(self.scope_of(row.id) == scope for row, _ in self.withheld)
        if scope not in self.down:
            if failed < max(FEWEST, self.at_once[scope]):
                return []
            self.down[scope] = ScopeDownError(scope, reason)
            self.close_scope(self.down[scope])
        return self.let_out(scope)

    def let_out(self, scope: str | None = None) -> list[Answered]:
        """Return what was withheld, of one scope or all, as failed by what it needs where that is down.

        What may have arrived stays that: it counts as an attempt, so that it is not repeated without end.
        """
        out = [each for each in self.withheld if scope in (None, self.scope_of(each[0].id))]
        self.withheld = [each for each in self.withheld if each not in out]
        return [
            (row, answer if isinstance(answer, Lost) else self.down_for(row) or answer) for row, answer in out
        ]

    def down_for(self, row: Any) -> ScopeDownError | None:
        return next((self.down[each] for each in self.begun[row.id] if each in self.down), None)

    def proves(self, item: Any, answer: Any) -> bool:
        return not self.step.passing(self.at, item, answer)

    # ── turns ────────────────────────────────────────────────────────────────────────────────

    def settle_and_claim(self, answered: Sequence[Answered], wanted: int) -> Sequence[Any]:
        for row, _ in answered:
            del self.read_at[row.id]
        returned = [row.id for row, answer in answered if isinstance(answer, NotBegunError)]
        settled = [(row, answer) for row, answer in answered if row.id not in returned]
        self.outcomes.at = self.at
        found = self.commit(settled, returned, min(wanted, self.running.left()))
        self.outcomes.called -= {row.id for row, _ in answered}
        return found

    def commit(self, answered: Sequence[Answered], returned: Sequence[Key], room: int) -> Sequence[Any]:
        """Settle and claim in one transaction where all rows agree; else each by itself."""
        try:
            with self.outcomes.transaction() as connection:
                items = self.outcomes.write(connection, answered)
                self.claims.give_back(connection, returned)
                found = self.claims.take(connection, room)
        except JobctlError:
            raise
        except Exception as error:  # noqa: BLE001 (isolation: it is raised again for the row that it is about)
            log.info("turn.apart", extra={"reason": first_line(error)})
            self.outcomes.settle(answered)
            self.outcomes.give_back(returned)
            self.count_returned([each for each in returned if each not in self.outcomes.kept])
            return self.claim_apart(room)
        self.outcomes.count(items)
        self.count_returned(returned)
        self.exhausted = self.exhausted or len(found) < room
        return self.remember(found)

    def count_returned(self, ids: Sequence[Key]) -> None:
        self.running.record.counts.update({PUT_BACK: len(ids)} if ids else {})

    def claim_apart(self, room: int) -> Sequence[Any]:
        """Claim what the database lets us have; a row that it refuses is named, and passed over."""
        found: list[Any] = []
        suspected = 0  # how many rows, from here on, have one among them that was refused
        while len(found) < room and not self.exhausted and not self.running.stopping:
            size = (suspected + 1) // 2 or room - len(found)
            places: Sequence[Any] = []
            try:
                with self.outcomes.transaction() as connection:
                    places = self.claims.next(connection, size)
                    taken = self.claims.take(connection, len(places), [each.id for each in places])
            except JobctlError:
                raise
            except Exception as error:
                if not places:
                    raise
                suspected = len(places) if len(places) > 1 else 0
                if not suspected:
                    self.pass_over(places[0], db.refusal(error))
                    room -= 1
                continue
            self.exhausted = len(places) < size
            suspected = max(0, suspected - len(places))
            found += self.remember(taken)
        return found

    def pass_over(self, place: Any, reason: str) -> None:
        self.claims.count_in([place])
        self.running.attempted += 1
        self.outcomes.refuse(place.id, reason)

    def remember(self, found: Sequence[Any]) -> list[Any]:
        """Note how far the run has come, once the claims are committed."""
        self.claims.count_in(found)
        self.running.attempted += len(found)
        self.read_at |= dict.fromkeys([row.id for row in found], time.monotonic())
        return [self.step.row(*row[:-1]) for row in found]

    # ── what others had ──────────────────────────────────────────────────────────────────────

    def passed_over(self) -> list[Key]:
        if not self.claims.passes_over:
            return []
        with self.running.transaction() as connection:
            return self.claims.passed_over(connection)

    def others_have(self, ids: Sequence[Key]) -> list[Key]:
        with self.running.transaction() as connection:
            return self.claims.others(connection, ids)

    def goes_on(self) -> bool:
        return not (self.closed and self.step.lane is None) and super().goes_on()

    def begin_again(self, ids: Sequence[Key] | None) -> None:
        self.claims.begin_again(ids)
        self.exhausted = False

    def name_locked(self, ids: Sequence[Key]) -> None:
        for each in ids:
            self.running.attempted += 1
            self.outcomes.refuse(each, db.TOO_LONG)


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
    found = select(*columns).select_from(due.rows).where(*theirs)
    return [step.row(*row) for row in connection.execute(found)]


def lost_claims(table: Table, dead: Sequence[Any], connection: Connection) -> list[Answered]:
    """Return rows of dead runs as lost; to be blamed is what a run had alone, or left on purpose.

    What was killed with several in hand was killed by one of them at most.
    """
    owner = table.c.claimed_by
    owners = {row.claimed_by for row in dead}
    several = select(owner).where(owner.in_(owners)).group_by(owner).having(func.count() > 1)
    by_itself = runs.c.ended_at.is_not(None) & (runs.c.outcome != DEAD)
    ended = select(runs.c.id).where(runs.c.id.in_(owners), by_itself)
    spared = set(connection.scalars(several)) - set(connection.scalars(ended)) if owners else set()
    return [(row, Lost(DIED, blamed=row.claimed_by not in spared)) for row in dead]


def dead_owners(table: Table, connection: Connection, locks: Locks) -> set[int]:
    """Return the runs that have rows claimed, and are gone."""
    owner = table.c.claimed_by
    owners = set(connection.scalars(select(owner).where(owner.is_not(None)).distinct()))
    return owners - locks.alive(owners) if owners else set()
