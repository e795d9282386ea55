"""Flutterwave's identity server: a token for a secret, in the words of OAuth."""

from typing import Any

import pytest
import requests

from jobctl.sandbox import FLUTTERWAVE_CLIENT_ID, FLUTTERWAVE_CLIENT_SECRET, Sandbox
from tests.sandbox.client import TIMEOUT, ok

TOKENS = "/realms/flutterwave/protocol/openid-connect/token"
ASKED = {
    "client_id": FLUTTERWAVE_CLIENT_ID,
    "client_secret": FLUTTERWAVE_CLIENT_SECRET,
    "grant_type": "client_credentials",
}


def ask(sandbox: Sandbox, **changed: Any) -> requests.Response:
    return requests.post(sandbox.url + TOKENS, data={**ASKED, **changed}, timeout=TIMEOUT)


def refused(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def test_a_token_for_ten_minutes(sandbox: Sandbox) -> None:
    answer = ask(sandbox)
    found = ok(answer)
    assert found.pop("access_token")
    assert found == {
        "expires_in": 600,
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": "profile email",
    }
    assert answer.headers["Cache-Control"] == "no-store"


def test_each_token_is_another_and_says_nothing(sandbox: Sandbox) -> None:
    first, second = (ok(ask(sandbox, client_secret="test_hush"))["access_token"] for _ in range(2))
    assert first != second
    assert "hush" not in first + second


@pytest.mark.parametrize("secret", ["test_1", "test_aB-c_9"])
def test_any_test_secret_will_do(sandbox: Sandbox, secret: str) -> None:
    ok(ask(sandbox, client_id="somebody", client_secret=secret))


@pytest.mark.parametrize("secret", ["test_", "live_1", "test_a.b", "test_1 "])
def test_no_other_secret_will(sandbox: Sandbox, secret: str) -> None:
    answer = ask(sandbox, client_secret=secret)
    assert answer.status_code == 401
    description = "Invalid client or Invalid client credentials"
    assert answer.json() == {"error": "invalid_client", "error_description": description}


def test_a_secret_may_be_forbidden(sandbox: Sandbox) -> None:
    assert refused(ask(sandbox, client_secret="test_forbidden")) == (401, "unauthorized_client")
    with Sandbox(forbidden=["test_reader"]) as another:
        assert refused(ask(another, client_secret="test_reader")) == (401, "unauthorized_client")


def test_another_grant(sandbox: Sandbox) -> None:
    assert refused(ask(sandbox, grant_type="password")) == (400, "unsupported_grant_type")


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("value", [None, "", ["test_1", "test_2"]])
def test_a_parameter_is_there_once_and_says_something(sandbox: Sandbox, name: str, value: Any) -> None:
    answer = ask(sandbox, **{name: value})
    assert refused(answer) == (400, "invalid_request")
    assert name in answer.json()["error_description"]


def test_what_is_called_no_form_is_none(sandbox: Sandbox) -> None:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(sandbox.url + TOKENS, data=ASKED, headers=headers, timeout=TIMEOUT)
    assert refused(answer) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", TOKENS, 405), ("POST", "/realms/flutterwave", 404), ("POST", f"{TOKENS}/x", 404)],
)
def test_where_nothing_is(sandbox: Sandbox, method: str, path: str, status: int) -> None:
    answer = requests.request(method, sandbox.url + path, data=ASKED, timeout=TIMEOUT)
    assert refused(answer) == (status, "invalid_request")
    assert list(sandbox.requests()) == ["other"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("http_400", (400, "invalid_request")),
        ("http_401", (401, "invalid_client")),
        ("http_403", (403, "unauthorized_client")),
        ("http_409", (409, "invalid_request")),
        ("http_429", (429, "temporarily_unavailable")),
        ("http_500_before", (500, "server_error")),
        ("http_500_after", (500, "server_error")),
    ],
)
def test_bad_days(sandbox: Sandbox, fault: str, said: tuple[int, str]) -> None:
    sandbox.fault(fault, "token")
    assert refused(ask(sandbox)) == said
    ok(ask(sandbox))


def test_rate_limited_says_for_how_many_seconds(sandbox: Sandbox) -> None:
    sandbox.fault("http_429", "token", seconds=17)
    assert ask(sandbox).headers["Retry-After"] == "17"


def test_the_client_singles_a_request_out(sandbox: Sandbox) -> None:
    sandbox.fault("http_403", contains="client-17")
    ok(ask(sandbox, client_id="client-18"))
    assert ask(sandbox, client_id="client-17").status_code == 403


def test_nobody_pays_here(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="gives out tokens"):
        sandbox.pay("flutterwave", 100, "NGN")
    assert sandbox.ledger() == []
