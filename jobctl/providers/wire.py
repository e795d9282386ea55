"""What adapters write and read alike: names in paths, instants, words, keys."""

from datetime import UTC, datetime
from urllib.parse import quote

from jobctl.providers.protocol import UnrepresentableError

LENGTH = 200
# Of the instants that are believed to be some: a database may take no others.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2106, 1, 1, tzinfo=UTC)


def segment(name: str | None) -> str:
    """Write a name of theirs as one segment of a path; raises UnrepresentableError where it cannot be one."""
    try:
        quoted = quote(name or "", safe="")
    except UnicodeEncodeError:
        quoted = ""
    if quoted in ("", ".", ".."):  # with which another path would be asked
        raise UnrepresentableError(f"{name!a} is nobody's number of a payment")
    return quoted


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def moment(written: object) -> datetime | None:
    """Read an instant with its offset; None for anything else."""
    try:
        found = datetime.fromisoformat(written) if isinstance(written, str) else None
        return found if found and found.tzinfo and FIRST < (found := found.astimezone(UTC)) < LAST else None
    except (ValueError, OverflowError):
        return None


def word(told: object, default: str = "") -> str:
    """Return what was told in words; what is no text tells nothing."""
    return (told.strip()[:LENGTH] if isinstance(told, str) else "") or default


def exact(told: object) -> str:
    """Return a status to the letter: one that only looks like another is none."""
    return told if isinstance(told, str) else ""


def moves_money(key: str | None) -> bool | None:
    """Tell by a secret key whether it moves real money; None where it doesn't say."""
    modes = {"live": True, "test": False}
    said = [modes[part] for part in (key or "").split("_")[:2] if part in modes]
    return said[0] if said else None
