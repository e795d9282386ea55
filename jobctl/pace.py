"""A rate limit on our side, for a channel or a provider."""

import threading
import time

from jobctl.parsing import Rate


class Pace:
    """Evenly spaced slots, handed out to whoever comes next: a burst of at most one."""

    def __init__(self, rate: Rate) -> None:
        self._spacing = rate.spacing
        self._lock = threading.Lock()
        self._free_from = 0.0  # time.monotonic() of the next free slot
        self._paused_until = 0.0

    def delay(self) -> float:
        """Return the seconds until the next free slot."""
        return max(0.0, self._free_from - time.monotonic())

    def take(self) -> float:
        """Take the next slot; return the seconds until it."""
        return self.slot() - time.monotonic()

    def slot(self) -> float:
        """Take the next slot; return its time.monotonic()."""
        with self._lock:
            slot = max(self._free_from, time.monotonic())
            self._free_from = slot + self._spacing
        return slot

    def pause(self, seconds: float) -> None:
        """Let so many seconds pass before another slot, of those too that were taken already."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)
            self._free_from = max(self._free_from, self._paused_until)

    def holds(self, slot: float) -> bool:
        """Tell whether a slot that was taken still counts, or falls into a pause."""
        return slot >= self._paused_until
