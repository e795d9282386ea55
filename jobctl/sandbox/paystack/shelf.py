"""Objects in the order of their creation, listed newest first (Paystack: API reference, Pagination)."""

import re
from base64 import b64decode, b64encode
from bisect import insort
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl

from jobctl.sandbox.office import Office
from jobctl.sandbox.paystack.errors import PaystackError

# The reference calls it perPage, the provider's own OpenAPI description per_page.
SIZES = ("perPage", "per_page")
PAGE = {"from", "to", *SIZES, "page", "use_cursor", "next", "previous"}
# What is asked for beyond that is given in more pages; the documents don't tell where the limit is.
MOST = 50
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
        self.size = min(*(self._number(each, MOST) for each in SIZES), MOST)
        self.page = self._number("page", 1)
        self.by_cursor = self.get("use_cursor") == "true" or self.get("next") is not None
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

    def __init__(self, first: int, office: Office) -> None:
        self._first, self._office = first, office
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

    def page(
        self, query: Query, wanted: Callable[[T], bool], at: float
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return a page and what is said of it."""
        lists, size = self._office.lists, self._office.size(query.size)
        found = [
            each
            for each in reversed(self._ordered)
            if query.covers(each.created) and lists(each.created.timestamp(), at) and wanted(each)
        ]
        first = self._after(query.get("next"), found) if query.by_cursor else (query.page - 1) * size
        page = found[first : first + size]
        more = len(found) > first + size
        meta = (
            by_cursor(page, size, more=more) if query.by_cursor else by_number(query.page, size, len(found))
        )
        return [each.shown() for each in page], meta

    def _after(self, cursor: str | None, found: list[T]) -> int:
        """Return the place that a cursor goes on from, whatever has come before it meanwhile."""
        last = self._numbered.get(named_by(cursor)) if cursor else None
        if cursor and not last:
            raise PaystackError("next is no cursor of this list")
        return found.index(last) + 1 if last else 0


def by_number(page: int, size: int, total: int) -> dict[str, Any]:
    skipped, count = (page - 1) * size, -(-total // size)
    return {"total": total, "skipped": skipped, "perPage": size, "page": page, "pageCount": count}


def by_cursor(page: Sequence[Stored], size: int, *, more: bool) -> dict[str, Any]:
    """Say where the next page begins: after the last object of this one (API: Pagination)."""
    cursor = b64encode(f"undefined:{page[-1].id}".encode()).decode() if more else None
    return {"next": cursor, "previous": None, "perPage": size}


def named_by(cursor: str) -> int:
    try:
        return int(b64decode(cursor, validate=True).decode().rpartition(":")[2])
    except ValueError:
        return 0
