"""Whether a provider may be asked now: the rate limit, the pauses that it asks for, and when it is given up.

All threads that ask one provider share this: what one of them is told holds for all.
"""

import threading
import time
from datetime import timedelta
from enum import Enum, auto
from http import HTTPStatus

from jobctl.job import Means
from jobctl.pace import Pace
from jobctl.parsing import Rate

# Repeats begin within this time of the first request; what takes longer is asked about by a later run.
PATIENCE = timedelta(seconds=10)
# Calls in a row, at the least, that close a provider by failing: one that always fails is no outage.
FEWEST = 3
LONGEST_PAUSE = timedelta(days=365)  # that is told of


class Turn(Enum):
    """What waiting for a turn came to."""

    NOW = auto()
    STOPPED = auto()  # the run was told to stop
    CLOSED = auto()  # the provider is not asked again in this run


class Gate:
    """The way in to one provider, for one run."""

    def __init__(self, rate: Rate, means: Means) -> None:
        self._pace, self._stop, self._clock = Pace(rate), means.stop, means.clock
        self._most = max(FEWEST, means.concurrency)
        self._lock = threading.Lock()
        self._failing: set[object] = set()  # calls that failed since one last worked
        self._told = False
        self.closed = ""  # why nothing more is asked in this run
        # Before a thread there are a slot for each thread, and a pause: the longest that it may wait.
        self.longest = PATIENCE + timedelta(seconds=rate.spacing * means.concurrency)

    def delay(self) -> float:
        """Return the seconds until the next request could begin."""
        return self._pace.delay()

    def wait(self, until: float) -> Turn:
        """Wait for a turn to make a request; where that comes after `until`, a time.monotonic(), close."""
        while not self.closed:
            slot = self._pace.slot()
            if slot > until:
                self.close("it asks for one pause after another")
            elif self._stop.wait(max(0.0, slot - time.monotonic())):
                return Turn.STOPPED
            elif self._pace.holds(slot) and not self.closed:
                return Turn.NOW
        return Turn.CLOSED

    def heed(self, status: int | None, seconds: float | None) -> None:
        """Let nobody ask for as long as an answer asked for; a pause beyond our patience closes.

        One that comes with anything but a refusal for the moment is about that one request.
        """
        busy = status is not None and (status == HTTPStatus.TOO_MANY_REQUESTS or is_trouble(status))
        if seconds is None or not busy:
            return
        if seconds < PATIENCE.total_seconds():
            self._pace.pause(seconds)
            return
        until = self._clock() + timedelta(seconds=min(seconds, LONGEST_PAUSE.total_seconds()))
        self.close(f"it asks for no request before {until:%Y-%m-%d %H:%M:%S} UTC")

    def count(self, call: object, *, failed: bool) -> None:
        """Note that a request of some call failed, or that one worked."""
        with self._lock:
            if failed:
                self._failing.add(call)
            else:
                self._failing.clear()

    def leave(self) -> None:
        """Let a call that failed go unrepeated; as many as can be under way, and none that worked, close."""
        if len(self._failing) >= self._most:
            self.close(f"{len(self._failing)} calls in a row failed")

    def close(self, why: str) -> None:
        with self._lock:
            self.closed = self.closed or why

    def announced(self) -> str:
        """Return why it is closed, to the first that asks: it need not be said for each call."""
        with self._lock:
            news = "" if self._told else self.closed
            self._told = bool(self.closed)
        return news


def is_trouble(status: int) -> bool:
    """Tell whether an answer is about the provider's own troubles."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR
