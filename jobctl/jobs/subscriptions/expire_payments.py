"""Expire payments that were begun long ago and never came to anything.

A payment that its provider knows is expired only once the provider was seen to have it undecided after all
that time. One that succeeds later still is applied by the matching jobs, and reported.
"""

from sqlalchemy import or_

from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.journal import not_open
from jobctl.tables.subscriptions import payments
from jobctl.tables.types import Later, inline

ours = payments.c


def due(at: At) -> Due:
    age = at.settings.payment_pending_max_age
    return Due(
        payments,
        {
            "it is pending": ours.status == inline("pending"),
            "it was created more than PAYMENT_PENDING_MAX_AGE ago": ours.created_at < at.now - age,
            "the provider has no number for it, or had it undecided after that": or_(
                ours.provider_payment_id.is_(None), ours.seen_pending_at >= Later(ours.created_at, age)
            ),
            "no money operation on it is open": not_open(ours.reference),
        },
        since=ours.created_at,
        locks_first=True,
    )


def change(at: At, batch: BatchChanges) -> None:
    batch.update(status="expired", expired_at=at.now)


JOB = SetStep(due, change, "expired")
