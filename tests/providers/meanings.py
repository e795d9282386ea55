"""What a provider can mean, by whatever words, and how each adapter is asked and answered for it."""

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import responses

from jobctl.job import Means, ScopeDownError
from jobctl.journal import Operation
from jobctl.money import Money
from jobctl.parsing import Rate
from jobctl.providers.proof import proved
from jobctl.providers.protocol import (
    KINDS,
    Authorize,
    Capture,
    Charge,
    Found,
    Inquiry,
    Kind,
    Provider,
    Refund,
    Release,
    Request,
)
from jobctl.providers.switchboard import Providers, compose
from jobctl.settings import Settings
from jobctl.steps.running import Stop
from tests.world import NOW

KEY = "abcd1234.charge.subscription-7.2026-03-01.1"
BASE = "https://api.example"
AMOUNT = {"stripe": Money(50_000, "USD"), "yookassa": Money(50_000, "RUB"), "paystack": Money(50_000, "NGN")}
# In the order of the table: what a provider lacks of these, its own file says with the reason.
MEANINGS = (
    "key known with other data",
    "key in progress",
    "already captured",
    "given back by hand after it was captured",
    "cancelled by us",
    "cancelled by a person",
    "lapsed",
    "already refunded",
    "partly refunded by a person",
    "other amount",
    "other currency",
    "other id",
    "other mode",
    "other reference",
    "not paid",
    "not found",
    "not found in a gateway's form",
    "other account",
    "wrong key",
    "rate limit",
    "down",
    "unreadable",
    "cut short",
    "unknown status",
    "too long id",
    "empty id",
    "id of wrong type",
    "list incomplete",
    "list repeated",
    "two under one key",
    "unfinished",
    "refused though it moved",
)
CUT, HTML = '{"id": "', "<html>no</html>"
Answers = Sequence[tuple[int, Any]]  # to requests in turn; the last again and again


@dataclass(frozen=True)
class Case:
    """One way in which a provider says something, and what it is taken for.

    asked: `send`, `look` (by our reference), `look at` (by its number), `retrieve` or `list`. expected: the
    name of an outcome, and its code, or the exit code where the provider is closed.
    """

    asked: str
    kind: Kind
    answers: Answers
    expected: tuple[str, Any]
    by: str = "status"

    def __str__(self) -> str:
        return f"{self.asked}-{self.kind}-{self.expected[0]}-{self.by}"


def request(provider: str, kind: Kind, payment: str) -> Request:
    amount = AMOUNT[provider]
    made: dict[Kind, Request] = {
        "authorize": Authorize(amount, "cus_1", "pm_1"),
        "charge": Charge(amount, "cus_1", "pm_1"),
        "capture": Capture(payment, amount),
        "release": Release(payment),
        "refund": Refund(payment, amount),
    }
    return made[kind]


def operation(provider: str, kind: Kind, payment: str, *, named: bool) -> Operation:
    amount = None if kind == "release" else AMOUNT[provider]
    values: dict[str, Any] = dict.fromkeys(Operation._fields)
    return Operation(
        **values
        | {"id": 1, "key": KEY, "kind": kind, "provider": provider}
        | {"amount_minor": amount and amount.minor, "currency": amount and amount.currency}
        | {"payment_id": payment if named or kind in ("capture", "release", "refund") else None}
    )


def settings() -> Settings:
    given: dict[str, Any] = {
        "stripe_secret_key": "sk_test_1",
        "yookassa_shop_id": "1",
        "yookassa_secret_key": "test_1",
        "paystack_secret_key": "sk_test_1",
        "paystack_url": BASE,
    }
    for name in ("stripe", "yookassa", "paystack"):
        given[f"{name}_rate_limit"] = Rate(100_000, 1)
    return Settings(**given, stripe_api_base=BASE, yookassa_api_base=BASE)


def means() -> Means:
    return Means(Stop(timedelta()), 1, io.StringIO(), clock=lambda: NOW)


def answering(answers: Answers) -> responses.RequestsMock:
    """Return the provider's side of the wire, at the HTTP layer, whose clock is ours."""
    mock = responses.RequestsMock(assert_all_requests_are_fired=False)
    headers = {"Date": NOW.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    left = list(answers)

    def answer(_: object) -> tuple[int, dict[str, str], str]:
        status, told = left.pop(0) if len(left) > 1 else left[0]
        return status, headers, told if isinstance(told, str) else json.dumps(told)

    for method in ("GET", "POST"):
        mock.add_callback(method, re.compile(BASE), answer)
    return mock


def taken_for(name: str, payment: str, case: Case) -> tuple[str, Any]:
    """Ask, and tell what becomes of the answer once it is proved."""
    with Providers(settings(), means()) as providers:
        try:
            told = ask(providers, name, payment, case)
        except ScopeDownError as down:
            return "closed", int(down.exit_code)
    code, closes = getattr(told, "code", None), getattr(told, "closes", None)
    code = f"{code}, unfinished" if getattr(told, "unfinished", False) else code
    return type(told).__name__, int(closes) if closes else code


def ask(providers: Providers, name: str, payment: str, case: Case) -> Any:
    provider: Provider = providers.open(name)
    if case.asked == "list":
        pages = provider.listed(NOW - timedelta(hours=1), NOW)
        return [each for page in pages for each in page]
    if case.asked == "retrieve":
        found: Found = providers.retrieve(name, payment)
        return found
    named = case.asked == "look at" or case.kind == "refund"
    if case.asked == "send":
        wanted = request(name, case.kind, payment)
        answer: Any = provider.send(KINDS[type(wanted)], compose(name, wanted, KEY), KEY)
    else:
        answer = provider.look(Inquiry(case.kind, KEY, payment if named else None, NOW))
    return proved(operation(name, case.kind, payment, named=named), provider.live, answer)


def everywhere(kinds: Sequence[Kind], answers: Answers, send: Any, look: Any, found: Any) -> list[Case]:
    """Ask in every way, each answered alike."""
    by_reference: list[Kind] = [each for each in kinds if each not in ("capture", "release")]
    return [
        *(Case("send", kind, answers, send) for kind in kinds),
        *(Case("look", kind, answers, look) for kind in by_reference),
        *(Case("look at", kind, answers, look) for kind in kinds if kind != "refund"),
        *([Case("retrieve", kinds[-1], answers, found)] if found else []),
    ]
