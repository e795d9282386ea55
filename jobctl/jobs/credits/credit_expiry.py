"""Expire credits that were bought too long ago.

What is left of a lot whose time is up is taken from its professional's balance, a transaction for each lot.
Where a balance is smaller than all that expires of it, something is wrong: nothing of it is touched, and a
person has to look.
"""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, cast, exists, func, or_, select
from sqlalchemy import Text as Words

from jobctl.batches import once_key
from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.jobs.credits.lots import expiry, has_some_left, without_date
from jobctl.tables.credits import EXPIRY, credit_balances, credit_transactions, professionals
from jobctl.tables.findings import findings
from jobctl.tables.types import inline

ours, balance = credit_transactions.c, credit_balances.c
with_balance = credit_transactions.join(credit_balances, balance.professional_id == ours.professional_id)
others = credit_transactions.alias("others")
with_their_balance = professionals.outerjoin(credit_balances, balance.professional_id == professionals.c.id)
TOO_SMALL = "balance smaller than its expiring credits"


def expired(lots: FromClause, at: At) -> ColumnElement[bool]:
    undated = and_(lots.c.expires_at.is_(None), without_date(lots, at.settings) <= at.now)
    return and_(has_some_left(lots), or_(lots.c.expires_at <= at.now, undated))


def all_of(professional: ColumnElement[Any], at: At) -> ColumnElement[Any]:
    """Return how much expires of a professional's credits, in all."""
    theirs = others.c.professional_id == professional
    return select(func.sum(others.c.remaining_amount)).where(theirs, expired(others, at)).scalar_subquery()


def dated(at: At) -> Due:
    return due(at, {"its time is up": ours.expires_at <= at.now}, ours.expires_at, ours.expires_at)


def undated(at: At) -> Due:
    when = without_date(credit_transactions, at.settings)
    is_up = {"it has no date": ours.expires_at.is_(None), "it was bought CREDIT_LIFETIME ago": when <= at.now}
    return due(at, is_up, when, ours.created_at)


def due(
    at: At, is_up: dict[str, ColumnElement[bool]], since: ColumnElement[Any], order: ColumnElement[Any]
) -> Due:
    return Due(
        with_balance,
        {
            "it is a lot of paid credits with some left": has_some_left(credit_transactions),
            **is_up,
            "its balance is no smaller than all that expires of it": balance.paid_credits
            >= all_of(ours.professional_id, at),
        },
        since=since,
        since_means="when credits expired",
        order=order,
        locks=[credit_balances],
    )


def expire(at: At, batch: BatchChanges) -> None:
    order = [expiry(credit_transactions, at.settings), ours.id]
    gone = func.sum(ours.remaining_amount).over(partition_by=ours.professional_id, order_by=order)
    batch.update(remaining_amount=0)
    batch.insert(
        credit_transactions,
        order=[ours.professional_id, *order],
        professional_id=ours.professional_id,
        type=EXPIRY,
        credit_type="paid",
        lot_id=ours.id,
        amount=-ours.remaining_amount,
        free_before=balance.free_credits,
        free_after=balance.free_credits,
        paid_before=balance.paid_credits - gone + ours.remaining_amount,
        paid_after=balance.paid_credits - gone,
        created_at=at.now,
    )
    batch.add(credit_balances, balance.id, paid_credits=-ours.remaining_amount)
    batch.count(total_expired=ours.remaining_amount)


def first_lot(at: At) -> ColumnElement[Any]:
    """Return the number that tells this finding from others of the same professional."""
    theirs = others.c.professional_id == professionals.c.id
    return select(func.min(others.c.id)).where(theirs, expired(others, at)).scalar_subquery()


def too_small(at: At) -> Due:
    known = findings.c.once_key == once_key(TOO_SMALL, [professionals.c.id, first_lot(at)])
    any_lot = select(others.c.id).where(others.c.professional_id == professionals.c.id, expired(others, at))
    return Due(
        with_their_balance,
        {
            "credits of the professional expire": exists(any_lot),
            "their balance is smaller than all that expires of it": func.coalesce(balance.paid_credits, 0)
            < all_of(professionals.c.id, at),
            "nobody was told of that yet": ~exists(select(findings.c.id).where(known)),
        },
        since=professionals.c.created_at,
    )


def report(at: At, batch: BatchChanges) -> None:
    has, expires = func.coalesce(balance.paid_credits, 0), all_of(professionals.c.id, at)
    told = ("professional ", professionals.c.id), (" has ", has), (" paid credits, and ", expires)
    said: ColumnElement[str] = inline("")
    for words, number in told:
        said = said + inline(words) + cast(number, Words)
    batch.finding(
        TOO_SMALL,
        once=[professionals.c.id, first_lot(at)],
        reason=said + inline(" of them expire: nothing was touched; find out which is wrong, and correct it"),
    )


JOB = (
    SetStep(dated, expire, "expired_transactions"),
    SetStep(undated, expire, "expired_transactions"),
    SetStep(too_small, report, "left to a person"),
)
