"""The sandbox's time, and what is still to happen in it."""

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime


class Clock:
    """Real time plus an offset, in seconds since 1970."""

    def __init__(self) -> None:
        self._offset = 0.0

    def now(self) -> float:
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        self._offset += seconds

    def set(self, now: float) -> None:
        self._offset = now - time.time()


def instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def moment(seconds: float) -> datetime:
    """Return an instant as exactly as it is written, so that it is found by what it says of itself."""
    at = instant(seconds)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, order=True)
class Appointment:
    at: float
    number: int
    act: Callable[[float], None] = field(compare=False)
    about: dict[str, str | None] | None = field(compare=False)


class Agenda:
    """What happens later. Nobody watches the clock: whoever looks at the state runs what is due first."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._heap: list[Appointment] = []

    def add(
        self, at: float, act: Callable[[float], None], about: dict[str, str | None] | None = None
    ) -> None:
        heapq.heappush(self._heap, Appointment(at, next(self._numbers), act, about))

    def run(self, until: float) -> None:
        """Let happen what is due, in the order of time and as of its own time."""
        while self._heap and self._heap[0].at <= until:
            due = heapq.heappop(self._heap)
            due.act(due.at)

    def pending(self) -> list[dict[str, str | None]]:
        """List what was announced with `about`, soonest first."""
        return [{**each.about, "at": written(instant(each.at))} for each in sorted(self._heap) if each.about]
