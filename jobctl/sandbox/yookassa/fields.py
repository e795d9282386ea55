"""The JSON object of a request, its fields as YooKassa's reference has them (Create a payment)."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from jobctl.sandbox.protocol import Request
from jobctl.sandbox.yookassa.errors import YooKassaError

# Metadata: up to 16 keys, of up to 32 characters, with strings of up to 512.
MOST_METADATA, LONGEST_NAME, LONGEST_VALUE = 16, 32, 512
# Those that an amount of YooKassa's can be in, all written with two decimals (The Amount object).
# A shop of a Russian company takes roubles alone, which an `unknown` of the others imitates.
CURRENCIES = {"RUB", "AMD", "AZN", "BYN", "CNY", "EUR", "INR", "KZT", "MDL", "TRY", "UAH", "USD", "UZS"}
VALUE = re.compile(r"(0|[1-9][0-9]{0,9})\.([0-9]{2})")


def body_of(request: Request) -> dict[str, Any]:
    """Return what a request's body says; without one it says nothing."""
    if not request.body.strip():
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise YooKassaError("The content type is application/json.", status=415)
    try:
        document = json.loads(request.body)
        json.dumps(document, ensure_ascii=False).encode()  # not so half of a surrogate pair
    except ValueError as error:
        raise YooKassaError("The body is no JSON.") from error
    if not isinstance(document, dict):
        raise YooKassaError("The body is no JSON object.")
    return document


def money(amount: int, currency: str) -> dict[str, str]:
    return {"value": f"{amount // 100}.{amount % 100:02}", "currency": currency}


class Fields:
    """The fields of one object; `path` comes before their names in refusals."""

    def __init__(self, given: Mapping[str, Any], known: Collection[str], path: str = "") -> None:
        """Refuse fields that are not in `known`: what YooKassa makes of a misspelt one is not documented."""
        self._given, self._path = given, path
        for name in given:
            if name not in known:
                raise self.wrong(name, "There is no such parameter.")

    def wrong(self, name: str, description: str) -> YooKassaError:
        return YooKassaError(description, self._path + name)

    def text(self, name: str, longest: int) -> str | None:
        value = self._given.get(name)
        if value is not None and not (isinstance(value, str) and len(value) <= longest):
            raise self.wrong(name, f"This is a string of up to {longest} characters.")
        return value

    def needed(self, name: str) -> Any:
        value = self._given.get(name)
        if value in (None, ""):
            raise self.wrong(name, "This parameter is required.")
        return value

    def boolean(self, name: str) -> bool:
        value = self._given.get(name, False)
        if not isinstance(value, bool):
            raise self.wrong(name, "This is true or false.")
        return value

    def amount(self, name: str = "amount") -> tuple[int, str]:
        """Return an amount in kopecks, and its currency."""
        given = self.needed(name)
        if not isinstance(given, dict):
            raise self.wrong(name, "An amount has a value and a currency.")
        inner = Fields(given, ("value", "currency"), f"{name}.")
        value, currency = inner.needed("value"), inner.needed("currency")
        if not isinstance(currency, str) or currency not in CURRENCIES:
            raise inner.wrong("currency", "This is no currency that the shop takes.")
        match = VALUE.fullmatch(value) if isinstance(value, str) else None
        if not match or not int(match[1] + match[2]):
            raise inner.wrong("value", "This is a string such as 2.00: above zero, with two decimals.")
        return int(match[1] + match[2]), currency

    def metadata(self) -> dict[str, str]:
        given = self._given.get("metadata")
        if given is None:
            return {}
        if not isinstance(given, dict) or len(given) > MOST_METADATA:
            raise self.wrong("metadata", f"Metadata has up to {MOST_METADATA} keys.")
        for name, value in given.items():
            if len(name) > LONGEST_NAME or not isinstance(value, str) or len(value) > LONGEST_VALUE:
                limits = f"keys of up to {LONGEST_NAME} characters, strings of up to {LONGEST_VALUE}"
                raise self.wrong("metadata", f"Metadata has {limits}.")
        return dict(given)
