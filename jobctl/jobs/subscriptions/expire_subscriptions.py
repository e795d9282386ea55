"""Expire subscriptions whose grace period has run out.

A renewal that could not be charged keeps its subscriber for the grace period; after that the subscription
ends and the subscriber is told so. While a charge is still to come, or its outcome unknown, nothing ends.
"""

from sqlalchemy import or_

from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.jobs.subscriptions.renewing import SUBSCRIPTION, too_late
from jobctl.journal import undisturbed
from jobctl.tables.subscriptions import plans, subscriptions
from jobctl.tables.types import inline

ours = subscriptions.c


def due(at: At) -> Due:
    # One that nobody charged in time, as after an outage, is not charged any more.
    forgotten = ours.ended_at <= at.now - too_late(at.settings)
    return Due(
        subscriptions.join(plans, plans.c.id == ours.plan_id),
        {
            "it is active": ours.status == inline("active"),
            "it ended SUBSCRIPTION_GRACE ago": ours.ended_at <= at.now - at.settings.subscription_grace,
            "no charge is still to come": or_(
                ours.next_charge_at.is_(None), ours.cancelled_at.is_not(None), forgotten
            ),
            # While the bank still decides, this would take away what is being paid for.
            **undisturbed(SUBSCRIPTION, ours.id),
        },
        since=ours.ended_at,
        locks_first=True,
    )


def change(at: At, batch: BatchChanges) -> None:
    batch.update(status="expired", expired_at=at.now, next_charge_at=None)
    batch.notify(
        "subscription-expired",
        to=ours.user_id,
        once=[ours.id, ours.ended_at],
        category="subscription",
        context={"plan": plans.c.name, "ended_at": ours.ended_at},
    )


JOB = SetStep(due, change, "expired")
