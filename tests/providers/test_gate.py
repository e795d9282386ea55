"""When a provider is not asked: while it asks for a pause, and once it is of no use for the run."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from jobctl import pace
from jobctl.errors import Exit
from jobctl.parsing import Rate
from jobctl.providers import gate
from jobctl.providers import transport as transport_module
from jobctl.providers.transport import Reply, Transport
from tests import servers
from tests.payments import AUTHORIZER, Market
from tests.providers.ways import PATH, Hasty, Open, never, opening, unless_ok
from tests.servers import HookServer, closed_port

OK = servers.Reply(200, body=b'{"id": "1"}')
ELSEWHERE = "/v1/others"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def busy(seconds: object, status: int = 429) -> servers.Reply:
    return servers.Reply(status, {"Retry-After": str(seconds)}, b"{}")


@pytest.fixture
def stop() -> Hasty:
    return Hasty()


@pytest.fixture
def way(stop: Hasty) -> Iterator[Open]:
    yield from opening(stop)


@pytest.fixture
def server() -> Iterator[HookServer]:
    with HookServer() as server:
        server.default = OK
        yield server


def asked(transport: Transport, path: str = PATH) -> Reply:
    return transport.ask("POST", path, never)


class Passing:
    """A clock of which as much passes as was waited for."""

    def __init__(self, stop: Hasty) -> None:
        self.stop = stop

    def monotonic(self) -> float:
        return sum(self.stop.asked)


class TestPauses:
    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_pause_holds_for_every_request(
        self, server: HookServer, stop: Hasty, way: Open, status: int
    ) -> None:
        server.replies[ELSEWHERE] = busy(9, status)
        transport = way(server.url)
        asked(transport, ELSEWHERE)
        assert stop.longest < 1
        assert asked(transport).status == 200
        assert 8 < stop.longest <= 9

    def test_it_holds_for_who_has_a_turn_already(self, server: HookServer, stop: Hasty, way: Open) -> None:
        server.replies[ELSEWHERE] = busy(9)
        transport = way(server.url)

        def another() -> None:
            stop.then = lambda: None
            asked(transport, ELSEWHERE)

        stop.then = another  # while this one waits
        assert asked(transport).status == 200
        assert 8 < stop.longest <= 9

    def test_after_it_requests_keep_their_distance(self, server: HookServer, stop: Hasty, way: Open) -> None:
        server.replies[ELSEWHERE] = busy(5)
        transport = way(server.url, Rate(1, 1))
        for path in (ELSEWHERE, PATH, PATH):
            asked(transport, path)
        assert [round(each) for each in stop.asked] == [0, 5, 6]

    @pytest.mark.parametrize("status", [200, 202, 400, 409])
    def test_one_that_is_about_a_request_holds_no_other(
        self, server: HookServer, stop: Hasty, way: Open, status: int
    ) -> None:
        server.replies[ELSEWHERE] = busy(3600, status)
        transport = way(server.url)
        assert asked(transport, ELSEWHERE).closes is None
        assert asked(transport).status == 200
        assert stop.longest < 1

    def test_one_that_is_too_long_closes(self, server: HookServer, way: Open) -> None:
        server.replies[ELSEWHERE] = busy(10)
        transport = way(server.url, clock=lambda: NOW)
        first, second = asked(transport, ELSEWHERE), asked(transport)
        until = "it asks for no request before 2026-03-02 12:00:10 UTC"
        assert (first.status, first.closes, first.trouble) == (429, Exit.UNREACHABLE, until)
        assert (second.begun, second.tells, second.open) == (False, True, False)
        assert (second.closes, second.trouble) == (Exit.UNREACHABLE, until)
        assert len(server.requests) == 1

    def test_of_one_for_centuries_a_year_is_told(self, server: HookServer, way: Open) -> None:
        server.replies[ELSEWHERE] = busy(10**12)
        trouble = asked(way(server.url, clock=lambda: NOW), ELSEWHERE).trouble
        assert trouble == "it asks for no request before 2027-03-02 12:00:00 UTC"

    @pytest.mark.parametrize(("seconds", "closes"), [(7, None), (60, Exit.UNREACHABLE)])
    def test_it_may_be_told_as_a_date_of_the_providers_clock(
        self, server: HookServer, stop: Hasty, way: Open, seconds: int, closes: Exit | None
    ) -> None:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        server.replies[ELSEWHERE] = busy(format_datetime(at, usegmt=True))
        transport = way(server.url, clock=lambda: NOW)
        assert asked(transport, ELSEWHERE).closes is closes
        asked(transport)
        assert (5 < stop.longest <= 7) == (closes is None)

    def test_pauses_without_an_end_close(
        self, server: HookServer, stop: Hasty, way: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.replies[ELSEWHERE] = busy(9)
        passing = Passing(stop)
        for each in (pace, gate, transport_module):
            monkeypatch.setattr(each, "time", passing)
        transport = way(server.url, concurrency=100)

        def another() -> None:
            stop.then = lambda: None
            asked(transport, ELSEWHERE)
            stop.then = another

        stop.then = another
        reply = asked(transport)
        assert (reply.begun, reply.closes) == (False, Exit.UNREACHABLE)
        assert {each.path for each in server.requests} == {ELSEWHERE}
        assert len(server.requests) < 9

    def test_between_two_of_a_call_the_first_ones_answer_counts(self, server: HookServer, way: Open) -> None:
        server.default = busy(3600)
        reply = way(server.url).ask("POST", PATH, unless_ok)
        assert (reply.status, reply.begun, len(server.requests)) == (429, True, 1)


class TestFailures:
    @pytest.mark.parametrize(
        "failure",
        [
            servers.Reply(500, body=b"{}"),
            servers.Reply(503),
            servers.Reply(429, body=b"{}"),
            servers.Reply(200, body=b"<html>"),
            servers.Reply(404, body=b"<html>"),
            servers.Reply(drop=True),
        ],
        ids=["500", "503", "429", "garbage", "gateway", "dropped"],
    )
    def test_as_many_in_a_row_as_can_be_under_way_close(
        self, server: HookServer, way: Open, failure: servers.Reply
    ) -> None:
        server.default = failure
        transport = way(server.url, concurrency=5)
        replies = [asked(transport) for _ in range(7)]
        assert [each.closes for each in replies] == [None] * 4 + [Exit.UNREACHABLE] * 3
        assert [each.begun for each in replies] == [True] * 5 + [False] * 2
        assert len(server.requests) == 5

    def test_one_success_between_begins_the_count_anew(self, server: HookServer, way: Open) -> None:
        server.replies[ELSEWHERE] = servers.Reply(500)
        transport = way(server.url)
        for _ in range(3):
            assert [asked(transport, ELSEWHERE).closes for _ in range(3)] == [None] * 3
            asked(transport)

    @pytest.mark.parametrize("status", [200, 400, 402, 404, 409])
    def test_an_answer_is_no_failure(self, server: HookServer, way: Open, status: int) -> None:
        server.default = servers.Reply(status, body=b"{}")
        transport = way(server.url)
        assert {asked(transport).closes for _ in range(9)} == {None}

    def test_the_repeats_of_one_call_are_one_failure(self, server: HookServer, way: Open) -> None:
        server.default = servers.Reply(500)
        transport = way(server.url, concurrency=1)
        until = [5, 10, 11]

        def again(_: Reply) -> bool:
            return len(server.requests) < until[0] or not until.pop(0)

        replies = [transport.ask("GET", PATH, again) for _ in range(3)]
        assert [each.closes for each in replies] == [None, None, Exit.UNREACHABLE]

    def test_where_nobody_listens_it_is_closed_at_once(self, way: Open) -> None:
        assert asked(way(f"http://127.0.0.1:{closed_port()}")).closes is Exit.UNREACHABLE


@pytest.mark.parametrize("provider", ["stripe", "yookassa"])
class TestRuns:
    def test_a_pause_for_one_row_is_one_for_all(self, market: Market, provider: str) -> None:
        market.provider = provider
        orders = [market.order() for _ in range(60)]
        market.sandbox.fault("http_429", times=1000, seconds=60)
        done = market.run(AUTHORIZER)
        assert done.exit_code == Exit.UNREACHABLE
        assert market.sandbox.requests()["authorize"]["requests"] <= 16
        closed = [each for each in done.document["complaints"] if "closed" in each]
        assert len(closed) <= 2  # by an answer, and by what was not asked any more
        assert {market.status(each) for each in orders} == {"not_started"}
        assert market.unsettled() == []
        market.sandbox.clear_faults()
        market.pass_time(hours=1)
        assert market.run(AUTHORIZER).counts == {"held": 60}
        assert len(market.sandbox.ledger()) == 60

    def test_an_outage_leaves_as_many_open_as_were_under_way(self, market: Market, provider: str) -> None:
        market.provider = provider
        orders = [market.order() for _ in range(40)]
        market.sandbox.fault("http_500_before", times=1000)
        done = market.run(AUTHORIZER)
        assert done.exit_code == Exit.UNREACHABLE
        requests = market.sandbox.requests()["authorize"]["requests"]
        assert 16 <= requests < 32
        assert len(market.unsettled()) == requests
        assert {market.status(each) for each in orders} == {"not_started"}


class TestClocks:
    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            (NOW, timedelta()),
            (NOW - timedelta(seconds=2), timedelta()),
            (NOW + timedelta(hours=1), timedelta()),
            (NOW - timedelta(seconds=3), timedelta(seconds=3)),
            (NOW - timedelta(minutes=11), timedelta(minutes=11)),
            (None, None),
        ],
    )
    def test_how_far_a_clock_is_behind_ours(
        self, server: HookServer, way: Open, told: datetime | None, expected: timedelta | None
    ) -> None:
        transport = way(server.url, clock=lambda: NOW)
        assert transport.behind is None
        server.default = servers.Reply(200, {"Date": http_date(told)}, b"{}")
        asked(transport)
        assert transport.behind == expected

    def test_the_largest_difference_is_kept(self, server: HookServer, way: Open) -> None:
        transport = way(server.url, clock=lambda: NOW)
        seen = []
        for minutes in (2, 11, 0):
            server.default = servers.Reply(200, {"Date": http_date(NOW - timedelta(minutes=minutes))}, b"{}")
            asked(transport)
            seen.append(transport.behind)
        assert seen == [timedelta(minutes=minutes) for minutes in (2, 11, 11)]

    def test_a_slow_answer_is_no_difference(self, server: HookServer, way: Open) -> None:
        moments = iter([NOW, NOW + timedelta(minutes=1)])
        transport = way(server.url, clock=lambda: next(moments))
        server.default = servers.Reply(200, {"Date": http_date(NOW)}, b"{}")
        asked(transport)
        assert transport.behind == timedelta()


def http_date(at: datetime | None) -> str:
    return format_datetime(at, usegmt=True) if at else "soon"


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/v1/things/..",
            "/v1/things/../others/x",
            "/v1/./x",
            "/v1/things/%2e%2E/x",
            "/v1/things/",
            "/v1/things//capture",
            "/v1/things/a b",
            "/v1/things/a?b=c",
            "/v1/things/a#b",
            "/v1/things/a\\b",
            "/v1/things/é",
            "/v1/things/a\n",
            "things",
        ],
    )
    def test_one_that_leads_elsewhere_is_not_sent(self, server: HookServer, way: Open, path: str) -> None:
        reply = asked(way(server.url), path)
        assert server.requests == []
        assert (reply.tells, reply.closes, reply.open) == (True, None, False)
        assert "not sent" in reply.trouble

    @pytest.mark.parametrize("path", ["", "/v1/pi_1.2-3~4", "/a/%2F%3F", "/v1/...", "/v1/a..b"])
    def test_any_other_is(self, server: HookServer, way: Open, path: str) -> None:
        assert asked(way(server.url), path).status == 200
        assert [each.path for each in server.requests] == [path or "/"]
