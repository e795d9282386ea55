"""How Stripe's answers are read: errors, amounts, instants, our reference."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jobctl.money import Money
from jobctl.providers import amounts
from jobctl.providers.failures import Failures
from jobctl.providers.protocol import REFERENCE
from jobctl.providers.stripe_requests import DECIMALS
from jobctl.providers.transport import Reply, mapping
from jobctl.providers.wire import word

NAME = "stripe"
LATEST = 2**32  # of the seconds since 1970 that are believed to be some


def missing(reply: Reply) -> bool:
    """Tell whether Stripe says, in its own form, that there is no such object ("Error codes")."""
    error = error_of(reply)
    return (error.get("type"), error.get("code")) == ("invalid_request_error", "resource_missing")


def error_of(reply: Reply) -> Mapping[str, Any]:
    return mapping((reply.body or {}).get("error"))


def instant(seconds: object) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds < LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def reference_of(thing: Mapping[str, Any]) -> str | None:
    reference = mapping(thing.get("metadata")).get(REFERENCE)
    return reference if isinstance(reference, str) else None


def live_of(thing: Mapping[str, Any]) -> bool | None:
    live = thing.get("livemode")
    return live if isinstance(live, bool) else None


def amount_of(thing: Mapping[str, Any], name: str) -> Money | None:
    """Read an amount; None where it isn't told. Raises ValueError for what is none."""
    if thing.get(name) is None:
        return None
    currency = thing.get("currency")
    return amounts.ours(DECIMALS, thing[name], currency.upper() if isinstance(currency, str) else None)


def amount_told(thing: Mapping[str, Any], name: str) -> Money | None:
    """Read an amount; None where it isn't told, or is none."""
    try:
        return amount_of(thing, name)
    except ValueError:
        return None


def words(reply: Reply) -> list[str]:
    return [word(error_of(reply).get("message"))]


def trace(reply: Reply) -> str:
    request = reply.headers.get("Request-Id", "")
    return f"request {request}" if request else ""


FAILURES = Failures(
    "Stripe", "STRIPE_API_BASE", missing, words, code=lambda reply: error_of(reply).get("code"), trace=trace
)
closes, code_of, no_answer, said = FAILURES.closes, FAILURES.code_of, FAILURES.no_answer, FAILURES.said
torn = FAILURES.torn
