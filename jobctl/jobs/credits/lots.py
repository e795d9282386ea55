"""Lots of paid credits: which have something left, and when they expire."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, func, literal_column

from jobctl.settings import Settings
from jobctl.tables.types import MonthsLater, inline


def has_some_left(lots: FromClause) -> ColumnElement[bool]:
    """Hold for lots of which something is left, in the words of the index that finds them."""
    return (lots.c.credit_type == inline("paid")) & (lots.c.remaining_amount > literal_column("0"))


def without_date(lots: FromClause, settings: Settings) -> ColumnElement[Any]:
    """Return when a lot expires that says nothing of it."""
    return MonthsLater(lots.c.created_at, settings.credit_lifetime.number)


def expiry(lots: FromClause, settings: Settings) -> ColumnElement[Any]:
    """Return when a lot expires."""
    return func.coalesce(lots.c.expires_at, without_date(lots, settings), type_=lots.c.expires_at.type)
