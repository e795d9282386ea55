"""What a notification channel is asked, and the answers it can give."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from jobctl.job import Lost


@dataclass(frozen=True)
class Message:
    """One rendered message on its way to one recipient."""

    id: int
    channel: str
    key: str  # the same for every attempt, so that a receiver can drop a repeat
    user_id: int | None
    recipient: str  # their name, may be empty
    address: str  # an e-mail address or URL; empty for the tray
    template: str
    category: str
    subject: str
    text: str
    html: str | None
    queued_at: datetime
    data: dict[str, Any] = field(default_factory=dict)  # the template's context, for machines


@dataclass(frozen=True)
class Sent:
    provider_message_id: str | None = None


@dataclass(frozen=True)
class Refused:
    """The message's own failure: for good, or worth another attempt."""

    reason: str  # never holds the recipient's address
    permanent: bool
    retry_after: timedelta | None = None


Answer = Sent | Refused | Lost


class Channel(Protocol):
    """One way out. `send` is called from many threads at once.

    It returns `Sent`, `Refused`, or `Lost` (handed over, acknowledgement lost), and raises
    `ScopeDownError` where the channel failed and not the message.
    """

    def send(self, message: Message) -> Answer: ...

    def close(self) -> None: ...
