"""What the monitor asks, prints and changes, with a billing service on the wire."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from sqlalchemy import insert, select, text, update

from jobctl import __version__, db
from jobctl.errors import Exit, MisconfiguredError, UsageError
from jobctl.sandbox import BILLING_KEY, Sandbox
from jobctl.sandbox.protocol import Answer, Request
from jobctl.tables.checkout import checkout_session
from jobctl.tables.frame import idle_runs, runs
from tests.servers import HookServer, Reply, closed_port
from tests.test_processes import Hurried
from tests.world import NOW, Done, World, ago, ahead

JOB = "checkout-session-monitor"
WHEN = "[2026-03-02T12:00:00.000Z]"
ALL_IS_WELL: Callable[[Request], None] = lambda _: None  # noqa: E731 (it has a type so)


@dataclass
class Watched(Sandbox):
    """A sandbox that remembers what was asked, and how much of it at once."""

    before: Callable[[Request], None] = ALL_IS_WELL
    asked: list[str] = field(default_factory=list)
    most: int = 0
    most_of_one: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.under_way: Counter[str] = Counter()
        self.guard = threading.Lock()

    def respond(self, request: Request) -> Answer | None:
        with self.guard:
            self.asked.append(request.path)
            self.under_way[request.path] += 1
            self.most = max(self.most, self.under_way.total())
            self.most_of_one = max(self.most_of_one, self.under_way[request.path])
        try:
            self.before(request)
            return super().respond(request)
        finally:
            with self.guard:
                self.under_way[request.path] -= 1


@dataclass
class Till:
    """A world whose checkout sessions are known to a billing service."""

    world: World
    service: Watched

    def __post_init__(self) -> None:
        self.world.configure(
            apikey=BILLING_KEY, billing_base_url=self.service.url, billing_timeout=timedelta(seconds=5)
        )

    def open(self, name: str, number: str | None = "", *, known: bool = True, **values: Any) -> str:
        """Open a session a minute ago; the service knows it by the number that it is given."""
        number = f"checkout_{name}" if number == "" else number
        given = {"id": name, "billing_checkout_id": number, "opened_at": ago(minutes=1), **values}
        with self.world.engine.begin() as connection:
            connection.execute(insert(checkout_session).values(given))
        if number and known:
            self.service.checkout(number)
        return name

    def several(self, count: int) -> list[str]:
        return [self.open(f"s{n}") for n in range(count)]

    def run(self, **options: Any) -> Done:
        return self.world.run(JOB, **options)

    def lines(self, **options: Any) -> list[str]:
        return self.run(as_json=False, **options).out.splitlines()

    def of(self, name: str) -> Any:
        (row,) = (each for each in self.world.rows(checkout_session) if each.id == name)
        return row

    def statuses(self) -> dict[str, str]:
        return {each.id: each.status for each in self.world.rows(checkout_session)}

    def environment(self) -> dict[str, str]:
        return {"APIKEY": BILLING_KEY, "BILLING_BASE_URL": self.service.url}


@contextmanager
def tills(world: World) -> Iterator[Till]:
    with Watched() as service:
        yield Till(world, service)


@pytest.fixture
def till(world: World) -> Iterator[Till]:
    with tills(world) as made:
        yield made


def test_one_connection_serves_for_many_questions(till: Till) -> None:
    till.several(12)
    with HookServer() as server:
        server.default = Reply(200, {"Content-Type": "application/json"}, b'{"status": "active"}')
        till.world.configure(billing_base_url=server.url)
        assert till.run(concurrency=1).exit_code == Exit.DONE
        assert (len(server.requests), server.connections) == (12, 1)
        assert {each.headers["user-agent"] for each in server.requests} == {f"jobctl/{__version__}"}


def test_each_tick_tells_of_its_own(till: Till) -> None:
    till.several(2)
    till.world.stop = Hurried()
    lines = till.lines(every=timedelta(seconds=10), lasting=timedelta(seconds=30))
    ends = [each.partition("complete: ")[2] for each in lines if "complete: " in each]
    assert ends == ["2 success, 0 errors"] * 3


class TestLines:
    """They are the source's, letter by letter."""

    def test_of_active_sessions(self, till: Till) -> None:
        till.open("abc123", "checkout_xyz789", opened_at=ago(minutes=2))
        till.open("def456", "checkout_abc123")
        first, *checked, last = till.lines()
        assert first == f"🔍 {WHEN} Checking 2 open checkout sessions..."
        assert sorted(checked) == [
            "✅ Success: Checkout session abc123 (checkout_xyz789) is still active",
            "✅ Success: Checkout session def456 (checkout_abc123) is still active",
        ]
        assert last == f"📊 {WHEN} Checkout session check complete: 2 success, 0 errors"

    def test_with_none_open_the_first_alone(self, till: Till) -> None:
        till.open("abc123", status="success")
        assert till.lines() == [f"🔍 {WHEN} Checking 0 open checkout sessions..."]
        assert (till.world.rows(runs), till.world.rows(idle_runs)[0].idle_runs) == ([], 1)

    def test_of_another_status(self, till: Till) -> None:
        till.open("abc123", "checkout_xyz789", known=False)
        _, line, last = till.lines()
        assert re.fullmatch(r"ℹ️ Checkout session abc123 \(checkout_xyz789\) returned status 404", line)  # noqa: RUF001
        assert last.endswith("complete: 0 success, 1 other, 0 errors")

    def test_of_an_error(self, till: Till) -> None:
        till.open("abc123", "checkout_xyz789")
        till.service.fault("dropped")
        _, line, last, sentence = till.lines()
        assert line == "❌ Error checking session abc123 (checkout_xyz789): the connection was dropped"
        assert last == f"📊 {WHEN} Checkout session check complete: 0 success, 1 errors"
        assert "jobctl runs show 1" in sentence

    def test_of_a_time_out(self, till: Till) -> None:
        till.open("abc123", "checkout_xyz789")
        till.world.configure(billing_timeout=timedelta(milliseconds=50))
        till.service.fault("delay", seconds=20)
        line = till.lines()[1]
        assert line == ("⏰ Timeout: Checkout session request timed out for session abc123 (checkout_xyz789)")

    def test_a_quiet_run_prints_none(self, till: Till) -> None:
        till.open("abc123")
        assert till.lines(verbosity=-1) == []

    def test_with_json_they_are_aside(self, till: Till) -> None:
        till.open("abc123")
        done = till.run()
        assert (done.counts, len(done.err.splitlines())) == ({"success": 1}, 3)

    def test_what_somebody_called_a_session_breaks_no_line(self, till: Till) -> None:
        till.open("one\ntwo\x1b[2J", "check\rout")
        assert "session one two\\x1b[2J (check\\rout) is" in till.lines()[1]


