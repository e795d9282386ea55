"""Paystack's front: which call a path is, and whose key it comes with."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import unquote

from jobctl.sandbox.accounts import PAYSTACK_SECRET_KEY
from jobctl.sandbox.dashboard import Act, done_by_hand
from jobctl.sandbox.office import Office
from jobctl.sandbox.paystack import calls
from jobctl.sandbox.paystack.account import NAME, Account
from jobctl.sandbox.paystack.calls import Asked, Run
from jobctl.sandbox.paystack.dashboard import ACTS
from jobctl.sandbox.paystack.errors import REFUSED, PaystackError, refusal
from jobctl.sandbox.paystack.fields import body_of
from jobctl.sandbox.paystack.outside import pay
from jobctl.sandbox.paystack.refunding import REFUNDS
from jobctl.sandbox.protocol import Answer, Call, Paid, Request, Task

OWN = PAYSTACK_SECRET_KEY
TEST_KEY = re.compile(r"sk_test_[0-9A-Za-z_]+")


@dataclass(frozen=True)
class Route:
    method: str
    path: re.Pattern[str]
    name: str
    check: Callable[[Account, Asked], Run]


ROUTES = (
    Route("GET", re.compile(r"/transaction/verify/([^/]+)"), "retrieve", calls.verify),
    Route("GET", re.compile(r"/transaction"), "list", calls.list_transactions),
    Route("POST", re.compile(r"/refund"), "refund", calls.refund),
    Route("GET", re.compile(r"/refund/([^/]+)"), "retrieve", calls.retrieve_refund),
    Route("GET", re.compile(r"/refund"), "list", calls.list_refunds),
)
# What a fault can single a refund out by.
MARKS = ("transaction", "merchant_note", "customer_note")


class Paystack:
    """The whole of Paystack: an account for each test key that somebody comes with."""

    name = NAME
    refunds = REFUNDS

    def __init__(self, office: Office) -> None:
        self.office = office
        self._accounts: dict[str, Account] = {}

    def read(self, request: Request) -> Call:
        route, name = routed(request)
        given, problem = {}, None
        try:
            given = body_of(request)
        except PaystackError as refused:
            problem = refused
        asked = Asked(given, request.query, name)
        marks = (name, *(str(given.get(each, "")) for each in MARKS))
        begin = partial(self._begin, request, route, asked, problem)
        return Call(route.name if route else "other", None, None, marks, begin)

    def failure(self, status: int, seconds: float = 0.0) -> Answer:
        """Say no as a whole; a 429 says in a header how many seconds to wait (API: Rate limiting)."""
        answer = refusal(status).answer()
        wait = {"Retry-After": f"{seconds:g}"} if seconds else {}
        return replace(answer, headers={**answer.headers, **wait})

    def occupy(self, request: Request, key: str | None, at: float) -> None:
        """Nothing: there are no idempotency keys here."""

    def refused(self, call: str) -> Answer:
        return REFUSED[call].answer() if call in REFUSED else refusal(400).answer()

    def pay(self, paid: Paid, account: str | None) -> str:
        try:
            return pay(self._of(account or OWN), paid)
        except PaystackError as refused:
            raise ValueError(refused.message) from refused

    def act(self, act: Act, account: str | None, at: float) -> str:
        try:
            return done_by_hand(ACTS, NAME, act, self._of(account or OWN), at)
        except PaystackError as refused:
            raise ValueError(refused.message) from refused

    def _begin(
        self, request: Request, route: Route | None, asked: Asked, problem: PaystackError | None, at: float
    ) -> Answer | Task:
        try:
            account = self._of(key_of(request))
            if not route:
                raise nowhere(request)
            if problem:
                raise problem
            return Task(partial(done, route.check(account, asked)))
        except PaystackError as refused:
            return refused.answer()

    def _of(self, key: str) -> Account:
        if not TEST_KEY.fullmatch(key):
            raise refusal(401)
        if key in self.office.forbidden:
            raise refusal(403)
        if key not in self._accounts:
            self._accounts[key] = Account(self.office)
        return self._accounts[key]


def key_of(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" else ""


def nowhere(request: Request) -> PaystackError:
    return PaystackError(f"There is no {request.method} {request.path}", 404)


def routed(request: Request) -> tuple[Route | None, str]:
    """Return the route, and the name of the object in its path."""
    for each in ROUTES:
        match = each.path.fullmatch(request.path) if each.method == request.method else None
        if match:
            return each, unquote(match[1]) if match.lastindex else ""
    return None, ""


def done(run: Run, at: float) -> Answer:
    try:
        return run(at)
    except PaystackError as refused:
        return refused.answer()
