"""A provider's back office: its books and appointments, and the conditions that it works under."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta

from jobctl.sandbox.checks import require
from jobctl.sandbox.clock import Agenda
from jobctl.sandbox.ledger import Effect
from jobctl.sandbox.refunds import Plan

YEAR = 366 * 86_400


@dataclass(frozen=True)
class Conditions:
    """What may be other than a provider would have it; raises ValueError for what makes no sense."""

    skew: float = 0.0  # seconds by which its clock is ahead of the sandbox's; behind where it is negative
    lag: float = 0.0  # seconds from an object's creation until it is in lists
    most: int | None = None  # entries of a page, however many are asked for; None: the provider's own limit
    unknown: Collection[str] = ()  # customers, payment methods and currencies that are refused
    refund_first: str | None = None  # the status of new refunds; None: the provider's usual way
    refund_then: str | None = None  # what they become; None: what a person says
    refund_after: float = 60.0  # after so many seconds

    def __post_init__(self) -> None:
        require(
            isinstance(self.skew, int | float) and abs(self.skew) <= YEAR, "skew is seconds, up to a year"
        )
        sound = isinstance(self.refund_after, int | float) and self.refund_after >= 0
        require(sound, "refund_after is seconds, at least 0")
        listed = isinstance(self.unknown, list | tuple | set | frozenset)
        sound = listed and all(isinstance(each, str) for each in self.unknown)
        require(sound, "unknown is a list of names")
        require(isinstance(self.lag, int | float) and self.lag >= 0, "lag is seconds, at least 0")
        sound = self.most is None or (type(self.most) is int and self.most > 0)
        require(sound, "most is a whole number of entries, at least 1")


@dataclass
class Office:
    """What a provider's accounts share. Inside a provider each instant is its own clock's."""

    ledger: list[Effect]
    agenda: Agenda
    forbidden: Collection[str]  # keys that may do nothing
    conditions: Conditions = field(default_factory=Conditions)

    def local(self, at: float) -> float:
        """Return what the provider's clock says at an instant of the sandbox's."""
        return at + self.conditions.skew

    def record(self, effect: Effect) -> Effect:
        """Enter an effect into the ledger, which goes by the sandbox's clock; return the entry."""
        entry = replace(effect, at=effect.at - timedelta(seconds=self.conditions.skew))
        self.ledger.append(entry)
        return entry

    def withdraw(self, entry: Effect) -> None:
        """Strike an effect out: the money came back."""
        self.ledger.remove(entry)

    def plan(self, usual: Plan) -> Plan:
        """Return how a refund goes that is made now."""
        now = self.conditions
        return Plan(now.refund_first, now.refund_then, now.refund_after) if now.refund_first else usual

    def later(self, at: float, act: Callable[[float], None]) -> None:
        """Let something happen at an instant, which it is then told."""
        self.agenda.add(at - self.conditions.skew, lambda due: act(self.local(due)))

    def size(self, asked: int) -> int:
        """Return how many entries a page has."""
        return min(asked, self.conditions.most or asked)

    def lists(self, created: float, at: float) -> bool:
        """Whether what was created then is in lists by now."""
        lag = self.conditions.lag
        return not lag or created + lag <= at
