"""Flutterwave's identity server, which gives out access tokens (Flutterwave: Authentication).

What it refuses, and in which words, is OAuth's (RFC 6749, 4.4 and 5.2).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from secrets import token_urlsafe
from urllib.parse import parse_qsl

from jobctl.sandbox.dashboard import Act, done_by_hand
from jobctl.sandbox.office import Office
from jobctl.sandbox.protocol import Answer, Call, Paid, Request, Task, as_json
from jobctl.sandbox.refunds import NO_REFUNDS

NAME = "flutterwave"
TOKENS = "/realms/flutterwave/protocol/openid-connect/token"
FORM = "application/x-www-form-urlencoded"
LIFETIME = 600  # seconds
NEEDED = ("client_id", "client_secret", "grant_type")
TEST_SECRET = re.compile(r"test_[0-9A-Za-z_\-]+")
# RFC 6749 has no word for too many requests at this endpoint: the nearest is another endpoint's.
ERRORS = {
    400: "invalid_request",
    401: "invalid_client",
    403: "unauthorized_client",
    409: "invalid_request",
    429: "temporarily_unavailable",
    500: "server_error",
}


class Flutterwave:
    """Gives a token to every client with a test secret; nothing is bought here."""

    name = NAME
    refunds = NO_REFUNDS

    def __init__(self, office: Office) -> None:
        self.office = office

    def read(self, request: Request) -> Call:
        asked = (request.method, request.path) == ("POST", TOKENS)
        given = form_of(request)
        begin = partial(self._begin, given) if asked else partial(nowhere, request)
        return Call("token" if asked else "other", None, None, (given.get("client_id", ""),), begin)

    def failure(self, status: int, seconds: float = 0.0) -> Answer:
        answer = refused(status, ERRORS[status])
        wait = {"Retry-After": f"{seconds:g}"} if seconds else {}
        return replace(answer, headers={**answer.headers, **wait})

    def occupy(self, request: Request, key: str | None, at: float) -> None:
        """Nothing: there are no idempotency keys here."""

    def refused(self, call: str) -> Answer:
        return self.failure(400)

    def pay(self, paid: Paid, account: str | None) -> str:
        raise ValueError("nobody pays at Flutterwave here: it gives out tokens")

    def act(self, act: Act, account: str | None, at: float) -> str:
        return done_by_hand({}, NAME, act, None, at)

    def _begin(self, given: Mapping[str, str], _: float) -> Answer | Task:
        missing = [name for name in NEEDED if name not in given]
        if missing:
            return refused(400, "invalid_request", f"Missing parameter: {', '.join(missing)}")
        if given["grant_type"] != "client_credentials":
            return refused(400, "unsupported_grant_type", "Unsupported grant_type")
        if not TEST_SECRET.fullmatch(given["client_secret"]):
            return refused(401, "invalid_client", "Invalid client or Invalid client credentials")
        if given["client_secret"] in self.office.forbidden:
            return refused(401, "unauthorized_client", "Client not enabled to retrieve service account")
        return Task(granted)


def form_of(request: Request) -> dict[str, str]:
    """Return the parameters; one that is empty, or there twice, is as none (RFC 6749, 3.2)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    pairs = parse_qsl(request.body.decode(errors="replace")) if kind.lower() == FORM else []
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}


def granted(_: float) -> Answer:
    document = {
        "access_token": token_urlsafe(32),
        "expires_in": LIFETIME,
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": "profile email",
    }
    answer = as_json(200, document)
    # RFC 6749, 5.1.
    return replace(answer, headers={**answer.headers, "Cache-Control": "no-store", "Pragma": "no-cache"})


def refused(status: int, error: str, description: str | None = None) -> Answer:
    more = {"error_description": description} if description else {}
    return as_json(status, {"error": error, **more})


def nowhere(request: Request, _: float) -> Answer:
    known = request.path == TOKENS
    return refused(405 if known else 404, "invalid_request", f"There is no {request.method} {request.path}")
