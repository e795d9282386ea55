"""What is locked while answers are settled: whoever came between is seen, and not written over."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Executable, select, update

from jobctl.errors import Exit
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders, sessions
from tests import postgres
from tests.jobs.sessions.test_rules import BOTH, FAR, extended
from tests.payments import AUTHORIZER, CANCELLER, SETTLER, Market
from tests.rival import met_last, while_held
from tests.world import NOW, Done

pytestmark = pytest.mark.only("postgresql")
ours = money_operations.c


def lost(market: Market) -> int:
    """Add an order whose hold was placed, and whose answer got lost; it can be asked about by now."""
    order = market.order()
    market.sandbox.fault("lost_answer", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    market.pass_time(minutes=10)
    return order


def while_asking(market: Market, call: str, change: Executable, job: str) -> Done:
    """Run a job while another session makes a change once that call is under way; the answer comes then."""
    market.sandbox.fault("delay", call, seconds=600)
    once, then = (lambda: not market.sandbox.faults()), market.sandbox.wake
    return while_held(market.world, change, lambda: market.run(job), once=once, then=then)


@BOTH
def test_an_order_cancelled_while_its_hold_is_settled(market: Market, provider: str) -> None:
    """It is locked before it is read: the cancellation comes before the answer, and the hold is released."""
    market.provider = provider
    order = lost(market)
    cancel = update(orders).where(orders.c.id == order).values(status="cancelled", cancelled_at=NOW)
    done = while_held(market.world, cancel, lambda: market.run(SETTLER))
    assert done.counts == {"held and to be undone": 1, "released": 1}
    assert [each.kind for each in market.sandbox.ledger()] == ["hold", "release"]
    market.agree()


def test_subjects_are_locked_in_the_order_of_their_numbers(market: Market) -> None:
    """So that nobody who does the same and the run wait for each other."""
    low, high = market.order(), market.order()
    assert market.run(AUTHORIZER).counts == {"held": 2}
    for each in (low, high):
        market.world.change(orders, each, payment_status="not_started")
        (operation,) = market.operations(each)
        market.world.change(money_operations, operation.id, settled_at=None)
    met_last(market.world, orders, low)
    met_last(market.world, sessions, market.of(orders, low).session_id)
    choose = select(orders.c.id)
    with ThreadPoolExecutor(1) as pool, market.world.engine.connect() as application:
        application.execute(choose.where(orders.c.id == low).with_for_update())
        run = pool.submit(market.run, SETTLER)
        postgres.await_waiting(str(market.world.settings.database_url), 1)
        application.execute(choose.where(orders.c.id == high).with_for_update(nowait=True))
        application.commit()
        assert run.result(30).exit_code == Exit.DONE
    assert market.unsettled() == []


def test_what_another_run_takes_up_is_passed_over_and_asked_about_once(market: Market) -> None:
    """The other one has it locked, and not committed yet that it is its own."""
    order = lost(market)
    (operation,) = market.operations(order)
    taken = {"claimed_by": 900, "answer_by": market.now + timedelta(minutes=2)}
    claim = update(money_operations).where(ours.id == operation.id).values(taken)
    before = market.sandbox.requests()
    while_held(market.world, claim, lambda: market.run(SETTLER))
    assert market.sandbox.requests() == before
    assert market.operations(order)[0].claimed_by == 900


def test_a_success_that_is_told_of_while_it_is_looked_for_is_kept(market: Market) -> None:
    """Another job records it on the operation, which seemed absent; what a list lacks then tells nothing."""
    market.world.configure(stripe_timeout=timedelta(minutes=1))
    order = market.order(market.session(**FAR))
    market.sandbox.fault("dropped", "authorize")
    market.run(AUTHORIZER)
    market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
    for _ in range(2):
        market.pass_time(minutes=6)
        market.run(SETTLER)
    (operation,) = market.operations(order)
    assert (operation.status, operation.look_until is None) == ("rejected", False)
    market.pass_time(hours=1)
    told = {"status": "succeeded", "payment_id": "pi_1", "settled_at": None, "answer_by": None}
    success = update(money_operations).where(ours.id == operation.id).values(told)
    while_asking(market, "list", success, SETTLER)
    (operation,) = market.operations(order)
    assert (operation.status, operation.answer_by, operation.look_until is None) == ("succeeded", None, False)


def test_an_operation_that_somebody_has_in_hand_is_waited_for(market: Market) -> None:
    """What was answered is written down in the same run."""
    order = market.order()
    touch = update(money_operations).values(run_id=ours.run_id)
    done = while_asking(market, "authorize", touch, AUTHORIZER)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"held": 1})
    assert (market.status(order), market.unsettled()) == ("authorized", [])


def test_an_extension_cancelled_meanwhile_is_not_cancelled_again(market: Market) -> None:
    """Its row is locked before it is looked at, and left as it is where its status forbids the change."""
    parent, extension = extended(market)
    earlier = {"status": "cancelled", "cancelled_at": NOW - timedelta(hours=1)}
    cancel = update(orders).where(orders.c.id == extension).values(earlier)
    assert while_held(market.world, cancel, lambda: market.run(CANCELLER)).counts == {"cancelled": 1}
    assert market.of(orders, parent).cancelled_at == market.now
    assert market.of(orders, extension).cancelled_at == earlier["cancelled_at"]
    assert extension not in {each.row_id for each in market.world.trail() if each.table_name == "orders"}


def test_an_extension_that_somebody_has_in_hand_is_cancelled_all_the_same(market: Market) -> None:
    """Its row is waited for: passed over, it would stay as it is for good."""
    parent, extension = extended(market)
    touch = update(orders).where(orders.c.id == extension).values(amount_minor=orders.c.amount_minor)
    assert while_held(market.world, touch, lambda: market.run(CANCELLER)).counts == {"cancelled": 1}
    assert [market.of(orders, each).status for each in (parent, extension)] == ["cancelled"] * 2


def test_a_session_that_begins_meanwhile_is_not_cancelled(market: Market) -> None:
    parent, extension = extended(market)
    begin = update(sessions).values(status="in_progress")
    done = while_held(market.world, begin, lambda: market.run(CANCELLER))
    assert done.counts.get("cancelled") is None
    assert [market.of(orders, each).status for each in (parent, extension)] == ["complete"] * 2
    assert market.world.rows(sessions)[0].status == "in_progress"
