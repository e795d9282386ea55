"""How Stripe's answers are read: errors, amounts, instants, our reference."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from jobctl.errors import Exit
from jobctl.money import Money
from jobctl.providers import amounts
from jobctl.providers.pages import Torn
from jobctl.providers.protocol import REFERENCE, Unknown
from jobctl.providers.stripe_requests import DECIMALS
from jobctl.providers.transport import Reply, mapping
from jobctl.providers.wire import word

NAME = "stripe"
LATEST = 2**32  # of the seconds since 1970 that are believed to be some


def no_answer(reply: Reply) -> Unknown:
    """Read what tells nothing, or the failure of a look-up."""
    code = "no_answer" if reply.status is None else f"http_{reply.status}"
    return Unknown(code, said(reply), closes(reply))


def torn(end: Torn) -> Unknown:
    """Read the end of a list that is not complete."""
    if end.reply.status != HTTPStatus.OK:
        return no_answer(end.reply)
    reason = end.reason or "its page is none that can be read"
    return Unknown("unexpected_answer", f"Stripe's list cannot be relied on: {reason}")


def code_of(reply: Reply) -> str:
    """Return the code of a failed look-up."""
    if not reply.begun:
        return "not_reached"
    return word(error_of(reply).get("code"), no_answer(reply).code)


def missing(reply: Reply) -> bool:
    """Tell whether Stripe says, in its own form, that there is no such object ("Error codes")."""
    error = error_of(reply)
    return (error.get("type"), error.get("code")) == ("invalid_request_error", "resource_missing")


def closes(reply: Reply) -> Exit | None:
    """Return the exit code where it is of no use for the rest of the run, as after a 404 of somebody else."""
    elsewhere = reply.status == HTTPStatus.NOT_FOUND and not missing(reply)
    return Exit.MISCONFIGURED if elsewhere else reply.closes


def said(reply: Reply) -> str:
    if reply.status is None:
        return f"Stripe gave no answer: {reply.trouble}"
    request, message = reply.headers.get("Request-Id", ""), word(error_of(reply).get("message"))
    elsewhere = reply.status == HTTPStatus.NOT_FOUND and not missing(reply)
    parts = [
        f"Stripe answered {reply.status}",
        message,
        "of nothing that it has: is STRIPE_API_BASE right?" if elsewhere else "",
        reply.trouble,
        f"request {request}" if request else "",
    ]
    return ", ".join(each for each in parts if each)


def error_of(reply: Reply) -> Mapping[str, Any]:
    return mapping((reply.body or {}).get("error"))


def instant(seconds: object) -> datetime | None:
    if not isinstance(seconds, int) or not 0 < seconds < LATEST:
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
