"""A provider's back office: its books and appointments, and the conditions that it works under."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from jobctl.sandbox.checks import require
from jobctl.sandbox.clock import Agenda
from jobctl.sandbox.ledger import Effect


@dataclass(frozen=True)
class Conditions:
    """What may be other than a provider would have it; raises ValueError for what makes no sense."""

    lag: float = 0.0  # seconds from an object's creation until it is in lists
    most: int | None = None  # entries of a page, however many are asked for; None: the provider's own limit

    def __post_init__(self) -> None:
        require(isinstance(self.lag, int | float) and self.lag >= 0, "lag is seconds, at least 0")
        sound = self.most is None or (type(self.most) is int and self.most > 0)
        require(sound, "most is a whole number of entries, at least 1")


@dataclass
class Office:
    ledger: list[Effect]
    agenda: Agenda
    forbidden: Collection[str]  # keys that may do nothing
    conditions: Conditions = field(default_factory=Conditions)

    def record(self, effect: Effect) -> None:
        self.ledger.append(effect)

    def later(self, at: float, act: Callable[[float], None]) -> None:
        """Let something happen at an instant, which it is then told."""
        self.agenda.add(at, act)

    def size(self, asked: int) -> int:
        """Return how many entries a page has."""
        return min(asked, self.conditions.most or asked)

    def lists(self, created: float, at: float) -> bool:
        """Whether what was created then is in lists by now."""
        lag = self.conditions.lag
        return not lag or created + lag <= at
