"""The sliding window: calls in pool threads, everything else in the main thread.

Only the main thread touches the database. An item takes one of the `concurrency` places from the
beginning of its call to the commit that settles its answer, so that a crash leaves at most that many
outcomes open.
"""

import logging
import queue
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from jobctl.db import first_line
from jobctl.errors import Exit
from jobctl.job import Call, Lost, NotBegunError, ScopeDownError
from jobctl.steps.pool import Pool
from jobctl.steps.running import Running

log = logging.getLogger(__name__)
Answered = tuple[Any, Any]  # an item and its answer


class Window(ABC):
    """What slides: items with an `id` that are claimed, called about, and settled."""

    def __init__(self, running: Running, concurrency: int, *, ahead: int = 0) -> None:
        """Claim `ahead` items more than there are places: most commits then only settle."""
        self.running, self.concurrency, self.ahead = running, concurrency, ahead
        self.at = running.at  # renewed with every turn: its `present` moves on
        self.closed: set[str] = set()  # scopes that were found down
        self.claimed: dict[int, Any] = {}
        self.answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.exhausted = False

    @abstractmethod
    def settle_and_claim(self, answered: Sequence[Answered], wanted: int) -> Sequence[Any]:
        """Settle what was answered, claim so many more items, and return what is to begin next."""

    @abstractmethod
    def decide(self, item: Any) -> Any:
        """Return the Call to make about an item, or the answer where none is needed."""

    @abstractmethod
    def make(self, outside: Any, payload: Any) -> Any:
        """Make a call, in a pool thread without a database; return the answer."""

    def serve(self, outside: Any) -> None:
        """Keep calls under way until there is nothing to do, or the run is told to stop."""
        pool = Pool(self.concurrency, lambda payload: self.call(outside, payload), self.answers)
        self.running.stop.wake = lambda: self.answers.put((0, None))
        try:
            self.slide(pool)
        finally:
            self.running.stop.wake = lambda: None
            pool.close(idle=not self.claimed)
        if self.claimed:
            self.running.record.counts["left under way"] += len(self.claimed)

    def slide(self, pool: Pool) -> None:
        answered: list[Answered] = []
        waiting: list[Any] = []  # claimed ahead
        while True:
            self.heed_the_lock()
            places = self.concurrency - len(self.claimed) + len(waiting) + len(answered)
            waiting += self.turn(answered, self.wanted(places - len(waiting)))
            answered = self.begin(waiting[:places], pool)
            del waiting[:places]
            if not self.claimed:
                return
            answered += self.arrived(wait=not answered)
            if not answered:
                # The grace is over: what is under way stays claimed, for the next run to settle.
                self.turn([(item, NotBegunError()) for item in waiting], 0)
                return

    def wanted(self, short: int) -> int:
        """Return how many items to claim where `short` places are about to be empty."""
        if short <= 0 or self.exhausted or self.running.stopping:
            return 0
        return short + self.ahead

    def turn(self, answered: Sequence[Answered], wanted: int) -> Sequence[Any]:
        self.at = self.running.moment()
        for _, answer in answered:
            if isinstance(answer, ScopeDownError):
                self.close_scope(answer)
        items = self.settle_and_claim(answered, wanted)
        for item, _ in answered:
            del self.claimed[item.id]
        self.claimed |= {item.id: item for item in items}
        return items

    def begin(self, items: Sequence[Any], pool: Pool) -> list[Answered]:
        """Start the calls for freshly claimed items; return those that need none, with their answers."""
        decided = []
        for item in items:
            asked = self.decide(item)
            if isinstance(asked, Call) and self.closed.isdisjoint(asked.scopes):
                pool.begin(item.id, asked.payload)
            else:
                decided.append((item, NotBegunError() if isinstance(asked, Call) else asked))
        return decided

    def call(self, outside: Any, payload: Any) -> Any:
        """Make one call, in a pool thread; whatever happens comes back as an answer."""
        if self.running.stopping or self.running.locks.lost():
            return NotBegunError()
        try:
            return self.make(outside, payload)
        except (ScopeDownError, NotBegunError) as error:
            return error
        except Exception as error:
            log.debug("call.broken", exc_info=True)
            return Lost(f"{type(error).__name__}: {first_line(error)}")

    def arrived(self, *, wait: bool) -> list[Answered]:
        """Return the answers that have come; where there are none, wait until the stop's grace is over."""
        found: list[Answered] = []
        try:
            while True:
                waiting = wait and not found
                left = self.running.stop.grace_left() if waiting else None
                item_id, answer = self.answers.get(waiting, left)
                if item_id in self.claimed:  # else a stop signal woke us
                    found.append((self.claimed[item_id], answer))
        except queue.Empty:
            return found

    def heed_the_lock(self) -> None:
        if not self.running.stopping and (lost := self.running.locks.lost()):
            self.running.fail(Exit.UNREACHABLE, f"{lost}; nothing is lost, run it again")
            self.running.stop.now()

    def close_scope(self, down: ScopeDownError) -> None:
        if down.scope not in self.closed:
            log.info("scope.closed", extra={"scope": down.scope, "reason": down.reason})
        self.closed.add(down.scope)
        self.running.fail(down.exit_code, f"{down.scope} is closed for this run: {down.reason}")
