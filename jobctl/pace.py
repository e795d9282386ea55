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

    def delay(self) -> float:
        """Return the seconds until the next free slot."""
        return max(0.0, self._free_from - time.monotonic())

    def take(self) -> float:
        """Take the next slot; return the seconds until it."""
        with self._lock:
            now = time.monotonic()
            slot = max(self._free_from, now)
            self._free_from = slot + self._spacing
        return slot - now
