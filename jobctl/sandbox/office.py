"""A provider's back office: the books and the appointments that its accounts share."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from jobctl.sandbox.clock import Agenda
from jobctl.sandbox.ledger import Effect


@dataclass
class Office:
    ledger: list[Effect]
    agenda: Agenda
    forbidden: Collection[str]  # keys that may do nothing

    def record(self, effect: Effect) -> None:
        self.ledger.append(effect)

    def later(self, at: float, act: Callable[[float], None]) -> None:
        """Let something happen at an instant, which it is then told."""
        self.agenda.add(at, act)
