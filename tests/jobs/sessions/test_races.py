"""Races, provoked on purpose: real processes with a request under way, and what happens meanwhile."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from jobctl import db
from jobctl.errors import Exit
from jobctl.sandbox import SECRET_KEY, Sandbox
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders, sessions
from tests.payments import AUTHORIZER, CANCELLER, PROCESSOR, SETTLER, Market
from tests.sandbox.client import until
from tests.world import World


@pytest.fixture
def market(world: World) -> Iterator[Market]:
    with Sandbox() as sandbox:
        yield Market(world, sandbox, datetime.now(UTC))


def begin(market: Market, job: str) -> "subprocess.Popen[str]":
    """Start a real run that shares its job."""
    address = {"STRIPE_API_BASE": market.sandbox.url, "STRIPE_SECRET_KEY": SECRET_KEY}
    return market.world.process(job, "--share", **address)


@contextmanager
def under_way(market: Market, job: str, call: str) -> Iterator["subprocess.Popen[str]"]:
    """Lend a run whose one request has come to the provider, which answers once this is left."""
    market.sandbox.fault("delay", call, seconds=600)
    process = begin(market, job)
    until(lambda: not market.sandbox.faults())
    try:
        yield process
    finally:
        market.sandbox.wake()
        process.communicate(timeout=60)


def coming(market: Market) -> int:
    starts_at = market.now + timedelta(hours=1)
    return market.order(market.session(starts_at=starts_at, ends_at=starts_at + timedelta(hours=1)))


def held(market: Market) -> int:
    """Add an order with a hold, of a session that has taken place."""
    order = coming(market)
    assert market.run(AUTHORIZER).counts == {"held": 1}
    over = {"status": "ended", "attendance": "all_present", "ended_at": market.now}
    market.world.change(sessions, market.of(orders, order).session_id, **over)
    return order


def cancel(market: Market, order: int) -> None:
    market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")


def forget(market: Market, **values: object) -> None:
    """Take the open operations from the run that has them, as if it had been taken for dead."""
    found = update(money_operations).where(money_operations.c.settled_at.is_(None))
    with market.world.engine.begin() as connection:
        connection.execute(found.values(claimed_by=None, answer_by=market.now, **values))


def test_a_session_cancelled_while_its_hold_is_under_way(market: Market) -> None:
    order = coming(market)
    with under_way(market, AUTHORIZER, "authorize") as run:
        cancel(market, order)
    assert (run.returncode, market.status(order)) == (Exit.DONE, "released")
    assert market.kinds(order) == [("authorize", "succeeded"), ("release", "succeeded")]
    market.agree()


def test_a_release_wanted_while_the_capture_is_under_way(market: Market) -> None:
    order = held(market)
    with under_way(market, PROCESSOR, "capture"):
        cancel(market, order)
        assert market.run(PROCESSOR, share=True).counts == {}
        done = market.run(SETTLER)
        assert (done.exit_code, done.counts) == (Exit.DONE, {}), "another run is at work on it"
    assert market.kinds(order)[1:] == [("capture", "succeeded"), ("refund", "succeeded")]
    market.agree()


def test_a_late_answer_after_another_run_has_settled_it(market: Market) -> None:
    """The provider has it twice by then; the journal says so, and the later one is undone."""
    order = coming(market)
    with under_way(market, AUTHORIZER, "authorize") as late:
        forget(market, code="http_500")
        assert market.run(AUTHORIZER, share=True).counts["unknown"] == 1  # one list that lacks it
        forget(market, missed_at=market.now - timedelta(minutes=10))
        assert market.run(AUTHORIZER, share=True).counts["rejected"] == 1
        market.run(AUTHORIZER, share=True)
        assert market.status(order) == "authorized"
    assert late.returncode == Exit.DONE
    assert market.kinds(order) == [
        ("authorize", "succeeded"),
        ("authorize", "succeeded"),
        ("release", "succeeded"),
    ]
    first, second, undo = market.operations(order)
    assert first.cycle != second.cycle
    assert (undo.payment_id, undo.follows) == (first.payment_id, first.id)
    assert market.of(orders, order).payment_id == second.payment_id
    market.agree()


def test_a_run_killed_while_its_request_is_under_way(market: Market) -> None:
    """Nobody asks before the answer is overdue; then it is found to have worked, once."""
    order = coming(market)
    with under_way(market, AUTHORIZER, "authorize") as run:
        run.kill()
        assert run.wait(60) == -signal.SIGKILL
        assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
    assert market.status(order) == "not_started"
    late = update(money_operations).values(answer_by=market.now)
    with market.world.engine.begin() as connection:
        connection.execute(late)
    assert market.run(SETTLER).counts == {"held": 1}
    market.agree()


@pytest.mark.only("postgresql")
def test_a_card_given_while_the_canceller_looks(market: Market) -> None:
    """Whoever has the order locked decides; the canceller passes it over."""
    given = {"payment_status": "authorization_failed", "payment_failed_at": market.now - timedelta(days=2)}
    order = coming(market)
    market.world.change(orders, order, **given)
    with market.world.engine.begin() as connection:
        another = update(orders).where(orders.c.id == order)
        connection.execute(another.values(payment_status="not_started", payment_failed_at=None))
        assert market.run(CANCELLER).counts.get("cancelled", 0) == 0
    assert market.run(CANCELLER).counts == {}
    assert market.of(orders, order).status == "complete"


@pytest.mark.only("postgresql")
def test_the_database_gone_while_requests_are_under_way(market: Market) -> None:
    """Nothing is sent after it is noticed, and nothing is doubled."""
    ids = [coming(market) for _ in range(3)]
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with under_way(market, AUTHORIZER, "authorize") as run:
        until(sent(market, 3))
        with market.world.engine.connect() as connection:
            connection.execute(end)
    assert run.returncode == Exit.UNREACHABLE
    market.world.engine.dispose()
    before = market.sandbox.requests()
    assert before["authorize"]["requests"] == 3
    assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
    assert market.sandbox.requests() == before
    forget(market)
    assert market.run(SETTLER).exit_code == Exit.DONE
    assert [market.status(each) for each in ids] == ["authorized"] * 3
    market.agree()


def sent(market: Market, count: int) -> Callable[[], bool]:
    return lambda: sum(each["requests"] for each in market.sandbox.requests().values()) >= count


def test_no_more_is_written_down_than_is_under_way(market: Market) -> None:
    """So that a run which is killed leaves no more open."""
    for _ in range(6):
        coming(market)
    market.sandbox.fault("delay", "authorize", times=2, seconds=3600)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(market.run, AUTHORIZER, concurrency=2)
        until(sent(market, 2))
        written = len(market.operations())
        market.sandbox.wake()
        assert run.result(30).counts == {"held": 6}
    assert written == 2


@pytest.mark.only("postgresql")
def test_an_order_that_somebody_has_locked_is_waited_for(market: Market) -> None:
    """It is held as soon as it is free, in the same run."""
    order, other = coming(market), coming(market)
    with ThreadPoolExecutor(1) as pool, market.world.engine.connect() as application:
        application.execute(select(orders).where(orders.c.id == order).with_for_update())
        run = pool.submit(market.run, AUTHORIZER)
        until(lambda: market.status(other) == "authorized")
        application.rollback()
        done = run.result(30)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"held": 2})


@pytest.mark.only("postgresql")
def test_one_that_is_free_again_before_the_run_is_through_is_not_missed(market: Market) -> None:
    """Nobody has it locked any more when the run looks for what it passed over."""
    order, _ = coming(market), coming(market)
    market.sandbox.fault("delay", "authorize", seconds=0.5)
    with ThreadPoolExecutor(1) as pool, market.world.engine.connect() as application:
        application.execute(select(orders).where(orders.c.id == order).with_for_update())
        run = pool.submit(market.run, AUTHORIZER)
        until(sent(market, 1))
        application.rollback()
        done = run.result(30)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"held": 2})


@pytest.mark.only("postgresql")
def test_one_that_stays_locked_is_named(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=200))
    order, _ = coming(market), coming(market)
    with market.world.engine.connect() as application:
        application.execute(select(orders).where(orders.c.id == order).with_for_update())
        done = market.run(AUTHORIZER)
        application.rollback()
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"held": 1, "failed": 1})
    assert [each.row_id for each in market.world.errors()] == [order]
    assert market.run(AUTHORIZER).counts == {"held": 1}
