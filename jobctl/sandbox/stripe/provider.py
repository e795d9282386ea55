"""Stripe's front: which call a path is, whose key it comes with, and what idempotency makes of it."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from jobctl.sandbox.accounts import SECRET_KEY
from jobctl.sandbox.dashboard import Act, done_by_hand
from jobctl.sandbox.keys import Use
from jobctl.sandbox.office import Office
from jobctl.sandbox.outside import check_chosen
from jobctl.sandbox.protocol import Answer, Call, Paid, Request, Task
from jobctl.sandbox.stripe import calls, refunding
from jobctl.sandbox.stripe.account import NAME, Account
from jobctl.sandbox.stripe.calls import Asked, Run
from jobctl.sandbox.stripe.dashboard import ACTS
from jobctl.sandbox.stripe.errors import REFUSED, StripeError, refusal, unrecognized
from jobctl.sandbox.stripe.outside import STATUSES, pay
from jobctl.sandbox.stripe.parameters import FORM, Parameters

LONGEST_KEY = 255
REPLAYED = {"Idempotent-Replayed": "true"}
OWN = SECRET_KEY
TEST_KEY = re.compile(r"[sr]k_test_[0-9A-Za-z_]+")
INTENTS, REFUNDS = "/v1/payment_intents", "/v1/refunds"


@dataclass(frozen=True)
class Route:
    method: str
    path: re.Pattern[str]
    name: str
    check: Callable[[Account, Asked], Run]


ROUTES = (
    Route("POST", re.compile(INTENTS), "charge", calls.create),
    Route("POST", re.compile(rf"{INTENTS}/([^/]+)/capture"), "capture", calls.capture),
    Route("POST", re.compile(rf"{INTENTS}/([^/]+)/cancel"), "release", calls.cancel),
    Route("GET", re.compile(rf"{INTENTS}/([^/]+)"), "retrieve", calls.retrieve),
    Route("GET", re.compile(INTENTS), "list", calls.list_intents),
    Route("POST", re.compile(REFUNDS), "refund", calls.refund),
    Route("GET", re.compile(rf"{REFUNDS}/([^/]+)"), "retrieve", calls.retrieve_refund),
    Route("GET", re.compile(REFUNDS), "list", calls.list_refunds),
    Route("GET", re.compile("/v1/events"), "list", calls.list_events),
)


class Stripe:
    """The whole of Stripe: an account for each test key that somebody comes with."""

    name = NAME
    refunds = refunding.REFUNDS

    def __init__(self, office: Office) -> None:
        self.office = office
        self._accounts: dict[str, Account] = {}

    def read(self, request: Request) -> Call:
        posted = request.method == "POST"
        parameters = Parameters(request.body.decode(errors="replace") if posted else request.query)
        key = (request.headers.get("idempotency-key") or None) if posted else None
        route, name = routed(request)
        asked = Asked(parameters, key, name)
        marks = (key or "", name, *(value for _, value in parameters.bracketed("metadata")))
        begin = partial(self._begin, request, route, asked)
        return Call(call_name(route, parameters), key, request.headers.get("stripe-version"), marks, begin)

    def failure(self, status: int, seconds: float = 0.0) -> Answer:
        answer = refusal(status).answer()
        wait = {"Retry-After": f"{seconds:g}"} if seconds else {}
        return replace(answer, headers={**answer.headers, **wait})

    def occupy(self, request: Request, key: str | None, at: float) -> None:
        with suppress(StripeError):
            if key:
                self._account(request).keys.take(key, None, at).answer = refusal(400).answer()

    def refused(self, call: str) -> Answer:
        return REFUSED[call].answer() if call in REFUSED else refusal(400).answer()

    def pay(self, paid: Paid, account: str | None) -> str:
        check_chosen(paid, STATUSES)
        try:
            return pay(self._of(account or OWN), paid)
        except StripeError as refused:
            raise ValueError(str(refused)) from refused

    def act(self, act: Act, account: str | None, at: float) -> str:
        try:
            return done_by_hand(ACTS, NAME, act, self._of(account or OWN), at)
        except StripeError as refused:
            raise ValueError(str(refused)) from refused

    def _begin(self, request: Request, route: Route | None, asked: Asked, at: float) -> Answer | Task:
        """Check a request: what is refused here is not stored under its key (Stripe: Idempotent requests).

        A known key is answered before anything is validated, so that a replay never depends on what has
        become of the object meanwhile.
        """
        try:
            account = self._account(request)
            if not route:
                raise unrecognized(request.method, request.path)
            check_form(request)
            what = (request.path, sorted(asked.parameters.pairs))
            use = known_use(account, asked.key, what, at)
            if use and use.answer:
                return replace(use.answer, headers={**use.answer.headers, **REPLAYED}, replayed=True)
            run = route.check(account, asked)
        except StripeError as refused:
            return refused.answer()
        if not asked.key:
            return Task(partial(done, run))
        taken = account.keys.take(asked.key, what, at)
        return Task(partial(done, run), partial(setattr, taken, "answer"))

    def _account(self, request: Request) -> Account:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise StripeError("You did not provide an API key.", status=401)
        return self._of(secret)

    def _of(self, secret: str) -> Account:
        if not TEST_KEY.fullmatch(secret):
            raise refusal(401)
        if secret in self.office.forbidden:
            raise refusal(403)
        if secret not in self._accounts:
            self._accounts[secret] = Account(self.office)
        return self._accounts[secret]


def routed(request: Request) -> tuple[Route | None, str]:
    """Return the route, and the name of the object in its path."""
    for each in ROUTES:
        match = each.path.fullmatch(request.path) if each.method == request.method else None
        if match:
            return each, match[1] if match.lastindex else ""
    return None, ""


def call_name(route: Route | None, parameters: Parameters) -> str:
    if not route:
        return "other"
    held = route.name == "charge" and parameters.get("capture_method") == "manual"
    return "authorize" if held else route.name


def check_form(request: Request) -> None:
    if request.method == "POST" and request.body:
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind != FORM:
            raise StripeError(f"Invalid request (check that your POST content type is {FORM}).")


def known_use(account: Account, key: str | None, what: object, at: float) -> Use | None:
    """Return what was made of this key before; raises what forbids to use it again."""
    if key and len(key) > LONGEST_KEY:
        raise StripeError(f"Idempotency keys are up to {LONGEST_KEY} characters long.")
    use = account.keys.find(key, at) if key else None
    if use and use.answer is None:
        raise refusal(409)
    if use and use.asked != what:
        message = f"Key {key} was first used with another endpoint or other parameters."
        raise StripeError(message, kind="idempotency_error")
    return use


def done(run: Run, at: float) -> Answer:
    """Do what was asked; a refusal at this point is an answer like any other, to be stored."""
    try:
        return run(at)
    except StripeError as refused:
        return refused.answer()
