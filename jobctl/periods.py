"""Periods that are paid for: calendar months and years keep the day that they were first counted from.

Whoever subscribes on 31 January pays until 28 February, and then until 31 March.
"""

from calendar import monthrange
from datetime import MAXYEAR, datetime, timedelta
from typing import Literal, get_args

Unit = Literal["day", "week", "month", "year"]
UNITS: tuple[Unit, ...] = get_args(Unit)
DAYS = {"day": 1, "week": 7}
MONTHS = {"month": 1, "year": 12}


def end_of(start: datetime, unit: Unit, count: int, anchor_day: int) -> datetime:
    """Return the end of the period that begins at `start`, at the same time of day.

    anchor_day: the day of the month, 1 to 31, that months and years end on; where a month has no such day,
    its last one. Raises OverflowError past the year 9999.
    """
    if unit in DAYS:
        return start + timedelta(days=count * DAYS[unit])
    months = start.year * 12 + start.month - 1 + count * MONTHS[unit]
    year, month = months // 12, months % 12 + 1
    if year > MAXYEAR:
        raise OverflowError("a period ends past the year 9999")
    return start.replace(year=year, month=month, day=min(anchor_day, monthrange(year, month)[1]))
