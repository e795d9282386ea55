"""The JSON object of a request for a refund, its fields as Paystack has them (API: Create Refund)."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from jobctl.sandbox.paystack.errors import PaystackError
from jobctl.sandbox.protocol import Request

NUMBER = re.compile(r"[0-9]{1,15}")


def body_of(request: Request) -> dict[str, Any]:
    """Return what a request's body says; without one it says nothing."""
    if not request.body.strip():
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise PaystackError("The content type is application/json")
    try:
        document = json.loads(request.body)
        json.dumps(document, ensure_ascii=False).encode()  # not so half of a surrogate pair
    except ValueError as error:
        raise PaystackError("The body is no JSON") from error
    if not isinstance(document, dict):
        raise PaystackError("The body is no JSON object")
    return document


def number(value: object) -> int | None:
    """Return a whole number, which may also be a string of digits; None: it is none."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class Fields:
    """The fields of a body; one that there is not is refused, lest a misspelt one be of no effect."""

    def __init__(self, given: Mapping[str, Any], known: Collection[str]) -> None:
        self._given = given
        for name in given:
            if name not in known:
                raise PaystackError(f'"{name}" is not allowed')

    def get(self, name: str) -> Any:
        return self._given.get(name)

    def text(self, name: str) -> str | None:
        value = self.get(name)
        if value is not None and not isinstance(value, str):
            raise PaystackError(f"{name} is a string")
        return value

    def amount(self) -> int | None:
        value = self.get("amount")
        if value is None:
            return None
        amount = number(value)
        if amount is None or amount < 1:
            raise PaystackError("amount is a whole number of subunits, above zero")
        return amount