class TestAnswers:
    @pytest.mark.parametrize("status", [204, 302, 400, 404, 409, 410, 429, 500, 503])
    def test_other_statuses_are_no_errors(self, till: Till, status: int) -> None:
        till.open("abc123")
        till.service.checkout("checkout_abc123", http_status=status)
        done = till.run()
        assert (done.exit_code, done.counts) == (Exit.DONE, {"other": 1})

    @pytest.mark.parametrize("fault", ["dropped", "lost_answer"])
    def test_one_failure_stops_no_other(self, till: Till, fault: str) -> None:
        till.several(12)
        till.service.checkout("checkout_s3", http_status=500)
        till.service.fault(fault, contains="checkout_s5")
        till.open("nameless", None)
        done = till.run(concurrency=4)
        assert (done.exit_code, done.counts) == (
            Exit.ITEMS_FAILED,
            {"success": 10, "other": 1, "error": 2},
        )
        reasons = {each.row_key: each.error for each in till.world.errors()}
        assert reasons == {"s5": "the connection was dropped", "nameless": "it has no billing_checkout_id"}

    def test_a_service_that_is_not_there(self, till: Till) -> None:
        """Each is an error with its reason, and the run says that it is out of reach."""
        till.several(3)
        till.world.configure(billing_base_url=f"http://127.0.0.1:{closed_port()}")
        done = till.run()
        assert (done.exit_code, done.counts) == (Exit.UNREACHABLE, {"error": 3})
        assert len(done.document["complaints"]) == 1

    @pytest.mark.parametrize("fault", ["http_401", "http_403"])
    def test_a_refused_key_stops_the_run(self, till: Till, fault: str) -> None:
        till.several(20)
        till.service.fault(fault, times=20)
        done = till.run(concurrency=2, as_json=False)
        assert done.exit_code == Exit.MISCONFIGURED
        assert len(till.service.asked) <= 2
        failed = re.search(r"0 success, (\d+) errors, (\d+) not asked", done.out)
        assert failed
        assert int(failed[1]) + int(failed[2]) == 20
        assert till.run(concurrency=2).counts["error"] > 0
        assert set(till.statuses().values()) == {"open"}

    def test_no_key_no_call(self, till: Till) -> None:
        till.open("abc123")
        till.world.configure(apikey=None)
        done = till.run()
        assert (done.exit_code, till.service.asked) == (Exit.MISCONFIGURED, [])
        assert "APIKEY not found in environment variables" in done.document["complaints"][0]
        with pytest.raises(MisconfiguredError, match="APIKEY"):
            till.run(dry_run=True)

    @pytest.mark.parametrize("number", [".", "..", ""])
    def test_a_number_that_names_another_place_is_not_asked_about(self, till: Till, number: str) -> None:
        till.open("abc123", known=False)
        with till.world.engine.begin() as connection:
            connection.execute(update(checkout_session).values(billing_checkout_id=number))
        done = till.run()
        assert (done.exit_code, done.counts, till.service.asked) == (Exit.ITEMS_FAILED, {"error": 1}, [])

    @pytest.mark.parametrize("number", ["a/b", "a?b=c#d", "ü %2F", "-" * 300])
    def test_any_other_number_is_asked_about_as_it_is(self, till: Till, number: str) -> None:
        till.open("abc123", number)
        assert till.run().counts == {"success": 1}
        (path,) = till.service.asked
        assert unquote(path) == f"/billing/api/v1/paysession/{number}"

    def test_the_service_may_be_below_a_path(self, till: Till) -> None:
        till.open("abc123")
        till.world.configure(billing_base_url=f"{till.service.url}/inner")
        assert till.run().counts == {"other": 1}
        assert till.service.asked == ["/inner/billing/api/v1/paysession/checkout_abc123"]


