"""When a subscription is charged for its next period, and until when that makes sense."""

from datetime import UTC, datetime, time, timedelta

from jobctl.settings import Settings
from jobctl.tables.subscriptions import subscriptions

SUBSCRIPTION: str = subscriptions.info["subject"]
DAY = timedelta(days=1)


def too_late(settings: Settings) -> timedelta:
    """Return how long after its end no subscription is charged any more: nobody was served since."""
    return max(settings.subscription_grace, (max(settings.autopayment_retry_days) + 1) * DAY)


def charge_day(ended_at: datetime, number: int) -> datetime:
    """Return the beginning of the day (UTC) so many days after that of the end."""
    return datetime.combine(ended_at.date() + number * DAY, time(), UTC)


def next_charge(settings: Settings, ended_at: datetime, after: datetime) -> datetime | None:
    """Return when to try next, after a decline at the instant `after`; None where no day is left."""
    days = (charge_day(ended_at, number) for number in settings.autopayment_retry_days)
    return next((day for day in days if day.date() > after.date()), None)
