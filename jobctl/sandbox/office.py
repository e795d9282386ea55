"""A provider's back office: its books and appointments, and the conditions that it works under."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta

from jobctl.sandbox.checks import require
from jobctl.sandbox.clock import Agenda
from jobctl.sandbox.ledger import Effect

YEAR = 366 * 86_400


@dataclass(frozen=True)
class Conditions:
    """What may be other than a provider would have it; raises ValueError for what makes no sense."""

    skew: float = 0.0  # seconds by which its clock is ahead of the sandbox's; behind where it is negative
    lag: float = 0.0  # seconds from an object's creation until it is in lists
    most: int | None = None  # entries of a page, however many are asked for; None: the provider's own limit

    def __post_init__(self) -> None:
        require(
            isinstance(self.skew, int | float) and abs(self.skew) <= YEAR, "skew is seconds, up to a year"
        )
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

    def record(self, effect: Effect) -> None:
        """Enter an effect into the ledger, which goes by the sandbox's clock."""
        behind = timedelta(seconds=self.conditions.skew)
        self.ledger.append(replace(effect, at=effect.at - behind))

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
