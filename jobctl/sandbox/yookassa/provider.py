"""YooKassa's front: which call a path is, whose key it comes with, and what idempotency makes of it."""

import re
from base64 import b64decode
from contextlib import suppress
from functools import partial

from jobctl.sandbox.accounts import YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID
from jobctl.sandbox.dashboard import Act, done_by_hand
from jobctl.sandbox.office import Office
from jobctl.sandbox.outside import check_chosen
from jobctl.sandbox.protocol import Answer, Call, Paid, Request, Task, as_json
from jobctl.sandbox.yookassa.account import NAME, Account
from jobctl.sandbox.yookassa.calls import Asked, Run
from jobctl.sandbox.yookassa.dashboard import ACTS
from jobctl.sandbox.yookassa.errors import REFUSED, YooKassaError, refusal
from jobctl.sandbox.yookassa.fields import body_of
from jobctl.sandbox.yookassa.once import once
from jobctl.sandbox.yookassa.outside import STATUSES, pay
from jobctl.sandbox.yookassa.refunding import REFUNDS
from jobctl.sandbox.yookassa.routes import Route, call_name, marks, nowhere, routed

OWN = f"{YOOKASSA_SHOP_ID}:{YOOKASSA_SECRET_KEY}"
CREDENTIALS = re.compile(r"([0-9]+):(test_[0-9A-Za-z_\-]+)")


class YooKassa:
    """The whole of YooKassa: an account for each pair of a shop's id and a test key."""

    name = NAME
    refunds = REFUNDS

    def __init__(self, office: Office) -> None:
        self.office = office
        self._accounts: dict[str, Account] = {}

    def read(self, request: Request) -> Call:
        key = (request.headers.get("idempotence-key") or None) if request.method == "POST" else None
        route, name = routed(request)
        given, problem = {}, None
        try:
            given = body_of(request)
        except YooKassaError as refused:
            problem = refused
        asked = Asked(given, request.query, key, name)
        begin = partial(self._begin, request, route, asked, problem)
        return Call(call_name(route, asked), key, None, marks(asked), begin)

    def failure(self, status: int, seconds: float = 0.0) -> Answer:
        return refusal(status, seconds).answer()

    def occupy(self, request: Request, key: str | None, at: float) -> None:
        with suppress(YooKassaError):
            if key:
                self._of(credentials(request)).keys.take(key, "", at).end()

    def refused(self, call: str) -> Answer:
        return REFUSED[call].answer() if call in REFUSED else refusal(400).answer()

    def pay(self, paid: Paid, account: str | None) -> str:
        check_chosen(paid, STATUSES)
        try:
            return pay(self._of(account or OWN), paid)
        except YooKassaError as refused:
            raise ValueError(str(refused)) from refused

    def act(self, act: Act, account: str | None, at: float) -> str:
        try:
            return done_by_hand(ACTS, NAME, act, self._of(account or OWN), at)
        except YooKassaError as refused:
            raise ValueError(str(refused)) from refused

    def _begin(
        self, request: Request, route: Route | None, asked: Asked, problem: YooKassaError | None, at: float
    ) -> Answer | Task:
        """Check a request; what is refused leaves its key free."""
        try:
            account = self._of(credentials(request))
            if not route:
                raise nowhere(request)
            if problem:
                raise problem
            if route.method == "GET":
                return Task(partial(done, route.check(account, asked)))
            return once(request.path, route, account, asked, at)
        except YooKassaError as refused:
            return refused.answer()

    def _of(self, who: str) -> Account:
        match = CREDENTIALS.fullmatch(who)
        if not match:
            raise refusal(401)
        if match[2] in self.office.forbidden:
            raise refusal(403)
        if who not in self._accounts:
            self._accounts[who] = Account(match[1], self.office)
        return self._accounts[who]


def credentials(request: Request) -> str:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise refusal(401)
    try:
        return b64decode(encoded, validate=True).decode()
    except ValueError as error:
        raise refusal(401) from error


def done(run: Run, at: float) -> Answer:
    try:
        return as_json(200, run(at)())
    except YooKassaError as refused:
        return refused.answer()