class TestUpdates:
    @pytest.mark.parametrize("status", ["success", "failure", "timeout"])
    def test_a_final_status_is_stored(self, till: Till, status: str) -> None:
        till.world.configure(checkout_update_status=True)
        till.open("abc123")
        till.service.checkout("checkout_abc123", status)
        shown, done = till.world.foretold(JOB)
        assert [each[:3] for each in shown] == [
            ("checkout_session", "abc123", {"status": "open", "closed_at": None})
        ]
        (audit,) = till.world.trail()
        assert (audit.row_id, audit.row_key, audit.before["status"]) == (None, "abc123", "open")
        assert done[0][3]["status"] == status
        assert (till.of("abc123").status, till.of("abc123").closed_at >= NOW) == (status, True)
        assert till.run().counts == {}

    @pytest.mark.parametrize("status", ["open", "SUCCESS", "paid", "", "expired"])
    def test_any_other_leaves_it_open(self, till: Till, status: str) -> None:
        till.world.configure(checkout_update_status=True)
        till.open("abc123")
        till.service.checkout("checkout_abc123", status)
        assert (till.run().counts, till.statuses()) == ({"success": 1}, {"abc123": "open"})

    def test_unless_it_is_asked_for_nothing_is_stored(self, till: Till) -> None:
        till.open("abc123", opened_at=ago(days=9))
        till.service.checkout("checkout_abc123", "success")
        till.run()
        assert (till.statuses(), till.world.trail()) == ({"abc123": "open"}, [])

    @pytest.mark.parametrize(
        ("path", "more", "becomes"),
        [
            ("state", {"state": "failure"}, "failure"),
            ("data.order.state", {"data": {"order": {"state": "timeout"}}}, "timeout"),
            ("data.order.state", {"data": {"order": "timeout"}}, "open"),
            ("data.state", {"data": None}, "open"),
            ("state", {"state": 1}, "open"),
            ("state", {"state": ["success"]}, "open"),
        ],
        ids=str,
    )
    def test_the_field_may_be_another(
        self, till: Till, path: str, more: dict[str, Any], becomes: str
    ) -> None:
        till.world.configure(checkout_update_status=True, checkout_status_field=path)
        till.open("abc123")
        till.service.checkout("checkout_abc123", "success", **more)
        till.run()
        assert till.statuses() == {"abc123": becomes}

    @pytest.mark.parametrize("fault", ["garbage", "empty"])
    def test_a_body_that_says_nothing_changes_nothing(self, till: Till, fault: str) -> None:
        till.world.configure(checkout_update_status=True)
        till.open("abc123", opened_at=ago(days=9))
        till.service.fault(fault)
        assert (till.run().counts, till.statuses()) == ({"success": 1}, {"abc123": "open"})

    @pytest.mark.parametrize(("size", "becomes"), [(64 * 1024, "success"), (64 * 1024 + 1, "open")])
    def test_no_more_than_64_kib_of_a_body_are_read(self, till: Till, size: int, becomes: str) -> None:
        till.open("abc123")
        with HookServer() as server:
            body = b'{"status": "success"}'.ljust(size)
            server.default = Reply(200, {"Content-Type": "application/json"}, body)
            till.world.configure(checkout_update_status=True, billing_base_url=server.url)
            assert (till.run().counts, till.statuses()) == ({"success": 1}, {"abc123": becomes})

    @pytest.mark.parametrize("opened", [ago(hours=24), ago(hours=23, minutes=59)], ids=["old", "young"])
    @pytest.mark.parametrize(
        ("says", "http_status", "times_out"),
        [
            ("open", 200, True),
            ("whatever", 200, False),
            ("SUCCESS", 200, False),
            ("", 200, False),
            ("open", 404, True),
            ("open", 500, False),
            ("open", 410, False),
        ],
    )
    def test_an_old_one_times_out_once_it_is_surely_not_paid(
        self, till: Till, opened: datetime, says: str, http_status: int, *, times_out: bool
    ) -> None:
        till.world.configure(checkout_update_status=True)
        till.open("abc123", opened_at=opened)
        till.service.checkout("checkout_abc123", says, http_status)
        till.run()
        expected = "timeout" if times_out and opened == ago(hours=24) else "open"
        assert till.statuses() == {"abc123": expected}

    def test_an_old_one_that_was_paid_is_a_success(self, till: Till) -> None:
        till.world.configure(checkout_update_status=True)
        till.open("abc123", opened_at=ago(days=9))
        till.service.checkout("checkout_abc123", "success")
        till.run()
        assert till.statuses() == {"abc123": "success"}

    @pytest.mark.parametrize("fault", ["dropped", "lost_answer"])
    def test_an_old_one_that_nobody_could_ask_about_stays_open(self, till: Till, fault: str) -> None:
        till.world.configure(checkout_update_status=True)
        till.open("abc123", opened_at=ago(days=9))
        till.service.fault(fault)
        till.run()
        assert till.statuses() == {"abc123": "open"}

    def test_what_the_application_writes_meanwhile_stands(self, till: Till) -> None:
        till.world.configure(checkout_update_status=True)
        till.open("abc123")
        till.service.checkout("checkout_abc123", "timeout")
        closing = update(checkout_session).values(status="success", closed_at=ago(minutes=0))

        def webhook(_: Request) -> None:
            with till.world.engine.begin() as connection:
                connection.execute(closing)

        till.service.before = webhook
        done = till.run()
        assert done.counts == {"changed meanwhile": 1}
        assert "0 success, 0 errors, 1 closed meanwhile" in done.err
        assert (till.of("abc123").status, till.of("abc123").claimed_by) == ("success", None)


