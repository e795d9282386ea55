"""The billing service: what it was told of checkout sessions, to whoever has a key."""

from typing import Any

import pytest
import requests

from jobctl.sandbox import BILLING_KEY, Sandbox
from tests.sandbox.client import TIMEOUT

PATH = "/billing/api/v1/paysession/"


def ask(sandbox: Sandbox, session: str = "checkout_1", key: str | None = BILLING_KEY) -> requests.Response:
    headers = {} if key is None else {"x-api-key": key}
    return requests.get(sandbox.url + PATH + session, headers=headers, timeout=TIMEOUT)


def test_it_tells_what_it_was_told(sandbox: Sandbox) -> None:
    sandbox.checkout("checkout_1", "success", order="order_7")
    answer = ask(sandbox)
    assert answer.status_code == 200
    assert answer.json() == {"id": "checkout_1", "status": "success", "order": "order_7"}
    sandbox.checkout("checkout_1", http_status=503)
    assert (ask(sandbox).status_code, ask(sandbox).json()["status"]) == (503, "open")


def test_of_another_session_it_knows_nothing(sandbox: Sandbox) -> None:
    assert ask(sandbox).status_code == 404


def test_a_session_is_named_by_the_whole_rest_of_the_path(sandbox: Sandbox) -> None:
    sandbox.checkout("a/b c")
    assert ask(sandbox, "a%2Fb%20c").json()["id"] == "a/b c"


@pytest.mark.parametrize(
    ("key", "status"), [(None, 401), ("", 401), ("live_1", 401), ("test_forbidden", 403), ("test_x", 404)]
)
def test_keys(sandbox: Sandbox, key: str | None, status: int) -> None:
    assert ask(sandbox, key=key).status_code == status


@pytest.mark.parametrize("status", [400, 401, 403, 409, 429])
def test_bad_days(sandbox: Sandbox, status: int) -> None:
    sandbox.checkout("checkout_1")
    sandbox.fault(f"http_{status}", "retrieve", contains="checkout_1", seconds=7)
    answer = ask(sandbox)
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
    assert ask(sandbox).status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [{"session": ""}, {"session": 1}, {"session": "a", "http_status": 99}, {"session": "a", "status": 1}],
)
def test_the_control_api_takes_sessions(sandbox: Sandbox, wanted: dict[str, Any]) -> None:
    control = f"{sandbox.url}/_sandbox/checkouts"
    assert requests.post(control, json=wanted, timeout=TIMEOUT).status_code == 400
    told = {"session": "checkout_1", "status": "failure"}
    assert requests.post(control, json=told, timeout=TIMEOUT).status_code == 200
    assert ask(sandbox).json()["status"] == "failure"


def test_nothing_else_is_there_and_nobody_pays(sandbox: Sandbox) -> None:
    assert requests.post(sandbox.url + PATH + "x", timeout=TIMEOUT).status_code == 404
    assert requests.get(sandbox.url + "/billing/api/v2", timeout=TIMEOUT).status_code == 404
    with pytest.raises(ValueError, match="tells of checkout sessions"):
        sandbox.pay("billing", 100, "USD")
