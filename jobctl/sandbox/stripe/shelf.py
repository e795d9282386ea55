"""Objects in the order of their creation, listed newest first (Stripe: Pagination)."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, Protocol, TypeVar

from jobctl.sandbox.office import Office
from jobctl.sandbox.stripe.errors import missing
from jobctl.sandbox.stripe.parameters import Parameters

DEFAULT_LIMIT, MOST = 10, 100


class Stored(Protocol):
    id: str
    created: int


T = TypeVar("T", bound=Stored)


class Shelf(Generic[T]):
    def __init__(self, what: str, office: Office) -> None:
        self.what = what  # as Stripe calls them
        self._office = office
        self._places: list[tuple[int, int, str]] = []
        self._objects: dict[str, tuple[tuple[int, int, str], T]] = {}

    def add(self, made: T) -> None:
        # Numbered, since many are created in the same second.
        place = (made.created, len(self._places), made.id)
        insort(self._places, place)
        self._objects[made.id] = (place, made)

    def get(self, name: str, param: str, *, status: int = 400) -> T:
        if name not in self._objects:
            raise missing(self.what, name, param, status=status)
        return self._objects[name][1]

    def page(self, parameters: Parameters, wanted: Callable[[T], bool], at: float) -> tuple[list[T], bool]:
        """Return the page that the parameters ask for, and whether there is more after it."""
        limit = parameters.integer("limit", high=MOST) if parameters.get("limit") else DEFAULT_LIMIT
        limit, lists = self._office.size(limit), self._office.lists
        there = (each for each in self._between(parameters) if lists(each.created, at) and wanted(each))
        found = list(islice(there, limit + 1))
        return found[:limit], len(found) > limit

    def _between(self, parameters: Parameters) -> Iterator[T]:
        start, end = self._created(parameters)
        after = parameters.get("starting_after")
        if after is not None:
            self.get(after, "starting_after")
            end = min(end, bisect_left(self._places, self._objects[after][0]))
        return (self._objects[self._places[n][2]][1] for n in range(end - 1, start - 1, -1))

    def _created(self, parameters: Parameters) -> tuple[int, int]:
        """Return the places from and up to which objects lie within all bounds on `created`."""
        start, end = 0, len(self._places)
        for name in ("gte", "gt", "lte", "lt"):
            if parameters.get(f"created[{name}]") is not None:
                second = parameters.integer(f"created[{name}]", low=0)
                # What is later than a second, or not later, is parted where the next second begins.
                border = bisect_left(self._places, (second + (name in ("gt", "lte")), 0, ""))
                start, end = (max(start, border), end) if name[0] == "g" else (start, min(end, border))
        return start, end