class TestSelection:
    def test_only_open_ones(self, till: Till) -> None:
        for status in ("success", "failure", "timeout"):
            till.open(status, status=status)
        till.open("coming", opened_at=ahead(minutes=1))
        assert till.run().counts == {}

    def test_options(self, till: Till) -> None:
        till.open("old", opened_at=ago(hours=2))
        till.open("middle", opened_at=ago(hours=1))
        till.open("new")
        till.run(since=ago(hours=1))
        assert {each[-6:] for each in till.service.asked} == {"middle", "ut_new"}
        till.service.asked.clear()
        assert till.lines(limit=1)[0].endswith("Checking 1 open checkout sessions...")
        till.run(only="new")
        assert [each[-4:] for each in till.service.asked] == ["_old", "_new"]

    def test_only_takes_the_text_that_names_a_session(self, till: Till) -> None:
        till.open("17")
        assert till.run(only="17").counts == {"success": 1}
        with pytest.raises(UsageError, match="whole number"):
            till.world.run("expire-payments", only="abc")

    def test_the_application_need_not_say_when_it_opened_one(self, till: Till) -> None:
        with till.world.engine.begin() as connection:
            connection.execute(
                text("INSERT INTO checkout_session (id, billing_checkout_id) VALUES ('a', 'c')")
            )
            assert connection.scalar(select(checkout_session.c.status)) == "open"
        till.service.checkout("c")
        assert till.run(now=None).counts == {"success": 1}


