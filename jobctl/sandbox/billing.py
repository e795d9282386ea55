"""The billing service, which is private: what is known of it, and how such a service says the rest."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import unquote

from jobctl.sandbox.accounts import BILLING_KEY
from jobctl.sandbox.checks import require
from jobctl.sandbox.dashboard import Act, done_by_hand
from jobctl.sandbox.office import Office
from jobctl.sandbox.protocol import Answer, Call, Paid, Request, Task, as_json
from jobctl.sandbox.refunds import NO_REFUNDS

NAME = "billing"
SESSIONS = "/billing/api/v1/paysession/"
ERRORS = {
    400: "Bad request",
    401: "The API key is wrong",
    403: "The API key may not do this",
    404: "There is no such session",
    409: "Try again",
    429: "Too many requests",
    500: "Internal error",
}


class Billing:
    """Tells of checkout sessions what it was told of them; nothing is bought here."""

    name = NAME
    refunds = NO_REFUNDS

    def __init__(self, office: Office) -> None:
        self.office = office
        self._sessions: dict[tuple[str, str], tuple[int, Mapping[str, Any]]] = {}

    def know(
        self, session: str, status: str, http_status: int, account: str | None, more: Mapping[str, Any]
    ) -> None:
        require(isinstance(session, str) and session != "", "a session has an id")
        require(isinstance(status, str), "a status is a string")
        require(type(http_status) is int and 200 <= http_status <= 599, "an HTTP status is from 200 to 599")  # noqa: PLR2004 (what there is)
        require(isinstance(account, str | None), "an account is a key")
        self._sessions[account or BILLING_KEY, session] = (
            http_status,
            {"id": session, "status": status, **more},
        )

    def read(self, request: Request) -> Call:
        asked = request.method == "GET" and request.path.startswith(SESSIONS)
        if not asked:
            return Call("other", None, None, (), lambda _: refused(404))
        session = unquote(request.path.removeprefix(SESSIONS))
        return Call("retrieve", None, None, (session,), partial(self._begin, request, session))

    def failure(self, status: int, seconds: float = 0.0) -> Answer:
        answer = refused(status)
        wait = {"Retry-After": f"{seconds:g}"} if seconds else {}
        return replace(answer, headers={**answer.headers, **wait})

    def occupy(self, request: Request, key: str | None, at: float) -> None:
        """Nothing: there are no idempotency keys here."""

    def refused(self, call: str) -> Answer:
        return self.failure(400)

    def pay(self, paid: Paid, account: str | None) -> str:
        raise ValueError("nobody pays at the billing service here: it tells of checkout sessions")

    def act(self, act: Act, account: str | None, at: float) -> str:
        return done_by_hand({}, NAME, act, None, at)

    def _begin(self, request: Request, session: str, _: float) -> Answer | Task:
        key = request.headers.get("x-api-key", "")
        if not key.startswith("test_"):
            return refused(401)
        if key in self.office.forbidden:
            return refused(403)
        return Task(lambda _: self._tell(key, session))

    def _tell(self, account: str, session: str) -> Answer:
        status, document = self._sessions.get((account, session), (404, {"error": ERRORS[404]}))
        return as_json(status, document)


def refused(status: int) -> Answer:
    return as_json(status, {"error": ERRORS[status]})
