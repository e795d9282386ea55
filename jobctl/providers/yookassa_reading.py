"""How YooKassa's answers are read: errors, amounts, instants, our reference."""

import re
from collections.abc import Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from jobctl.money import Money
from jobctl.providers import amounts
from jobctl.providers.failures import Failures
from jobctl.providers.protocol import REFERENCE
from jobctl.providers.transport import Reply, mapping
from jobctl.providers.wire import word

NAME = "yookassa"
# The currencies of YooKassa's own SDKs ("CurrencyCode"), all of them counted with two decimals.
CODES = "AMD AZN BYN CNY EUR INR KZT MDL RUB TRY UAH USD UZS"
DECIMALS = dict.fromkeys(CODES.split(), 2)
VALUE = re.compile(r"[0-9]{1,16}(\.[0-9]{1,2})?", re.ASCII)


def missing(reply: Reply) -> bool:
    """Tell whether YooKassa says, in its own form, that this shop has no such object ("Errors")."""
    body = reply.body or {}
    own = (body.get("type"), body.get("code")) == ("error", "not_found")
    return reply.status == HTTPStatus.NOT_FOUND and own


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


def words(reply: Reply) -> list[str]:
    return [word((reply.body or {}).get(name)) for name in ("description", "parameter", "id")]


FAILURES = Failures(
    "YooKassa", "YOOKASSA_API_BASE", missing, words, code=lambda reply: (reply.body or {}).get("code")
)
closes, code_of, no_answer, said = FAILURES.closes, FAILURES.code_of, FAILURES.no_answer, FAILURES.said
torn = FAILURES.torn
