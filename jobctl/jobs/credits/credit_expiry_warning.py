"""Tell professionals of credits that are about to expire.

Each is told once of all the credits that expire on the same day (UTC): how many, and when.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select

from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.jobs.credits.lots import expires_by, expiry, has_some_left
from jobctl.tables.credits import credit_transactions, professionals
from jobctl.tables.notifications import users
from jobctl.tables.types import Day

ours = credit_transactions.c
others = credit_transactions.alias("others")
with_professional = credit_transactions.join(professionals, professionals.c.id == ours.professional_id).join(
    users, users.c.id == professionals.c.user_id
)


def due(at: At) -> Due:
    expires, until = expiry(credit_transactions, at.settings), at.now + at.settings.credit_expiry_warning
    return Due(
        with_professional,
        {
            "it is a lot of paid credits with some left": has_some_left(credit_transactions),
            "it expires within CREDIT_EXPIRY_WARNING": expires_by(credit_transactions, until, at.settings),
            "it has not expired": expires > at.now,
            "its professional was not told yet": ours.warned_at.is_(None),
            "the professional is still here": users.c.deleted_at.is_(None),
        },
        since=expires,
        since_means="when credits expire",
        locks=[users],
    )


def change(at: At, batch: BatchChanges) -> None:
    day = Day(expiry(credit_transactions, at.settings))
    ends = func.min(expiry(others, at.settings), type_=ours.expires_at.type)
    batch.update(warned_at=at.now)
    batch.notify(
        "credits-expiring",
        to=professionals.c.user_id,
        once=[day],
        category="credits",
        context={
            "credits": of_that_day(at, func.sum(others.c.remaining_amount)).scalar_subquery(),
            "expires_at": of_that_day(at, ends).scalar_subquery(),
        },
        when=ours.id == first(at),
    )


def of_that_day(at: At, what: ColumnElement[Any]) -> Select[Any]:
    """Select something of all the professional's lots that expire on the same day, and later than now."""
    theirs, ends = others.c.professional_id == ours.professional_id, expiry(others, at.settings)
    same_day = and_(Day(ends) == Day(expiry(credit_transactions, at.settings)), ends > at.now)
    return select(what).where(theirs, has_some_left(others), same_day)


def first(at: At) -> ColumnElement[Any]:
    """Return the one that expires first, since no other one of its day is due before it."""
    numbers = of_that_day(at, others.c.id).order_by(expiry(others, at.settings), others.c.id)
    return numbers.limit(1).scalar_subquery()


JOB = SetStep(due, change, "warned of")
