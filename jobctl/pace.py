"""A rate limit on our side, for a channel or a provider."""

import threading
import time

from jobctl.job import NotBegunError, Stop
from jobctl.parsing import Rate


class Pace:
    """Evenly spaced slots, handed out to whichever thread comes next: a burst of at most one."""

    def __init__(self, rate: Rate, stop: Stop) -> None:
        self._spacing, self._stop = rate.spacing, stop
        self._lock = threading.Lock()
        self._free_from = 0.0  # time.monotonic() of the next free slot

    def wait(self) -> None:
        """Block until this call's slot; raises NotBegunError where the run is told to stop first."""
        with self._lock:
            now = time.monotonic()
            slot = max(self._free_from, now)
            self._free_from = slot + self._spacing
        if self._stop.wait(slot - now):
            raise NotBegunError("stopped while waiting for the rate limit")
