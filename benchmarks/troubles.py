"""What goes wrong at a provider while runs are killed: faults, lists that lag, refusals, acts by hand."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.judging import Books, books_of
from benchmarks.killing import Scene, age, finish
from jobctl.errors import Exit
from jobctl.sandbox.answers.wrong import WRONG
from jobctl.sandbox.faults import POINTS

OFTEN = 0.2  # of the requests that a fault strikes
CALM: Mapping[str, Any] = {"lag": 0.0, "refund_first": None, "refund_then": None}
A_DAY = 86_400.0
# What makes a payment tells its number first: nobody could know that it is another one's.
OF_KNOWN = ("capture", "release", "refund", "retrieve")
NARROW = ("other_id", "beside")  # the latter is about lists that nobody reads meanwhile


@dataclass(frozen=True)
class Trouble:
    """A fault that strikes some calls, the provider's conditions meanwhile, what somebody does by hand."""

    fault: str = ""
    call: str = "any"
    conditions: Mapping[str, Any] = field(default_factory=dict)
    act: str = ""


REFUNDS_FAIL: Mapping[str, Mapping[str, Any]] = {
    "stripe": {"refund_first": "pending", "refund_then": "failed", "refund_after": 0.1},
    "yookassa": {"refund_first": "canceled"},
}


def troubles(provider: str) -> Sequence[Trouble]:
    """Return all that a provider has; one after the other, each between two kills."""
    anywhere = (*POINTS, "http_500_lost", "key_known", *(each for each in WRONG if each not in NARROW))
    faults = [Trouble(each) for each in anywhere] + [Trouble("other_id", each) for each in OF_KNOWN]
    acts = [Trouble(act=each) for each in ("cancel", "capture", "capture in part", "refund")]
    return (
        Trouble("http_500_after", conditions={"lag": A_DAY}),
        Trouble("refused", "release"),
        Trouble("refused", "refund"),
        Trouble("refused", "capture"),
        Trouble(conditions=REFUNDS_FAIL[provider]),
        Trouble("http_500_lost", conditions={"lag": A_DAY}),
        *acts,
        *faults,
    )


class Wreck:
    """Lets one trouble after the other happen to a scene."""

    def __init__(self, scene: Scene, provider: str, chance: random.Random) -> None:
        self.scene, self.provider, self.chance = scene, provider, chance
        self.left = list(troubles(provider))
        chance.shuffle(self.left)
        self.refunded: set[str] = set()  # payments, by hand

    def go_on(self, _number: int = 0) -> None:
        """Let the last trouble end, what it left be overdue, and the next one begin."""
        age(self.scene)
        self.calm()
        trouble = self.left.pop(0)
        self.left.append(trouble)
        sandbox = self.scene.sandbox
        sandbox.conditions(self.provider, **{**CALM, **trouble.conditions})
        if trouble.fault:
            seed = self.chance.randrange(1000)
            sandbox.fault(trouble.fault, trouble.call, probability=OFTEN, seed=seed)
        if trouble.act:
            self.act(trouble.act)

    def calm(self) -> None:
        self.scene.sandbox.clear_faults()
        self.scene.sandbox.conditions(self.provider, **CALM)

    def rest(self, *jobs: str) -> None:
        """Let lists lag once more, so that what worked seems absent; then let everything be as it should."""
        self.calm()
        self.scene.sandbox.conditions(self.provider, lag=A_DAY)
        finish(self.scene, *jobs)
        self.calm()
        for _ in range(2):
            self.scene.sandbox.advance(600.0)  # what was late has come, and what was pending is decided
            code = finish(self.scene, *jobs, rounds=2)
        if code not in (Exit.DONE, Exit.ITEMS_FAILED):
            raise SystemExit(f"exit code {code} once everything is at rest")

    def act(self, name: str) -> None:
        """Do it to one payment, if there is one that it can be done to."""
        books = books_of(self.scene)
        found = sorted(books.uncertain() if name == "refund" else books.on_hold)
        if not found:
            return
        payment, dashboard = self.chance.choice(found), self.scene.sandbox.dashboard
        try:
            self.do(name, dashboard, payment, books)
        except ValueError:
            return  # a run came before

    def do(self, name: str, dashboard: Any, payment: str, books: Books) -> None:
        match name:
            case "cancel":
                dashboard.cancel(self.provider, payment)
            case "capture":
                dashboard.capture(self.provider, payment)
            case "capture in part":
                dashboard.capture(self.provider, payment, books.on_hold[payment] // 2)
            case "refund":
                dashboard.refund(self.provider, payment)
                self.refunded.add(payment)
