"""Idempotency keys: what was first asked for under each, and what was answered."""

from dataclasses import dataclass

from jobctl.sandbox.protocol import Answer


@dataclass
class Use:
    asked: object  # what the first request asked for, to compare others with
    first: float
    answer: Answer | None = None  # None: it is being worked on


class Keys:
    """The keys of one account, each forgotten so many seconds after its first use."""

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._uses: dict[str, Use] = {}

    def find(self, key: str, at: float) -> Use | None:
        use = self._uses.get(key)
        if use and use.answer and at - use.first >= self._lifetime:
            del self._uses[key]
            return None
        return use

    def take(self, key: str, asked: object, at: float) -> Use:
        self._uses[key] = Use(asked, at)
        return self._uses[key]
