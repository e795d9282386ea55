"""Lots of paid credits: which have something left, and when they expire."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, func, literal_column, or_

from jobctl.settings import Settings
from jobctl.tables.types import MonthsLater, inline


def has_some_left(lots: FromClause) -> ColumnElement[bool]:
    """Hold for lots of which something is left, in the words of the indexes that find them."""
    return (lots.c.credit_type == inline("paid")) & (lots.c.remaining_amount > literal_column("0"))


def without_date(lots: FromClause, settings: Settings) -> ColumnElement[Any]:
    """Return when a lot expires that says nothing of it."""
    return MonthsLater(lots.c.created_at, settings.credit_lifetime.number)


def expiry(lots: FromClause, settings: Settings) -> ColumnElement[Any]:
    """Return when a lot expires."""
    return func.coalesce(lots.c.expires_at, without_date(lots, settings), type_=lots.c.expires_at.type)


def expires_by(lots: FromClause, until: datetime, settings: Settings) -> ColumnElement[bool]:
    """Hold for lots that expire by this instant, in two parts, of which an index finds the first."""
    undated = and_(lots.c.expires_at.is_(None), without_date(lots, settings) <= until)
    return or_(lots.c.expires_at <= until, undated)
