"""Lists are complete by the provider's own word, and looked through by the provider's own clock."""

import io
import itertools
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import responses

from jobctl.job import Means, ScopeDownError
from jobctl.providers import pages
from jobctl.providers.protocol import Answer, Inquiry, NotListed, Paid, Succeeded, Unknown
from jobctl.providers.switchboard import Providers
from jobctl.sandbox import Sandbox
from jobctl.steps.running import Stop
from tests.providers.meanings import BASE, KEY, means, settings
from tests.providers.test_contract import SIDES, Side, There
from tests.providers.test_contract import settings as settings_at
from tests.providers.ways import Hasty
from tests.world import NOW

BODIES: dict[str, Any] = {
    "stripe": lambda n: {"data": [{"id": f"pi_{n}", "type": "x", "data": {"object": {}}}], "has_more": True},
    "yookassa": lambda n: {"type": "list", "items": [{"id": f"{n}"}], "next_cursor": f"c{n}"},
    "paystack": lambda n: {
        "status": True,
        "data": [{"id": n, "reference": f"r{n}"}],
        "meta": {"page": n, "pageCount": n + 1, "total": n + 1},
    },
}
LATE = timedelta(minutes=11)


@pytest.mark.parametrize("name", BODIES)
def test_a_list_without_an_end_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_PAGES", 5)
    count = itertools.count(1)

    def answer(_: object) -> tuple[int, dict[str, str], str]:
        return 200, {}, json.dumps(BODIES[name](next(count)))

    with responses.RequestsMock() as mock, Providers(settings(), means()) as providers:
        mock.add_callback("GET", re.compile(BASE), answer)
        with pytest.raises(ScopeDownError):
            list(providers.open(name).listed(NOW - timedelta(hours=1), NOW))
        assert len(mock.calls) == 5
        kind: Any = "refund" if name == "paystack" else "charge"
        assert isinstance(providers.open(name).look(Inquiry(kind, KEY, None, NOW)), Unknown)
        assert len(mock.calls) == 10


@pytest.mark.parametrize("name", BODIES)
def test_a_list_that_tells_no_time_proves_no_absence(name: str) -> None:
    empty = {
        "stripe": {"data": [], "has_more": False},
        "yookassa": {"type": "list", "items": []},
        "paystack": {"status": True, "data": [], "meta": {"page": 1, "pageCount": 0, "total": 0}},
    }
    kind: Any = "refund" if name == "paystack" else "charge"
    with responses.RequestsMock() as mock, Providers(settings(), means()) as providers:
        mock.get(re.compile(BASE), json=empty[name])
        assert isinstance(providers.open(name).look(Inquiry(kind, KEY, None, NOW)), Unknown)


class TestClocks:
    """The provider's clock is eleven minutes behind ours."""

    @pytest.fixture(params=SIDES, ids=lambda each: each.name)
    def there(self, request: pytest.FixtureRequest) -> Iterator[There]:
        side: Side = request.param
        stop = Hasty()
        with Sandbox() as sandbox:
            sandbox.set_clock(NOW - LATE)
            means = Means(stop, 1, io.StringIO(), clock=lambda: NOW)
            with Providers(settings_at(sandbox.url), means) as providers:
                yield There(side, sandbox, providers.open(side.name), lambda: providers.open(side.name), stop)

    def test_what_it_stamped_before_it_was_sent_is_found(self, there: There) -> None:
        there.ask(there.request("charge"))
        found: Answer = there.look("charge", None)
        assert isinstance(found, Succeeded)

    def test_how_much_earlier_was_looked_is_told(self, there: There) -> None:
        found = there.look("charge", None)
        assert isinstance(found, NotListed)
        assert str(LATE) in found.reason

    def test_what_was_paid_meanwhile_is_listed(self, there: There) -> None:
        payment = there.pay()
        window = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)
        (found,) = (each for page in there.provider.listed(*window) for each in page)
        assert isinstance(found, Paid)
        assert found.id == payment

    def test_so_is_what_one_stamped_that_is_behind_by_little_more_than_a_minute(self, there: There) -> None:
        there.sandbox.set_clock(NOW - timedelta(seconds=90))
        payment = there.pay()
        window = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)
        assert [each.id for page in there.provider.listed(*window) for each in page] == [payment]


def test_a_clock_that_is_as_ours_costs_no_second_list() -> None:
    with Sandbox() as sandbox:
        sandbox.set_clock(NOW)
        stopping = Means(Stop(timedelta()), 1, io.StringIO(), clock=lambda: NOW)
        with Providers(settings_at(sandbox.url), stopping) as providers:
            assert providers.open("stripe").look(Inquiry("charge", KEY, None, NOW)) == NotListed()
        assert sandbox.requests()["list"]["requests"] == 1
