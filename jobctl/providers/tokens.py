"""What an access token is asked for with, and the answers there can be.

Apart from the adapter, so that a run with nothing due loads no HTTP library.
"""

from dataclasses import dataclass, field
from datetime import datetime

FLUTTERWAVE = "flutterwave"


@dataclass(frozen=True)
class Ask:
    """What a token is asked for with, and when: its time runs from before the request."""

    client_id: str
    client_secret: str = field(repr=False)
    at: datetime


@dataclass(frozen=True)
class Token:
    access_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Refused:
    """No, until the credentials change."""

    code: str
    reason: str


@dataclass(frozen=True)
class Unclear:
    """An answer that is neither a token nor a refusal."""

    reason: str
