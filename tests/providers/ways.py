"""Ways to a server that waits for nothing: what the transport's tests share."""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from jobctl.job import Means
from jobctl.parsing import Rate
from jobctl.providers.transport import Reply, Transport

OFTEN = Rate(1_000_000, 1)
PATH = "/v1/things"
Open = Callable[..., Transport]


class Hasty:
    """A run's stop signal that waits for nothing, and notes for how long it was asked to."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.told = False
        self.then: Callable[[], None] = lambda: None  # what happens meanwhile

    def wait(self, seconds: float) -> bool:
        self.asked.append(seconds)
        self.then()
        return self.told

    @property
    def longest(self) -> float:
        return max(self.asked)


def opening(stop: Hasty) -> Iterator[Open]:
    """Give what opens a way for four threads, all of which are closed in the end."""
    with ExitStack() as closing:

        def opened(
            base: str,
            rate: Rate = OFTEN,
            seconds: float = 5.0,
            *,
            concurrency: int = 4,
            clock: Callable[[], datetime] = lambda: datetime.now(UTC),
            credential: str = "x",
            **more: Any,
        ) -> Transport:
            means = Means(stop, concurrency, io.StringIO(), clock=clock)
            headers = {"Authorization": f"Bearer {credential}"}
            transport = Transport(base, headers, means, rate, timedelta(seconds=seconds), **more)
            closing.callback(transport.close)
            return transport

        yield opened


def unless_ok(reply: Reply) -> bool:
    return reply.status != 200


def never(_: Reply) -> bool:
    return False
