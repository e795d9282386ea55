"""All tables at once, for whoever needs the whole metadata: migrations and tests, no job."""

from jobctl.tables import (
    checkout,
    credits,  # noqa: A004 (the domain's word)
    findings,
    frame,
    journal,
    marketplace,
    notifications,
    sessions,
    subscriptions,
)
from jobctl.tables.types import metadata

__all__ = [
    "checkout",
    "credits",
    "findings",
    "frame",
    "journal",
    "marketplace",
    "metadata",
    "notifications",
    "sessions",
    "subscriptions",
]