class TestManyAtOnce:
    def test_as_many_as_there_are_places(self, till: Till) -> None:
        till.several(30)
        full = threading.Barrier(5)  # opens for five that are there at once

        def meet(_: Request) -> None:
            full.wait(10)

        till.service.before = meet
        assert till.run(concurrency=5).counts == {"success": 30}
        assert till.service.most == 5

    def test_runs_that_share_the_work_ask_once(self, till: Till) -> None:
        till.several(40)
        till.service.latency = 0.02
        command = (JOB, "--share", "--concurrency", "4", "--json")
        processes = [till.world.process(*command, **till.environment()) for _ in range(2)]
        done = [each.communicate(timeout=60) for each in processes]
        assert [each.returncode for each in processes] == [Exit.DONE, Exit.DONE], done
        # One that begins when the other is through asks again.
        assert till.service.most_of_one == 1
        assert set(Counter(till.service.asked).values()) <= {1, 2}
        assert {each.claimed_by for each in till.world.rows(checkout_session)} == {None}

    def test_of_an_active_session_nothing_is_written(self, till: Till) -> None:
        """Every five seconds that would be much for nothing."""
        till.several(3)
        before, asking = till.world.everything()["checkout_session"], list[Any]()
        till.service.before = lambda _: asking.append(till.world.everything()["checkout_session"])
        assert till.run(concurrency=1).counts == {"success": 3}
        assert asking == [before] * 3
        assert till.world.everything()["checkout_session"] == before

    def test_a_slow_service_piles_nothing_up(self, till: Till) -> None:
        till.several(3)
        till.service.latency = 0.15
        loop = ("--every", "50ms", "--for", "600ms")
        done = till.world.call(JOB, *loop, **till.environment())
        assert done.exit_code == Exit.DONE
        ticks = len(re.findall("🔍", done.out))
        assert (till.service.most_of_one, till.service.most) == (1, 3)
        assert len(till.service.asked) == 3 * ticks <= 3 * 5
        assert len(till.world.rows(runs)) == 1

    def test_what_a_killed_run_had_is_asked_about_by_the_next(self, till: Till) -> None:
        till.several(6)
        arrived = threading.Semaphore(0)
        go_on = threading.Event()

        def hold(_: Request) -> None:
            arrived.release()
            go_on.wait(20)

        till.service.before = hold
        process = till.world.process(JOB, "--share", "--concurrency", "3", **till.environment())
        for _ in range(3):
            assert arrived.acquire(timeout=20)
        process.kill()
        process.communicate()
        go_on.set()
        assert {each.claimed_by for each in till.world.rows(checkout_session)} > {None}
        assert till.run(now=None, dry_run=True).counts == {"success": 6}
        done = till.run(now=None)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"success": 6})
        assert {each.claimed_by for each in till.world.rows(checkout_session)} == {None}
        assert [each.outcome for each in till.world.rows(runs)] == ["died", "done"]

    def test_a_dry_run_is_as_many_at_once_and_stops_as_well(self, till: Till) -> None:
        till.several(20)
        till.service.fault("http_401", times=20)
        assert till.run(dry_run=True, concurrency=2).exit_code == Exit.MISCONFIGURED
        assert till.service.most <= 2
        assert len(till.service.asked) <= 2

    @pytest.mark.only("postgresql")
    def test_a_session_in_others_hands_keeps_nobody_else_waiting(
        self, till: Till, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(db, "BRIEFLY", timedelta(milliseconds=50))
        monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=100))
        till.world.configure(checkout_update_status=True)
        for each in till.several(3):
            till.service.checkout(f"checkout_{each}", "success")
        with till.world.engine.connect() as rival, rival.begin():
            held = checkout_session.c.id == "s1"
            rival.execute(update(checkout_session).where(held).values(billing_order_id="order_1"))
            done = till.run()
            rival.rollback()
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"success": 2, "error": 1})
        assert till.statuses() == {"s0": "success", "s1": "open", "s2": "success"}

    @pytest.mark.only("postgresql")
    def test_one_that_stays_locked_is_named_where_runs_share_the_work(
        self, till: Till, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that were asked about stay due as well, and are not asked twice."""
        monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=50))
        till.several(12)
        with till.world.engine.connect() as rival, rival.begin():
            locked = select(checkout_session.c.id).where(checkout_session.c.id == "s5")
            rival.execute(locked.with_for_update())
            done = till.run(share=True)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"success": 11, "failed": 1})
        assert till.world.failed(done) == ["s5"]
        assert len(till.service.asked) == 11

    def test_a_session_that_cannot_be_claimed_keeps_no_other(self, till: Till) -> None:
        """Where runs share the work they claim; what is asked about in between stays as it was."""
        till.several(12)
        till.world.forbid(checkout_session, "NEW.id = 's5' AND NEW.claimed_by IS NOT NULL")
        for _ in range(2):
            done = till.run(share=True)
            assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"success": 11, "failed": 1})
            assert till.world.failed(done) == ["s5"]
        assert {each.claimed_by for each in till.world.rows(checkout_session)} == {None}

    def test_a_status_that_cannot_be_stored_is_an_error_of_its_own(self, till: Till) -> None:
        till.world.configure(checkout_update_status=True)
        for each in till.several(3):
            till.service.checkout(f"checkout_{each}", "success")
        till.world.forbid(checkout_session, "NEW.id = 's1' AND NEW.status = 'success'")
        done = till.run()
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"success": 2, "error": 1})
        assert till.world.failed(done) == ["s1"]
