"""How YooKassa's answers are read: errors, amounts, instants, our reference."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from jobctl.errors import Exit
from jobctl.money import Money
from jobctl.providers import amounts
from jobctl.providers.pages import Torn
from jobctl.providers.protocol import REFERENCE, Unknown
from jobctl.providers.transport import Reply, mapping
from jobctl.providers.wire import word

NAME = "yookassa"
# The currencies of YooKassa's own SDKs ("CurrencyCode"), all of them counted with two decimals.
CODES = "AMD AZN BYN CNY EUR INR KZT MDL RUB TRY UAH USD UZS"
DECIMALS = dict.fromkeys(CODES.split(), 2)
VALUE = re.compile(r"[0-9]{1,16}(\.[0-9]{1,2})?", re.ASCII)


def no_answer(reply: Reply) -> Unknown:
    """Read what tells nothing, or the failure of a look-up."""
    code = "no_answer" if reply.status is None else f"http_{reply.status}"
    return Unknown(code, said(reply), closes(reply))


def torn(end: Torn) -> Unknown:
    """Read the end of a list that is not complete."""
    if end.reply.status != HTTPStatus.OK:
        return no_answer(end.reply)
    reason = end.reason or "its page is none that can be read"
    return Unknown("unexpected_answer", f"YooKassa's list cannot be relied on: {reason}")


def code_of(reply: Reply) -> str:
    if not reply.begun:
        return "not_reached"
    return word((reply.body or {}).get("code"), no_answer(reply).code)


def missing(reply: Reply) -> bool:
    """Tell whether YooKassa says, in its own form, that this shop has no such object ("Errors")."""
    body = reply.body or {}
    own = (body.get("type"), body.get("code")) == ("error", "not_found")
    return reply.status == HTTPStatus.NOT_FOUND and own


def elsewhere(reply: Reply) -> bool:
    """Tell whether somebody else than YooKassa knows of nothing at that place."""
    return reply.status == HTTPStatus.NOT_FOUND and not missing(reply)


def closes(reply: Reply) -> Exit | None:
    """Return the exit code where it is of no use for the rest of the run, as after a 404 of somebody else."""
    return Exit.MISCONFIGURED if elsewhere(reply) else reply.closes


def said(reply: Reply) -> str:
    if reply.status is None:
        return f"YooKassa gave no answer: {reply.trouble}"
    body = reply.body or {}
    parts = [
        f"YooKassa answered {reply.status}",
        *(word(body.get(name)) for name in ("description", "parameter", "id")),
        "of nothing that it has: is YOOKASSA_API_BASE right?" if elsewhere(reply) else "",
        reply.trouble,
    ]
    return ", ".join(each for each in parts if each)


def moment(written: object) -> datetime | None:
    try:
        return datetime.fromisoformat(written).astimezone(UTC) if isinstance(written, str) else None
    except (ValueError, OverflowError):
        return None


def reference_of(thing: Mapping[str, Any]) -> str | None:
    reference = mapping(thing.get("metadata")).get(REFERENCE)
    return reference if isinstance(reference, str) else None


def live_of(payment: Mapping[str, Any]) -> bool | None:
    test = payment.get("test")
    return not test if isinstance(test, bool) else None


def money(amount: object) -> Money:
    """Read an amount; raises ValueError where it is no whole number of minor units."""
    value = mapping(amount).get("value")
    if not isinstance(value, str) or not VALUE.fullmatch(value):
        raise ValueError("no amount")
    return amounts.ours(DECIMALS, int(Decimal(value).scaleb(2)), mapping(amount).get("currency"))


def money_told(amount: object) -> Money | None:
    """Read an amount; None where it is none."""
    try:
        return money(amount)
    except ValueError:
        return None


def written(amount: Money) -> dict[str, str]:
    """Write an amount; raises UnrepresentableError."""
    value = Decimal(amounts.theirs("YooKassa", DECIMALS, amount)).scaleb(-2)
    return {"value": f"{value:.2f}", "currency": amount.currency}
