"""Payments that customers make at a provider itself: whether what a test says of one makes sense."""

from collections.abc import Collection, Mapping
from datetime import datetime

from jobctl.sandbox.checks import require
from jobctl.sandbox.protocol import Paid


def paid_outside(
    amount: int,
    currency: str,
    metadata: Mapping[str, str],
    now: float,
    *,
    at: datetime | None,
    captured_at: datetime | None,
    reference: str | None,
    status: str | None,
) -> Paid:
    """Return the payment, begun now and captured when it was begun unless told otherwise."""
    require(type(amount) is int and amount > 0, "amount is a whole number of the smallest unit, above 0")
    require(isinstance(currency, str), "currency is a code such as RUB")
    sound = isinstance(metadata, Mapping) and all(isinstance(each, str) for each in metadata.values())
    require(sound, "metadata is an object of strings")
    require(
        all(isinstance(each, str | None) for each in (reference, status)),
        "a reference is a string, a status too",
    )
    begun = stamp(at, now)
    captured = stamp(captured_at, begun)
    require(
        begun <= captured <= now, "a payment is captured after it was begun, and nobody pays in the future"
    )
    return Paid(amount, currency, metadata, begun, captured, reference, status)


def check_chosen(paid: Paid, statuses: Collection[str]) -> None:
    """Refuse a reference, for a provider whose payments have none of ours, and a status that there is not."""
    require(paid.reference is None, "there is no reference of ours at this provider")
    known = ", ".join(statuses)
    require(paid.status in (None, *statuses), f"a payment at this provider begins as {known}")


def stamp(at: datetime | None, otherwise: float) -> float:
    """Return an instant in seconds since 1970."""
    require(at is None or at.tzinfo is not None, "an instant has a time zone")
    return at.timestamp() if at else otherwise
