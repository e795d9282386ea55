"""Find out what became of pending payments into escrow, and decline requests that nobody pays.

A day after it was begun a payment is verified at its provider: what succeeded is held in escrow, what failed
ends its request, what is undecided has until REQUEST_PAYMENT_TIMEOUT. A provider that cannot be reached says
nothing about a payment: it stays as it is for the next run, and after PAYMENT_VERIFY_GIVE_UP for a person.
What succeeds after its request was declined is given back.
"""

from sqlalchemy import exists, or_, select

from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.jobs.marketplace import refunding, verifying
from jobctl.providers.switchboard import ESCROW
from jobctl.tables.marketplace import requests, wallet_transactions
from jobctl.tables.types import inline

ours = wallet_transactions.c


def without_reference(at: At) -> Due:
    return Due(
        wallet_transactions,
        {**verifying.pending(at), "it has no reference at any provider": ours.reference.is_(None)},
        since=ours.created_at,
    )


def end(at: At, batch: BatchChanges) -> None:
    batch.update(status="failed", escrow_status="void", failure="timeout", failed_at=at.now)


def unpaid(at: At) -> Due:
    # One without a reference fails in this same run, once it is that old.
    young = ours.created_at > at.now - at.settings.payment_verify_after
    waiting = (ours.status == inline("pending")) & or_(ours.reference.is_not(None), young)
    alive = waiting | ours.status.in_([inline("completed"), inline("unverified")])
    undecided = select(ours.id).where(ours.request_id == requests.c.id, alive)
    return Due(
        requests,
        {
            "it is pending": requests.c.status == inline("pending"),
            "it is not paid": requests.c.paid_at.is_(None),
            "it was created REQUEST_PAYMENT_TIMEOUT ago": requests.c.created_at
            <= at.now - at.settings.request_payment_timeout,
            "no payment of it has come, or may still come, to anything": ~exists(undecided),
        },
        since=requests.c.created_at,
        locks_first=True,
    )


def decline(at: At, batch: BatchChanges) -> None:
    asked = requests.c
    batch.update(status="declined", declined_at=at.now)
    batch.insert(
        wallet_transactions,
        request_id=asked.id,
        user_id=asked.user_id,
        provider=ESCROW[0],
        amount_minor=asked.amount_minor,
        currency=asked.currency,
        status="failed",
        escrow_status="void",
        failure="request_timeout",
        failed_at=at.now,
        created_at=at.now,
    )
    batch.notify(
        "request-declined",
        to=asked.user_id,
        once=[asked.id],
        category="transactional",
        context={"amount": {"minor": asked.amount_minor, "currency": asked.currency}},
    )


JOB = (
    verifying.STEP,
    verifying.AGAIN,
    SetStep(verifying.given_up, verifying.give_up, "unverified"),
    SetStep(without_reference, end, "failed without a reference"),
    SetStep(unpaid, decline, "declined"),
    refunding.LATE,
    refunding.SLOW,
    refunding.REFUNDS,
)
