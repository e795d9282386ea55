"""Threads that make calls, and nothing else."""

import queue
import threading
from collections.abc import Callable
from typing import Any

from jobctl.tables.types import Key


class Pool:
    """At most `size` threads, started as calls come.

    They are daemons: a process that was told to stop doesn't wait for a server that never answers.
    """

    def __init__(
        self, size: int, call: Callable[[Any], Any], answers: "queue.SimpleQueue[tuple[Key, Any]]"
    ) -> None:
        self.size, self.call, self.answers = size, call, answers
        self.work: queue.SimpleQueue[tuple[Key, Any] | None] = queue.SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.idle = threading.Semaphore(0)

    def begin(self, row_id: Key, payload: Any) -> None:
        if not self.idle.acquire(blocking=False) and len(self.threads) < self.size:
            thread = threading.Thread(target=self.serve, name=f"call-{len(self.threads)}", daemon=True)
            self.threads.append(thread)
            thread.start()
        self.work.put((row_id, payload))

    def serve(self) -> None:
        while (work := self.work.get()) is not None:
            row_id, payload = work
            answer = self.call(payload)
            self.idle.release()
            self.answers.put((row_id, answer))

    def close(self, *, idle: bool) -> None:
        """Let the threads go; wait for them where none is in a call."""
        for _ in self.threads:
            self.work.put(None)
        for thread in self.threads if idle else ():
            thread.join()
