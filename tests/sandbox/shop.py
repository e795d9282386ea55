"""What the tests say to the sandbox, over real HTTP, in YooKassa's protocol as its documents have it."""

from itertools import count
from typing import Any, Self

import requests

from jobctl.sandbox import YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID
from tests.sandbox.client import TIMEOUT, ok

PAYMENTS, REFUNDS = "/v3/payments", "/v3/refunds"
CHARGE: dict[str, Any] = {
    "amount": {"value": "450.00", "currency": "RUB"},
    "capture": True,
    "payment_method_id": "pm_yk_ok",
}
numbers = count(1)


def rub(value: str) -> dict[str, str]:
    return {"value": value, "currency": "RUB"}


class Shop:
    """One keep-alive connection of one shop; a request without a key of its own gets a new one."""

    def __init__(
        self, url: str, credentials: tuple[str, str] = (YOOKASSA_SHOP_ID, YOOKASSA_SECRET_KEY)
    ) -> None:
        self.url, self.session = url, requests.Session()
        self.timeout: float | tuple[float, float] = TIMEOUT
        self.session.auth = credentials

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def post(self, path: str, key: str | None = None, document: Any = None) -> requests.Response:
        headers = {"Idempotence-Key": key or f"key.{next(numbers)}"}
        return self.session.post(self.url + path, json=document, headers=headers, timeout=self.timeout)

    def get(self, path: str, **parameters: str) -> requests.Response:
        return self.session.get(self.url + path, params=parameters, timeout=self.timeout)

    def charge(self, key: str | None = None, **changed: Any) -> requests.Response:
        return self.post(PAYMENTS, key, {**CHARGE, **changed})

    def hold(self, key: str | None = None, **changed: Any) -> requests.Response:
        return self.charge(key, **{"capture": False, **changed})

    def capture(self, payment: str, key: str | None = None, **given: Any) -> requests.Response:
        return self.post(f"{PAYMENTS}/{payment}/capture", key, given)

    def cancel(self, payment: str, key: str | None = None) -> requests.Response:
        return self.post(f"{PAYMENTS}/{payment}/cancel", key)

    def refund(self, payment: str, value: str, key: str | None = None, **given: Any) -> requests.Response:
        return self.post(REFUNDS, key, {"payment_id": payment, "amount": rub(value), **given})

    def payment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = ok(self.get(f"{PAYMENTS}/{name}"))
        return found

    def charged(self, **changed: Any) -> str:
        """Charge, and return the payment's id."""
        return str(ok(self.charge(**changed))["id"])

    def held(self, **changed: Any) -> str:
        return str(ok(self.hold(**changed))["id"])

    def listed(self, path: str = PAYMENTS, **parameters: str) -> list[str]:
        return [each["id"] for each in ok(self.get(path, **parameters))["items"]]


def refused(answer: requests.Response) -> tuple[int, str | None, str | None]:
    """Return what a refusal is known by: status, code, parameter."""
    found = answer.json()
    assert found["type"] == "error"
    assert found["id"]
    assert found["description"]
    return answer.status_code, found.get("code"), found.get("parameter")
