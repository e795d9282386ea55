"""What the billing service is asked of a checkout session, and the answers there can be.

Apart from the adapter, so that a run with nothing open loads no HTTP library.
"""

from dataclasses import dataclass

BILLING = "the billing service"


@dataclass(frozen=True)
class Answered:
    """An HTTP status, and what the body's field says; None: it has none, or is no JSON object."""

    status: int
    says: str | None = None


@dataclass(frozen=True)
class Silent:
    """No answer, and why."""

    reason: str
    timed_out: bool = False
    reached: bool = True  # whether there was a connection
