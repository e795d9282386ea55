"""Objects in the order of their creation, listed newest first (Paystack: API reference, Pagination)."""

import re
from bisect import insort
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl

from jobctl.sandbox.paystack.errors import PaystackError

PAGE = {"from", "to", "perPage", "page"}
USUAL, MOST = 50, 100
NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class Stored(Protocol):
    id: int
    created: datetime

    def shown(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=Stored)


class Query:
    """The parameters of a list; one that there is not is refused, lest a misspelt one be of no effect."""

    def __init__(self, encoded: str, known: Collection[str]) -> None:
        self._values = dict(parse_qsl(encoded, keep_blank_values=True))
        for name in self._values:
            if name not in known and name not in PAGE:
                raise PaystackError(f'"{name}" is not allowed')
        self.size, self.page = self._number("perPage", USUAL), self._number("page", 1)
        if self.size > MOST:
            raise PaystackError(f"perPage is up to {MOST}")
        self._since, self._until = self._at("from"), self._at("to")

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def covers(self, at: datetime) -> bool:
        """Whether an instant lies between the two that are given, which both belong to it."""
        since, until = self._since, self._until
        return (since is None or at >= since) and (until is None or at <= until)

    def _number(self, name: str, otherwise: int) -> int:
        value = self.get(name)
        if value is None:
            return otherwise
        if not NUMBER.fullmatch(value):
            raise PaystackError(f"{name} is a whole number of at least 1")
        return int(value)

    def _at(self, name: str) -> datetime | None:
        """Return an instant; a day alone is its first (API: List Transactions)."""
        value = self.get(name)
        try:
            at = datetime.fromisoformat(value) if value is not None else None
        except ValueError as error:
            raise PaystackError(f"{name} is a time such as 2016-09-24T00:00:05.000Z") from error
        return at.replace(tzinfo=at.tzinfo or UTC) if at else None


class Shelf(Generic[T]):
    """Objects of one kind, numbered from some number on."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._ordered: list[T] = []
        self._numbered: dict[int, T] = {}

    def number(self) -> int:
        return self._first + len(self._ordered)

    def add(self, made: T) -> T:
        # To the right of those of the same instant.
        insort(self._ordered, made, key=lambda each: each.created)
        self._numbered[made.id] = made
        return made

    def get(self, number: int) -> T | None:
        return self._numbered.get(number)

    def page(self, query: Query, wanted: Callable[[T], bool]) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Return a page and what is said of it."""
        found = [each for each in reversed(self._ordered) if query.covers(each.created) and wanted(each)]
        skipped = (query.page - 1) * query.size
        meta = {
            "total": len(found),
            "skipped": skipped,
            "perPage": query.size,
            "page": query.page,
            "pageCount": -(-len(found) // query.size),
        }
        return [each.shown() for each in found[skipped : skipped + query.size]], meta
