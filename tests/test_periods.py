"""Calendar arithmetic of what is paid for, by properties that hold for every date."""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobctl.periods import MONTHS, Unit, end_of

STARTS = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
CALENDAR = st.sampled_from(["month", "year"])
COUNTS = st.integers(1, 60)


@pytest.mark.parametrize(
    ("start", "unit", "count", "anchor", "end"),
    [
        ("2026-01-31", "month", 1, 31, "2026-02-28"),
        ("2026-02-28", "month", 1, 31, "2026-03-31"),
        ("2026-03-31", "month", 1, 31, "2026-04-30"),
        ("2028-01-31", "month", 1, 31, "2028-02-29"),
        ("2026-02-28", "month", 1, 28, "2026-03-28"),
        ("2026-11-30", "month", 3, 30, "2027-02-28"),
        ("2026-12-15", "month", 1, 15, "2027-01-15"),
        ("2028-02-29", "year", 1, 29, "2029-02-28"),
        ("2031-02-28", "year", 1, 29, "2032-02-29"),
        ("2026-02-27", "day", 3, 27, "2026-03-02"),
        ("2026-12-28", "week", 2, 28, "2027-01-11"),
    ],
)
def test_examples(start: str, unit: Unit, count: int, anchor: int, end: str) -> None:
    begins = datetime.fromisoformat(f"{start}T17:45:30.000001+00:00")
    assert end_of(begins, unit, count, anchor) == datetime.fromisoformat(f"{end}T17:45:30.000001+00:00")


def test_ten_years_of_months_keep_the_day_whatever_day_they_began_on() -> None:
    """Every day of a leap year and of the one after it, at noon."""
    for n in range(731):
        began = datetime.combine(date(2028, 1, 1) + timedelta(days=n), time(12), UTC)
        end = began
        for month in range(1, 121):
            end = end_of(end, "month", 1, began.day)
            whole = began.year * 12 + began.month - 1 + month
            assert (end.year, end.month) == (whole // 12, whole % 12 + 1)
            assert end.day == min(began.day, monthrange(end.year, end.month)[1])
            assert end.timetz() == began.timetz()


@settings(deadline=None)
@given(start=STARTS, unit=CALENDAR, count=COUNTS)
def test_so_many_at_once_are_as_many_one_by_one(start: datetime, unit: Unit, count: int) -> None:
    """Whether somebody pays for a year or twelve times for a month, it ends on the same day."""
    one_by_one = start
    for _ in range(count):
        one_by_one = end_of(one_by_one, unit, 1, start.day)
    assert one_by_one == end_of(start, unit, count, start.day)
    assert one_by_one == end_of(start, "month", count * MONTHS[unit], start.day)


@settings(deadline=None)
@given(start=STARTS, unit=st.sampled_from(["day", "week", "month", "year"]), anchor=st.integers(1, 31))
def test_a_period_is_never_empty_and_never_much_too_long(start: datetime, unit: Unit, anchor: int) -> None:
    """Also where the anchor is another day than that of the start, as after a change by hand."""
    shortest, longest = {"day": (1, 1), "week": (7, 7), "month": (1, 61), "year": (335, 396)}[unit]
    assert timedelta(days=shortest) <= end_of(start, unit, 1, anchor) - start <= timedelta(days=longest)


@given(first=STARTS, second=STARTS, unit=CALENDAR, anchor=st.integers(1, 31))
def test_who_begins_in_a_later_month_ends_later(
    first: datetime, second: datetime, unit: Unit, anchor: int
) -> None:
    if (first.year, first.month) < (second.year, second.month):
        assert end_of(first, unit, 1, anchor).date() < end_of(second, unit, 1, anchor).date()


@pytest.mark.parametrize(
    ("unit", "count"), [("month", 1), ("year", 1), ("day", 31), ("week", 10_000_000_000)]
)
def test_past_the_end_of_the_calendar_there_is_nothing(unit: Unit, count: int) -> None:
    with pytest.raises(OverflowError):
        end_of(datetime(9999, 12, 31, tzinfo=UTC), unit, count, 31)
