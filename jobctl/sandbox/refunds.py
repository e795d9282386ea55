"""How refunds go: given at once, decided later, or come to nothing after all."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from jobctl.sandbox.checks import require

# From each status those that it may become.
Course = Mapping[str, Collection[str]]
NO_REFUNDS: Course = {}
Turned = Callable[[Any, float], None]  # does what its new status brings with it


class Refund(Protocol):
    status: str


@dataclass(frozen=True)
class Plan:
    """How a refund begins, what it becomes, and after how many seconds; None: nothing until a person says."""

    first: str
    then: str | None = None
    after: float = 0.0


def check_plan(course: Course, first: str | None, then: str | None) -> None:
    known = ", ".join(course) or "none at all"
    require(first is None or first in course, f"there is no refund {first!r}: {known}")
    if then is not None:
        require(first is not None, "refund_then needs a refund_first")
        check_turn(course, str(first), then)


def check_turn(course: Course, status: str, then: str | None) -> None:
    allowed = course[status]
    require(then in allowed, f"a refund that is {status} becomes {', '.join(allowed) or 'nothing else'}")


def begin(
    refund: Refund,
    plan: Plan,
    at: float,
    later: Callable[[float, Callable[[float], None]], None],
    turned: Turned,
) -> None:
    """Let a refund begin as it is planned, and become the rest unless a person comes before."""
    refund.status = plan.first
    turned(refund, at)

    def become(due: float) -> None:
        if plan.then and refund.status == plan.first:
            refund.status = plan.then
            turned(refund, due)

    if plan.then:
        later(at + plan.after, become)


def settle(course: Course, refund: Refund, status: str | None, at: float, turned: Turned) -> None:
    """Let a person decide what becomes of a refund; raises ValueError for what it doesn't become."""
    check_turn(course, refund.status, status)
    refund.status = str(status)
    turned(refund, at)
