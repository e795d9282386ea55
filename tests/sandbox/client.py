"""What the tests say to the sandbox, over real HTTP, in Stripe's protocol as its documents have it."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

import requests

from jobctl.sandbox import SECRET_KEY

INTENTS, REFUNDS = "/v1/payment_intents", "/v1/refunds"
HOLD = {
    "amount": "1000",
    "currency": "usd",
    "customer": "cus_1",
    "payment_method": "pm_card_visa",
    "capture_method": "manual",
    "confirm": "true",
    "off_session": "true",
}
TIMEOUT = 30


class Client:
    """One keep-alive connection with one secret key."""

    def __init__(self, url: str, secret: str = SECRET_KEY) -> None:
        self.url, self.session = url, requests.Session()
        self.timeout: float | tuple[float, float] = TIMEOUT
        self.session.headers["Authorization"] = f"Bearer {secret}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def post(self, path: str, key: str | None = None, **parameters: str) -> requests.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.session.post(self.url + path, data=parameters, headers=headers, timeout=self.timeout)

    def get(self, path: str, **parameters: str) -> requests.Response:
        return self.session.get(self.url + path, params=parameters, timeout=self.timeout)

    def hold(self, key: str | None = None, **changed: str) -> requests.Response:
        return self.post(INTENTS, key, **{**HOLD, **changed})

    def charge(self, key: str | None = None, **changed: str) -> requests.Response:
        return self.hold(key, capture_method="automatic", **changed)

    def capture(self, intent: str, key: str | None = None, **parameters: str) -> requests.Response:
        return self.post(f"{INTENTS}/{intent}/capture", key, **parameters)

    def cancel(self, intent: str, key: str | None = None, **parameters: str) -> requests.Response:
        return self.post(f"{INTENTS}/{intent}/cancel", key, **parameters)

    def refund(self, intent: str, key: str | None = None, **parameters: str) -> requests.Response:
        return self.post(REFUNDS, key, payment_intent=intent, **parameters)

    def intent(self, name: str) -> dict[str, Any]:
        """Return an intent with its latest charge, as it is now."""
        found: dict[str, Any] = ok(self.get(f"{INTENTS}/{name}", **{"expand[0]": "latest_charge"}))
        return found

    def held(self, **changed: str) -> str:
        """Hold, and return the intent's id."""
        return str(ok(self.hold(**changed))["id"])

    def charged(self, **changed: str) -> str:
        return str(ok(self.charge(**changed))["id"])


def until(met: Callable[[], object]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + TIMEOUT
    while not met():
        assert time.monotonic() < end


def soon(stamp: int, at: datetime) -> bool:
    """Whether a time stamp is of this instant, give or take what a slow machine needs."""
    return 0 <= stamp - int(at.timestamp()) < 60


def ok(answer: requests.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def error(answer: requests.Response) -> Any:
    return answer.json()["error"]


def said(answer: requests.Response) -> tuple[int, str | None, str | None]:
    """Return what a refusal is known by: status, code, parameter."""
    found = error(answer)
    return answer.status_code, found.get("code"), found.get("param")
