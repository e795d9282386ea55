"""The money that has moved, effect by effect: what a test compares its database with."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from jobctl.sandbox.clock import written

# What each kind of effect adds to: a total is the sum of its effects, so nothing is ever taken off again.
TOTALS = {
    "hold": "held",
    "capture": "captured",
    "charge": "captured",
    "release": "released",
    "expiry": "released",
    "refund": "refunded",
}


@dataclass(frozen=True)
class Effect:
    provider: str
    kind: str
    intent: str
    amount: int  # in the provider's smallest unit
    currency: str  # as the provider writes it
    metadata: Mapping[str, str]  # of the refund for a refund, else of the intent
    key: str | None  # of the request that had it; an expiry has none
    at: datetime

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "at": written(self.at)}


def totals(effects: Iterable[Effect]) -> dict[str, dict[str, int]]:
    """Sum up by currency what was ever held, captured, released and refunded."""
    sums: dict[str, dict[str, int]] = {}
    for each in effects:
        ours = sums.setdefault(each.currency, dict.fromkeys(TOTALS.values(), 0))
        ours[TOTALS[each.kind]] += each.amount
    return sums
