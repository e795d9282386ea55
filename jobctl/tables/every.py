"""All tables at once, for whoever needs the whole metadata: migrations and tests, no job."""

from jobctl.tables import frame, journal, notifications, sessions
from jobctl.tables.types import metadata

__all__ = ["frame", "journal", "metadata", "notifications", "sessions"]
