"""Which provider a run asks, and when it asks the wrong place."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.job import Means, ScopeDownError
from jobctl.parsing import rate
from jobctl.providers.protocol import NotFound, Paid, Pending, UnrepresentableError
from jobctl.providers.switchboard import (
    PROVIDERS,
    Providers,
    horizon,
    key_lives,
    listed_after,
    module_of,
    repeats_500,
)
from jobctl.sandbox import PAYSTACK_SECRET_KEY, Sandbox
from jobctl.settings import Settings
from jobctl.steps.running import Stop
from tests.world import NOW


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        made.set_clock(NOW)
        yield made


@pytest.fixture
def providers(sandbox: Sandbox) -> Iterator[Providers]:
    given: dict[str, Any] = {"paystack_secret_key": PAYSTACK_SECRET_KEY, "paystack_url": sandbox.url}
    settings = Settings(**given, paystack_rate_limit=rate("100000/s"))
    with Providers(settings, Means(Stop(timedelta()), 4, io.StringIO())) as made:
        yield made


def pay(sandbox: Sandbox, reference: str, **values: Any) -> None:
    sandbox.pay("paystack", 5000, "NGN", reference=reference, at=NOW, **values)


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_tells_what_becomes_of_its_keys_and_its_lists(name: str) -> None:
    assert repeats_500(name) <= bool(key_lives(name)), "without a key nothing is repeated"
    assert key_lives(name) <= horizon(name)
    assert timedelta() < listed_after(name) < horizon(name)


def test_one_that_there_is_not_is_refused() -> None:
    with pytest.raises(UnrepresentableError):
        module_of("paypal")


class TestTheRightPlace:
    def test_a_run_that_finds_nothing_of_what_it_asks_about_asks_elsewhere(
        self, providers: Providers
    ) -> None:
        for n in range(2):
            assert providers.retrieve("paystack", f"r{n}") == NotFound()
        for _ in range(2):  # and so it stays
            with pytest.raises(ScopeDownError) as down:
                providers.retrieve("paystack", "r2")
            assert (down.value.scope, down.value.exit_code) == ("paystack", Exit.MISCONFIGURED)
        assert not providers.found("paystack")

    def test_once_it_is_certain_nothing_more_is_asked(self, providers: Providers, sandbox: Sandbox) -> None:
        for n in range(5):
            with pytest.raises(ScopeDownError) if n > 1 else nullcontext():
                providers.retrieve("paystack", f"r{n}")
        assert sandbox.requests()["retrieve"]["requests"] == 3

    def test_one_in_ten_is_found_there(self, providers: Providers, sandbox: Sandbox) -> None:
        pay(sandbox, "there")
        assert isinstance(providers.retrieve("paystack", "there"), Paid)
        assert providers.found("paystack")
        for n in range(10):
            assert providers.retrieve("paystack", f"r{n}") == NotFound(proved=True)
        with pytest.raises(ScopeDownError, match="of 12 payments asked about it has 1:"):
            providers.retrieve("paystack", "r10")

    def test_what_is_not_decided_is_there_too(self, providers: Providers, sandbox: Sandbox) -> None:
        pay(sandbox, "begun", status="abandoned")
        assert providers.retrieve("paystack", "begun") == Pending("begun")
        assert providers.found("paystack")
        assert not providers.found("stripe")

    def test_many_threads_count_as_one(self, providers: Providers) -> None:
        def ask(n: int) -> bool:
            try:
                return providers.retrieve("paystack", f"r{n}") == NotFound()
            except ScopeDownError:
                return False

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(ask, range(40))) <= 2
        assert len(providers.opened) == 1
