"""Payments that are pending beside a renewal: whoever is about to pay by hand is not charged as well.

One keeps a charge back while it is young, and after that until its provider was asked and had it undecided.
matching-pending-payments asks about those that a charge waits for every few minutes, so that a payment which
was abandoned keeps back nothing by the time that autopayments runs.
"""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, exists, or_, select

from jobctl.job import At
from jobctl.journal import LONGEST_INTERVAL, not_open
from jobctl.tables.subscriptions import payments, subscriptions
from jobctl.tables.types import inline

YOUNG = timedelta(hours=1)  # as long as a customer may take to pay on a provider's page
FRESH, AGAIN = timedelta(minutes=15), timedelta(minutes=5)  # what an answer is good for; when to ask anew

ours, pending = subscriptions.c, payments.alias("pending")


def none_of_it(at: At) -> ColumnElement[bool]:
    """Hold where no payment of the subscription itself is about to be made."""
    return ~exists(select(pending.c.id).where(pending.c.subscription_id == ours.id, under_way(at)))


def none_of_buyer(at: At) -> ColumnElement[bool]:
    """Hold where its user is not about to pay for its plan anew."""
    theirs = (pending.c.user_id == ours.user_id) & (pending.c.plan_id == ours.plan_id)
    return ~exists(select(pending.c.id).where(theirs, under_way(at)))


def under_way(at: At) -> ColumnElement[bool]:
    unasked = or_(pending.c.seen_pending_at.is_(None), pending.c.seen_pending_at <= at.now - FRESH)
    may_come_to_something = or_(
        pending.c.created_at > at.now - YOUNG,
        and_(pending.c.provider_payment_id.is_not(None), unasked),
        ~not_open(pending.c.reference),
    )
    return and_(pending.c.status == inline("pending"), may_come_to_something)


def waited_for(at: At) -> ColumnElement[bool]:
    """Hold for a pending payment that keeps a charge back, if its last answer is not fresh any more.

    What is left to a person, who is told once a day, is not asked about more often for that.
    """
    known = payments.c
    stale = or_(known.seen_pending_at.is_(None), known.seen_pending_at <= at.now - AGAIN)
    to_be_charged = and_(ours.status == inline("active"), ours.next_charge_at <= at.now)
    buyers = (ours.user_id == known.user_id) & (ours.plan_id == known.plan_id)
    return and_(
        stale,
        known.next_look_at <= at.now + LONGEST_INTERVAL,
        or_(
            exists(select(ours.id).where(ours.id == known.subscription_id, to_be_charged)),
            exists(select(ours.id).where(buyers, to_be_charged)),
        ),
    )
