"""Faults that are switched on: which requests they strike, how often, and at what point."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobctl.sandbox.answers.gateway import AFTER, GATEWAY
from jobctl.sandbox.answers.hostile import HOSTILE
from jobctl.sandbox.answers.pages import PAGES
from jobctl.sandbox.answers.strike import Distort
from jobctl.sandbox.answers.transfer import TRANSFER
from jobctl.sandbox.answers.wrong import WRONG
from jobctl.sandbox.checks import require
from jobctl.sandbox.protocol import CALLS, Answer, Call

ARRIVAL, DURATION, EFFECT, ANSWER = "arrival", "duration", "effect", "answer"
ANY = "any"

# The point at which each strikes. A replayed answer is late, lost or garbled like any other; only what
# strikes at the effect waits for a request that has one.
POINTS = {
    "dropped": ARRIVAL,  # closed before any effect
    "late": ARRIVAL,  # closed at once; the request arrives `seconds` later by the sandbox's clock
    "http_400": ARRIVAL,
    "http_401": ARRIVAL,
    "http_403": ARRIVAL,
    "http_409": ARRIVAL,
    "http_429": ARRIVAL,  # to be tried again after `seconds`
    "delay": DURATION,  # takes `seconds` longer, of real time
    "http_500_before": EFFECT,  # no effect; what the key says from then on is the provider's way
    "http_500_after": EFFECT,  # the effect happens; the same
    "lost_answer": ANSWER,  # the answer is stored under the key, the connection closed without it
    "garbage": ANSWER,  # stored too; 200 with a body that is no JSON is sent
    "empty": ANSWER,  # stored too; 200 with an empty object is sent
}
# Those that change the answer that would have been given, whatever it is; it is stored as it was.
DISTORTIONS: Mapping[str, Distort] = {
    **PAGES,
    **WRONG,
    **HOSTILE,
    **TRANSFER,
    **AFTER,
}
# Those that only some calls, or some providers, have.
SPECIAL = {
    "refused": EFFECT,  # no effect: the provider's 400 for what was asked of an object
    "key_known": ARRIVAL,  # the request's key is known, from then on, to have been used for something else
    "http_500_lost": ANSWER,  # stored as it was; a 500 is sent
}
KINDS = {
    **POINTS,
    **SPECIAL,
    **dict.fromkeys(GATEWAY, ARRIVAL),
    **dict.fromkeys(DISTORTIONS, ANSWER),
}
# Those that strike one call alone, and those that strike every time unless told otherwise.
ONLY = dict.fromkeys((*PAGES, "beside"), "list")
ENDLESS = {"page_repeats"}
SECONDS = {
    "late": 45.0,
    "delay": 1.0,
    "http_429": 1.0,
    "http_429_date": 1.0,
    "http_503": 1.0,
    "http_503_date": 1.0,
    "drip": 0.05,
    "drip_head": 0.05,
}


@dataclass
class Fault:
    """One fault; raises ValueError where what is asked for doesn't exist."""

    kind: str
    call: str = ANY
    times: int | None = None  # how often at most: once, unless it strikes by chance or is ENDLESS
    probability: float | None = None
    seed: int = 0
    contains: str = ""  # only requests whose key, metadata or object contains this
    seconds: float | None = None
    place: str = ""  # of JSON: where a hostile text goes
    chance: random.Random = field(init=False, repr=False)
    kept: dict[str, Answer] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        require(self.kind in KINDS, f"there is no fault {self.kind!r}: {', '.join(KINDS)}")
        require(self.call in (ANY, *CALLS), f"there is no call {self.call!r}: {', '.join((ANY, *CALLS))}")
        require(self.probability is None or 0 <= self.probability <= 1, "a probability is from 0 to 1")
        require(self.times is None or self.times > 0, "times is a whole number of at least 1")
        require(isinstance(self.place, str), "place is the name of a field of JSON")
        require(self.seconds is None or self.seconds >= 0, "seconds is a number of at least 0")
        if self.times is None and self.probability is None and self.kind not in ENDLESS:
            self.times = 1
        if self.seconds is None:
            self.seconds = SECONDS.get(self.kind, 0.0)
        self.chance = random.Random(self.seed)  # noqa: S311 (to repeat a run, not to keep a secret)

    def shown(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("chance", "kept")}

    def strikes(self, call: Call) -> bool:
        if self.call not in (ANY, call.name) or call.name != ONLY.get(self.kind, call.name):
            return False
        if self.contains and not any(self.contains in mark for mark in call.marks):
            return False
        return self.probability is None or self.chance.random() < self.probability


class Faults:
    """The faults that are on, in the order in which they were switched on."""

    def __init__(self) -> None:
        self.on: list[Fault] = []

    def take(self, point: str, call: Call) -> Fault | None:
        """Return the first fault that strikes this call at this point, and count that."""
        for each in self.on:
            if KINDS[each.kind] == point and each.strikes(call):
                self._count(each)
                return each
        return None

    def _count(self, fault: Fault) -> None:
        if fault.times is not None:
            fault.times -= 1
            if not fault.times:
                self.on.remove(fault)
