"""Expire credits that were bought too long ago.

What is left of a professional's lots whose time is up is taken from the balance, those that expire first
going first, a transaction for each lot. Where a balance is smaller than all that expires of it, something is
wrong: nothing of it is touched, and a person has to look.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, and_, cast, exists, func, select

from jobctl.batches import once_key
from jobctl.job import At, BatchChanges, Beside, Due, SetStep
from jobctl.jobs.credits.lots import expires_by, expiry, has_some_left
from jobctl.tables.credits import EXPIRY, credit_balances, credit_transactions, professionals
from jobctl.tables.findings import findings
from jobctl.tables.types import Total, inline

balance, lots = credit_balances.c, credit_transactions.c
with_balance = professionals.outerjoin(credit_balances, balance.professional_id == professionals.c.id)
TOO_SMALL = "balance smaller than its expiring credits"
SINCE = "when credits expired: what expired before is left as it is"


def expired(at: At) -> ColumnElement[bool]:
    return and_(has_some_left(credit_transactions), expires_by(credit_transactions, at.now, at.settings))


def of_all(what: ColumnElement[Any], *which: ColumnElement[bool]) -> ColumnElement[Any]:
    """Work something out over those of the lots."""
    return select(what).where(*which).correlate_except(credit_transactions).scalar_subquery()


@dataclass(frozen=True)
class Expiring:
    """What expires of a balance in this run: its lots, how many they are, and what is left of them in all."""

    lots: ColumnElement[bool]
    number: ColumnElement[Any]
    total: ColumnElement[Any]


@lru_cache(maxsize=1)
def expiring(at: At) -> Expiring:
    """Return the same expressions to `due` and `expire`, so that they are worked out once for each row."""
    since = [expiry(credit_transactions, at.settings) >= at.since] if at.since else []
    left = func.sum(lots.remaining_amount)  # which PostgreSQL makes a numeric of
    these = and_(lots.professional_id == balance.professional_id, expired(at), *since)
    return Expiring(these, of_all(func.count(), these), of_all(cast(left, BigInteger), these))


def due(at: At) -> Due:
    these = expiring(at)
    everything = of_all(
        Total(lots.remaining_amount), lots.professional_id == balance.professional_id, expired(at)
    )
    return Due(
        credit_balances,
        {
            "credits of its professional have expired": exists(select(lots.id).where(these.lots)),
            "it is no smaller than all of them": balance.paid_credits >= everything,
        },
        since_means=SINCE,
        read={"number": these.number, "total": these.total},
        locks_first=True,
    )


def expire(at: At, batch: BatchChanges) -> None:
    these, order = expiring(at), [expiry(credit_transactions, at.settings), lots.id]
    gone = func.sum(lots.remaining_amount).over(partition_by=lots.professional_id, order_by=order)
    batch.update(paid_credits=balance.paid_credits - these.total)
    batch.insert(
        credit_transactions,
        of=Beside(these.lots, [lots.professional_id, *order]),
        professional_id=lots.professional_id,
        type=EXPIRY,
        credit_type="paid",
        lot_id=lots.id,
        amount=-lots.remaining_amount,
        free_before=balance.free_credits,
        free_after=balance.free_credits,
        paid_before=balance.paid_credits - gone + lots.remaining_amount,
        paid_after=balance.paid_credits - gone,
        created_at=at.now,
    )
    batch.update_beside(credit_transactions, these.lots, remaining_amount=0)
    batch.count(expired_transactions=these.number, total_expired=these.total)


def too_small(at: At) -> Due:
    theirs, first = of_professional(at)
    everything = of_all(Total(lots.remaining_amount), theirs)
    known = findings.c.once_key == once_key(TOO_SMALL, [professionals.c.id, first])
    return Due(
        with_balance,
        {
            "credits of the professional have expired": exists(select(lots.id).where(theirs)),
            "the balance is smaller than all of them": func.coalesce(balance.paid_credits, 0) < everything,
            "nobody was told of that yet": ~exists(select(findings.c.id).where(known)),
        },
        since_means=SINCE,
        locks_then=[credit_balances],
    )


def of_professional(at: At) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    """Return which lots of the professional have expired, and the first of them."""
    theirs = and_(lots.professional_id == professionals.c.id, expired(at))
    return theirs, of_all(func.min(lots.id), theirs)


def report(at: At, batch: BatchChanges) -> None:
    theirs, first = of_professional(at)
    everything = of_all(Total(lots.remaining_amount), theirs)
    has = func.coalesce(balance.paid_credits, 0)
    said: ColumnElement[str] = inline("professional ") + cast(professionals.c.id, Text)
    for words, number in ((" has ", has), (" paid credits, and ", everything)):
        said = said + inline(words) + cast(number, Text)
    batch.finding(
        TOO_SMALL,
        once=[professionals.c.id, first],
        reason=said + inline(" have expired: nothing was touched; find out which is wrong, and correct it"),
    )


JOB = (SetStep(due, expire, "professionals"), SetStep(too_small, report, "left to a person"))
