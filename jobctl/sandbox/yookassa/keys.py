"""Idempotence keys, and what was done under each (YooKassa: Interaction format, Idempotency).

A key is honoured for 24 hours from its first use; afterwards the same request is a new one. What is kept is
not an answer but the object: an answer has it "in its current status" (HTTP response codes), and sending a
request again is a documented way to learn what became of a pending one. No refusal is kept, and no 500: after
one the same request is to be sent again until the answer is another (Recommendations).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Show = Callable[[], dict[str, Any]]
LIFETIME = 86_400


@dataclass
class Use:
    asked: str  # what the first request asked for, to compare others with
    first: float
    under_way: bool = False
    show: Show | None = None  # what was made under it, once that is done

    def end(self) -> None:
        self.under_way = False


class Keys:
    """The keys of one shop."""

    def __init__(self) -> None:
        self._uses: dict[str, Use] = {}

    def find(self, key: str, at: float) -> Use | None:
        use = self._uses.get(key)
        if use and not use.under_way and at - use.first >= LIFETIME:
            self.forget(key)
            return None
        return use

    def take(self, key: str, asked: str, at: float) -> Use:
        use = self._uses.setdefault(key, Use(asked, at))
        use.under_way = True
        return use

    def forget(self, key: str) -> None:
        self._uses.pop(key, None)
