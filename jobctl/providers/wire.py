"""What adapters write and read alike: names in paths, instants, words."""

from datetime import UTC, datetime
from urllib.parse import quote

from jobctl.providers.protocol import UnrepresentableError

LENGTH = 200


def segment(name: str) -> str:
    """Write a name of theirs as one segment of a path; raises UnrepresentableError where it cannot be one."""
    try:
        quoted = quote(name, safe="")
    except UnicodeEncodeError:
        quoted = ""
    if quoted in ("", ".", ".."):  # with which another path would be asked
        raise UnrepresentableError(f"{name!a} is nobody's number of a payment")
    return quoted


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def word(told: object, default: str = "") -> str:
    """Return what was told in words; what is no text tells nothing."""
    return (told.strip()[:LENGTH] if isinstance(told, str) else "") or default
