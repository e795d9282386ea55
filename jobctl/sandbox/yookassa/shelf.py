"""Objects in the order of their creation, listed newest first (YooKassa: Working with object lists)."""

import operator
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl
from uuid import uuid4

from jobctl.sandbox.office import Office
from jobctl.sandbox.yookassa.errors import YooKassaError, missing

DEFAULT_LIMIT, MOST = 10, 100
BOUNDS = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}
PAGE = {"limit", "cursor"}
LISTED = timedelta(days=3 * 365)  # older objects are in no list
Place = tuple[datetime, int, str]


class Stored(Protocol):
    id: str
    created: datetime

    def shown(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=Stored)


class Query:
    """The parameters of a list."""

    def __init__(self, encoded: str, known: Collection[str]) -> None:
        self._values = dict(parse_qsl(encoded, keep_blank_values=True))
        for name in self._values:
            if name not in known and name not in PAGE:
                raise YooKassaError("There is no such parameter.", name)
        limit = self._values.get("limit", str(DEFAULT_LIMIT))
        if not (limit.isdecimal() and 1 <= int(limit) <= MOST):
            raise YooKassaError(f"The limit is from 1 to {MOST}.", "limit")
        self.limit, self.cursor = int(limit), self.get("cursor")
        self.filters = {name: value for name, value in self._values.items() if name not in PAGE}

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def bounds(self, name: str) -> Callable[[datetime | None], bool]:
        """Return whether an instant lies within all bounds on it; one that there is not lies within none."""
        given = [(BOUNDS[each], self._at(f"{name}.{each}")) for each in BOUNDS if self.get(f"{name}.{each}")]
        return lambda at: all(at is not None and holds(at, bound) for holds, bound in given)

    def _at(self, name: str) -> datetime:
        try:
            at = datetime.fromisoformat(self._values[name])
        except ValueError:
            at = None
        if at is None or not at.tzinfo:
            raise YooKassaError("This is an instant such as 2026-11-21T00:00:00.000Z.", name)
        return at


def bounded(*names: str) -> set[str]:
    return {f"{name}.{each}" for name in names for each in BOUNDS}


class Shelf(Generic[T]):
    def __init__(self, what: str, office: Office) -> None:
        self._what, self._office = what, office
        self._places: list[Place] = []
        self._objects: dict[str, T] = {}
        self._cursors: dict[str, tuple[Place, dict[str, str]]] = {}

    def add(self, made: T) -> None:
        # Numbered, since several may be created at the same instant.
        insort(self._places, (made.created, len(self._places), made.id))
        self._objects[made.id] = made

    def get(self, name: str) -> T:
        if name not in self._objects:
            raise missing(self._what, name)
        return self._objects[name]

    def page(self, query: Query, wanted: Callable[[T], bool], now: datetime) -> dict[str, Any]:
        """Return a page, with a cursor unless it is the last one."""
        limit = self._office.size(query.limit)
        there = (each for each in self._from(query) if self._lists(each[0], now))
        places = (each for each in there if wanted(self._objects[each[2]]))
        found = list(islice(places, limit + 1))
        page = {"type": "list", "items": [self._objects[name].shown() for _, _, name in found[:limit]]}
        if len(found) > limit:
            page["next_cursor"] = cursor = str(uuid4())
            self._cursors[cursor] = (found[limit - 1], query.filters)
        return page

    def _lists(self, created: datetime, now: datetime) -> bool:
        return created > now - LISTED and self._office.lists(created.timestamp(), now.timestamp())

    def _from(self, query: Query) -> Iterator[Place]:
        """Go back from a cursor, which goes on with the list that it was given for and with no other."""
        end = len(self._places)
        if query.cursor is not None:
            place, filters = self._cursors.get(query.cursor, (None, None))
            if place is None or filters != query.filters:
                raise YooKassaError("This is no cursor of this list.", "cursor")
            end = bisect_left(self._places, place)
        return (self._places[n] for n in range(end - 1, -1, -1))
