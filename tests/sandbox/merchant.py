"""What the tests say to the sandbox, over real HTTP, in Paystack's protocol as its documents have it."""

from datetime import datetime, timedelta
from typing import Any, Self

import requests

from jobctl.sandbox import PAYSTACK_SECRET_KEY, Sandbox
from tests.sandbox.client import TIMEOUT, ok

TRANSACTIONS, REFUNDS = "/transaction", "/refund"


class Merchant:
    """One keep-alive connection with one secret key."""

    def __init__(self, url: str, key: str = PAYSTACK_SECRET_KEY) -> None:
        self.url, self.session = url, requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def post(self, path: str, document: Any = None) -> requests.Response:
        return self.session.post(self.url + path, json=document, timeout=TIMEOUT)

    def get(self, path: str, **parameters: Any) -> requests.Response:
        return self.session.get(self.url + path, params=parameters, timeout=TIMEOUT)

    def verify(self, reference: str) -> requests.Response:
        return self.get(f"{TRANSACTIONS}/verify/{reference}")

    def refund(self, transaction: Any, amount: Any = None, **given: Any) -> requests.Response:
        some = {} if amount is None else {"amount": amount}
        return self.post(REFUNDS, {"transaction": transaction, **some, **given})

    def transaction(self, reference: str) -> Any:
        return data(self.verify(reference))

    def refunded(self, transaction: Any, amount: Any = None, **given: Any) -> int:
        """Ask for a refund, and return its number."""
        return int(data(self.refund(transaction, amount, **given))["id"])

    def state(self, refund: int) -> str:
        return str(data(self.get(f"{REFUNDS}/{refund}"))["status"])

    def listed(self, path: str = TRANSACTIONS, **parameters: Any) -> list[Any]:
        name = "reference" if path == TRANSACTIONS else "id"
        return [each[name] for each in data(self.get(path, **parameters))]


def data(answer: requests.Response) -> Any:
    found = ok(answer)
    assert found["status"] is True
    return found["data"]


def refused(answer: requests.Response) -> tuple[int, str]:
    found = answer.json()
    assert {"status", "message"} <= found.keys()
    assert found["status"] is False
    return answer.status_code, found["message"]


def paid(sandbox: Sandbox, reference: str | None = None, amount: int = 10_000, **said: Any) -> str:
    return sandbox.pay("paystack", amount, "NGN", reference=reference, **said)


def soon(text: str, at: datetime) -> bool:
    """Whether a time is of this instant, in Paystack's format, give or take what a slow machine needs."""
    assert len(text) == len("2026-11-21T00:00:00.000Z")
    assert text.endswith("Z")
    found = datetime.fromisoformat(text)
    return timedelta(milliseconds=-1) <= found - at < timedelta(minutes=1)
