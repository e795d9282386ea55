"""The sliding window: calls in pool threads, everything else in the main thread.

Only the main thread touches the database. An item takes one of the `concurrency` places from the
beginning of its call to the commit that settles its answer, so that a crash leaves at most that many
outcomes open.
"""

import logging
import queue
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from jobctl.db import first_line
from jobctl.errors import Exit
from jobctl.job import Call, Lost, NotBegunError, ScopeDownError
from jobctl.locks import POLL
from jobctl.pace import Pace
from jobctl.steps.pool import Pool
from jobctl.steps.running import Running
from jobctl.tables.types import Key

log = logging.getLogger(__name__)
LEFT = "left under way"
Answered = tuple[Any, Any]  # an item and its answer


class Window(ABC):
    """What slides: items with an `id` that are claimed, called about, and settled."""

    def __init__(self, running: Running, concurrency: int, *, ahead: int = 0) -> None:
        """Claim `ahead` items more than there are places: most commits then only settle."""
        self.running, self.concurrency, self.ahead = running, concurrency, ahead
        self.at = running.at  # renewed with every turn: its `present` moves on
        self.closed = running.closed
        self.claimed: dict[Key, Any] = {}
        self.begun: dict[Key, Sequence[str]] = {}  # of those whose calls were begun, what they need
        self.answers: queue.SimpleQueue[tuple[Key, Any]] = queue.SimpleQueue()
        self.withheld: list[Answered] = []  # answered, and not to be settled yet
        self.exhausted = False
        self.paces: dict[str, Pace] = {}

    @abstractmethod
    def settle_and_claim(self, answered: Sequence[Answered], wanted: int) -> Sequence[Any]:
        """Settle what was answered, claim so many more items, and return what is to begin next."""

    @abstractmethod
    def decide(self, item: Any) -> Any:
        """Return the Call to make about an item, or the answer where none is needed."""

    @abstractmethod
    def make(self, outside: Any, payload: Any) -> Any:
        """Make a call, in a pool thread without a database; return the answer."""

    @abstractmethod
    def proves(self, item: Any, answer: Any) -> bool:
        """Tell whether an answer, if a call was made, proves that what it needs is up."""

    @abstractmethod
    def passed_over(self) -> list[Any]:
        """Return which rows are due and were not in hand: others had them locked then, if not now."""

    @abstractmethod
    def others_have(self, ids: Sequence[Any]) -> list[Any]:
        """Return which of these rows are due and locked by somebody else."""

    @abstractmethod
    def begin_again(self, ids: Sequence[Any]) -> None:
        """Take up these rows from now on, and no others."""

    @abstractmethod
    def name_locked(self, ids: Sequence[Any]) -> None:
        """Name rows that stayed locked: each has failed in this run."""

    def serve(self, outside: Any) -> None:
        """Keep calls under way until there is nothing to do, or the run is told to stop."""
        pool = Pool(self.concurrency, lambda payload: self.call(outside, payload), self.answers)
        self.running.stop.wake = lambda: self.answers.put((0, None))
        try:
            self.slide(pool)
        finally:
            # Where the database went away as well: what was sent is said.
            self.running.record.counts.update({LEFT: len(self.begun)} if self.begun else {})
            self.running.stop.wake = lambda: None
            pool.close(idle=not self.claimed)

    def serve_what_others_had(self, outside: Any, patience: timedelta) -> None:
        """Serve what was passed over since somebody had it locked, once it is free; name what stays so.

        What another run was about to take up is its own by then, and no matter of ours.
        """
        ends = time.monotonic() + patience.total_seconds()
        had = self.passed_over() if self.goes_on() else []
        while had and self.goes_on():
            still = self.others_have(had)
            if free := [each for each in had if each not in still]:
                self.begin_again(free)
                Window.serve(self, outside)
            had = still[: self.running.left()]
            if not had or time.monotonic() >= ends:
                break
            self.running.stop.wait(POLL)
        if had and self.goes_on():
            self.name_locked(had)

    def goes_on(self) -> bool:
        """Tell whether rows that were passed over may be taken up still."""
        return not self.running.stopping and bool(self.running.left())

    def slide(self, pool: Pool) -> None:
        answered: list[Answered] = []
        waiting: list[Any] = []  # claimed ahead, or for a slot of their lane
        while True:
            self.heed_the_lock()
            places = self.concurrency - self.in_hand() + len(waiting) + len(answered)
            waiting += self.turn(self.sift(answered), self.wanted(places - len(waiting)))
            answered, waiting = self.begin(waiting, places, pool)
            if not self.in_hand():
                if self.has_all() or self.running.stopping:
                    self.turn(self.let_out(), 0)
                    return
                continue
            answered += self.arrived(0.0 if answered else self.patience(waiting))
            if not answered and self.running.stop.grace_left() == 0.0:
                # What is under way stays claimed, for the next run to settle.
                self.turn([*self.let_out(), *((item, NotBegunError()) for item in waiting)], 0)
                return

    def in_hand(self) -> int:
        """Return how many items have no answer yet, or one that is settled with the next turn."""
        return len(self.claimed) - len(self.withheld)

    def sift(self, answered: Sequence[Answered]) -> Sequence[Answered]:
        """Return which answers are to be settled now; those that are withheld come with a later turn."""
        return answered

    def let_out(self) -> list[Answered]:
        """Return the answers that were withheld, which nothing can change any more."""
        return []

    def has_all(self) -> bool:
        """Tell whether there is nothing left to claim."""
        return self.exhausted or not self.running.left()

    def patience(self, waiting: Sequence[Any]) -> float | None:
        """Return how long to wait for answers: until a slot, or the end of the grace; None: for ever."""
        lanes = map(self.lane_of, waiting) if self.in_hand() - len(waiting) < self.concurrency else ()
        paced = [self.paces[lane].delay() for lane in lanes if lane in self.paces]
        left = self.running.stop.grace_left()
        return min([*paced, *([] if left is None else [left])], default=None)

    def wanted(self, short: int) -> int:
        """Return how many items to claim where `short` places are about to be empty."""
        if short <= 0 or self.exhausted or self.running.stopping:
            return 0
        return short + self.ahead

    def turn(self, answered: Sequence[Answered], wanted: int) -> Sequence[Any]:
        self.at = self.running.moment()
        if not answered and not wanted:
            return []
        for item, answer in answered:
            if isinstance(answer, ScopeDownError):
                self.close_scope(answer)
            elif not isinstance(answer, Lost | NotBegunError) and self.proves(item, answer):
                self.running.up.update(self.begun.get(item.id, ()))
        items = self.settle_and_claim(answered, wanted)
        for item, _ in answered:
            del self.claimed[item.id]
            self.begun.pop(item.id, None)
        self.claimed |= {item.id: item for item in items}
        return items

    def begin(self, waiting: Sequence[Any], places: int, pool: Pool) -> tuple[list[Answered], list[Any]]:
        """Start the calls that have a place and a slot.

        Returns those that need no call, with their answers, and those that go on waiting.
        """
        decided: list[Answered] = []
        still: list[Any] = []
        stale = self.stale(waiting)
        for item in waiting:
            if self.running.stopping or item.id in stale:
                decided.append((item, NotBegunError()))
            elif places <= 0 or self.must_wait(item):
                still.append(item)
            else:
                places -= 1
                decided += self.begin_one(item, pool)
        return decided, still

    def begin_one(self, item: Any, pool: Pool) -> list[Answered]:
        asked = self.decide(item)
        if not isinstance(asked, Call):
            return [(item, asked)]
        if not self.closed.isdisjoint(asked.scopes):
            return [(item, NotBegunError())]
        if (lane := self.lane_of(item)) in self.paces:
            self.paces[lane].take()
        self.begun[item.id] = asked.scopes
        pool.begin(item.id, asked.payload)
        return []

    def must_wait(self, item: Any) -> bool:
        """Tell whether the item's lane has no slot now."""
        lane = self.lane_of(item)
        return lane in self.paces and lane not in self.closed and self.paces[lane].delay() > 0

    def lane_of(self, item: Any) -> str:
        """Return the lane whose pace an item keeps; a window of one lane has no name for it."""
        return ""

    def stale(self, waiting: Sequence[Any]) -> set[Key]:
        """Return which of them have waited, and are no more what they were when they were claimed."""
        return set()

    def call(self, outside: Any, payload: Any) -> Any:
        """Make one call, in a pool thread; whatever happens comes back as an answer."""
        if self.running.stopping or self.running.locks.lost():
            return NotBegunError()
        try:
            return self.make(outside, payload)
        except (ScopeDownError, NotBegunError) as error:
            return error
        except BaseException as error:  # a thread that ended without an answer would be waited for for ever
            log.debug("call.broken", exc_info=True)
            return Lost(f"{type(error).__name__}: {first_line(error)}")

    def arrived(self, patience: float | None) -> list[Answered]:
        """Return the answers that have come; wait so many seconds for a first one. A stop ends the wait."""
        found: list[Answered] = []
        try:
            item_id, answer = self.answers.get(patience != 0, patience)
            while True:
                if item_id in self.claimed:  # else a stop signal woke us
                    found.append((self.claimed[item_id], answer))
                item_id, answer = self.answers.get(block=False)
        except queue.Empty:
            return found

    def heed_the_lock(self) -> None:
        if not self.running.stopping and (lost := self.running.locks.lost()):
            self.running.fail(Exit.UNREACHABLE, f"{lost}; nothing is lost, run it again")
            self.running.stop.now()

    def close_scope(self, down: ScopeDownError) -> None:
        if down.scope not in self.closed:
            log.info("scope.closed", extra={"scope": down.scope, "reason": down.reason})
        self.running.close_scope(down)
