"""What each adapter has to be, what it writes, and what it refuses to write."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.job import ScopeDownError
from jobctl.money import Money
from jobctl.providers.flutterwave import Flutterwave
from jobctl.providers.protocol import (
    Capture,
    Charge,
    Refund,
    Release,
    Request,
    Unknown,
    UnrepresentableError,
)
from jobctl.providers.stripe_answers import of_card
from jobctl.providers.switchboard import PROVIDERS, Providers, compose
from jobctl.providers.tokens import Ask
from jobctl.providers.wire import moves_money
from jobctl.providers.yookassa_reading import money, written
from tests.providers.meanings import answering, means, settings
from tests.sandbox.client import until
from tests.servers import HookServer, Reply
from tests.world import NOW

ROOT = Path(__file__).parents[2]
FACE = """
from datetime import timedelta
from jobctl.job import Means
from jobctl.providers.protocol import Provider, Request, Stored
from jobctl.providers.stripe import Stripe
from jobctl.settings import Settings
KEY_LIVES = LISTED_AFTER = HORIZON = timedelta()
REPEATS_500 = False
def named(settings: Settings) -> bool: return True
def account(settings: Settings) -> str: return ""
def compose(request: Request, key: str) -> Stored: return {}
class Made(Stripe): ...
def opened(settings: Settings, means: Means) -> Made: return Made(settings, means)
"""
BROKEN = {
    "whole": ("", ""),
    "without_compose": ("def compose", "def composed"),
    "without_a_constant": ("REPEATS_500 = False\n", ""),
    "with_another_account": ('-> str: return ""', "-> int: return 1"),
    "without_send": (
        "class Made(Stripe): ...",
        "class Made:\n    def __init__(self, *_: object) -> None: ...",
    ),
}


def test_what_an_adapter_lacks_is_seen_by_mypy(tmp_path: Path) -> None:
    """As the table of providers would refuse it."""
    table = ["from jobctl.providers.switchboard import Adapter", *(f"import {name}" for name in BROKEN)]
    for name, (there, instead) in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(FACE.replace(there, instead))
        table.append(f"{name}_: Adapter = {name}")
    (tmp_path / "table.py").write_text("\n".join(table))
    line = [sys.executable, "-m", "mypy", "--follow-imports=silent", str(tmp_path / "table.py")]
    paths = {**os.environ, "MYPYPATH": str(tmp_path)}
    done = subprocess.run(line, cwd=ROOT, env=paths, capture_output=True, text=True, check=False)
    refused = {table[int(each) - 1] for each in re.findall(r"table\.py:(\d+): error", done.stdout)}
    assert refused == {f"{name}_: Adapter = {name}" for name in BROKEN if name != "whole"}, done.stdout


def charge(currency: str, minor: int = 1000) -> Charge:
    return Charge(Money(minor, currency), "cus_1", "pm_1")


@pytest.mark.parametrize(
    ("name", "currency"),
    [
        *(("stripe", each) for each in ("IQD", "LYD", "CLF", "UYI", "XXX", "usd")),
        *(("yookassa", each) for each in ("JPY", "BHD", "CLF", "GBP", "XXX")),
        *(("paystack", each) for each in ("XOF", "RWF", "EUR", "JPY", "XXX")),
    ],
)
def test_a_currency_that_it_does_not_list_is_refused(name: str, currency: str) -> None:
    amount = Money(1000, currency)
    requests: list[Request] = [Refund("p", amount)]
    if name != "paystack":
        requests += [charge(currency), Capture("p", amount)]
    for each in requests:
        with pytest.raises(UnrepresentableError, match=currency):
            compose(name, each, "key")


@pytest.mark.parametrize("currency", ["GHS", "KES", "NGN", "USD", "ZAR"])
def test_paystack_counts_in_hundredths(currency: str) -> None:
    assert compose("paystack", Refund("r", Money(12345, currency)), "key")["document"]["amount"] == 12345


@pytest.mark.parametrize("minor", [1, 10, 99, 100, 12345, 10**15])
def test_what_yookassa_is_told_reads_back_the_same(minor: int) -> None:
    assert money(written(Money(minor, "RUB"))) == Money(minor, "RUB")


@pytest.mark.parametrize("payment", ["", ".", "..", "\ud800"])
@pytest.mark.parametrize("name", PROVIDERS)
def test_what_would_lead_to_another_path_is_not_asked(name: str, payment: str) -> None:
    with answering([(200, {})]) as mock, Providers(settings(), means()) as providers:
        assert isinstance(providers.retrieve(name, payment), Unknown)
        assert len(mock.calls) == 0
    asked: list[Request] = [Capture(payment, Money(1000, "USD")), Release(payment)]
    for each in asked:
        with pytest.raises(UnrepresentableError):
            compose(name, each, "key")


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_number_is_one_segment_of_a_path(name: str) -> None:
    with answering([(200, {})]) as mock, Providers(settings(), means()) as providers:
        providers.retrieve(name, "a/../b?c#d%2e")
        assert mock.calls[0].request.path_url.partition("?")[0].endswith("/a%2F..%2Fb%3Fc%23d%252e")
    if name != "paystack":
        assert "/a%2Fb/" in compose(name, Release("a/b"), "key")["path"]


PAID = {
    "status": "succeeded",
    "captured_at": "2026-03-02T12:00:00Z",
    "amount": {"value": "1", "currency": "RUB"},
}
EVENT = {"id": "evt_1", "type": "payment_intent.succeeded", "created": 1_772_452_800}
WITHOUT = {
    "stripe": {"object": "list", "has_more": False, "data": [{**EVENT, "data": {"object": {"amount": 1}}}]},
    "yookassa": {"type": "list", "items": [PAID]},
    "paystack": {
        "status": True,
        "data": [{"status": "success", "amount": 1, "currency": "NGN"}],
        "meta": {"total": 1, "page": 1, "pageCount": 1, "perPage": 100},
    },
}


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_list_with_a_payment_that_has_no_number_is_not_complete(name: str) -> None:
    with answering([(200, WITHOUT[name])]), Providers(settings(), means()) as providers:
        with pytest.raises(ScopeDownError) as down:
            list(providers.listed(name, NOW - timedelta(hours=1), NOW))
        assert down.value.exit_code == Exit.UNREACHABLE


def test_no_connection_to_the_token_server_is_left_open() -> None:
    with HookServer() as server:
        server.default = Reply(400, {"Content-Type": "application/json"}, b"{}")
        tokens = Flutterwave(replace(settings(), flutterwave_token_url=server.url), means())
        with tokens:
            tokens.token(Ask("client", "secret", NOW))
            assert server.open == 1
        until(lambda: not server.open)


@pytest.mark.parametrize(
    ("metadata", "fits"),
    [
        ({"x" * 32: "y" * 512}, True),
        ({"x" * 33: "y"}, False),
        ({"x": "y" * 513}, False),
        ({str(n): "y" for n in range(15)}, True),
        ({str(n): "y" for n in range(16)}, False),
    ],
    ids=["longest", "name", "value", "most", "more"],
)
def test_what_yookassa_takes_as_metadata(metadata: dict[str, str], fits: bool) -> None:
    asked = Charge(Money(1000, "RUB"), "cus_1", "pm_1", metadata=metadata)
    with nullcontext() if fits else pytest.raises(UnrepresentableError):
        compose("yookassa", asked, "key")


@pytest.mark.parametrize("number", [None, "", 7, {"id": "pi_1"}])
def test_a_decline_without_a_payment_names_none(number: Any) -> None:
    """There is nothing that its customer could still complete."""
    told = of_card({"decline_code": "insufficient_funds"}, {"id": number, "status": "requires_action"})
    assert (told.payment_id, told.unfinished, told.retryable) == (None, False, True)


def test_words_of_a_provider_are_kept_as_far_as_somebody_reads_them() -> None:
    told = of_card({"code": "c" * 250, "message": " " + "word " * 60}, {})
    assert (told.code, told.reason) == ("c" * 200, "word " * 40)


@pytest.mark.parametrize("name", PROVIDERS)
def test_no_connection_is_left_open(name: str) -> None:
    with HookServer() as server:
        server.default = Reply(200, {"Content-Type": "application/json"}, b"{}")
        addresses: Any = dict.fromkeys(("stripe_api_base", "yookassa_api_base", "paystack_url"), server.url)
        providers = Providers(replace(settings(), **addresses), means())
        with providers:
            providers.retrieve(name, "payment-1")
            assert server.open == 1
        until(lambda: not server.open)


@pytest.mark.parametrize(
    ("key", "live"),
    [
        ("sk_live_1", True),
        ("rk_live_1", True),
        ("live_1", True),
        ("sk_test_1", False),
        ("rk_test_1", False),
        ("test_live", False),
        ("sk_1_live", None),
        ("abc", None),
        (None, None),
    ],
)
def test_a_key_tells_whether_it_moves_money(key: str | None, live: bool | None) -> None:
    assert moves_money(key) is live


@pytest.mark.parametrize("code", ["stolen_card", "lost_card", "pickup_card", "fraudulent", "expired_card"])
@pytest.mark.parametrize("where", ["code", "decline_code"])
def test_no_advice_makes_such_a_card_worth_another_try(code: str, where: str) -> None:
    error: dict[str, Any] = {"code": "card_declined", where: code, "advice_code": "try_again_later"}
    assert not of_card(error, {}).retryable
    assert of_card({"decline_code": "generic_decline", "advice_code": "try_again_later"}, {}).retryable
