"""A provider's *no*, a list that lags or a broken row at a bad moment: of orders, at both providers."""

from dataclasses import replace
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.jobs.sessions import session_payment_processor
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders, sessions
from tests.payments import AUTHORIZER, CANCELLER, PROCESSOR, SETTLER, Market
from tests.poisons import named
from tests.world import ago, ahead

BOTH = pytest.mark.parametrize("provider", ["stripe", "yookassa"])


def held(market: Market) -> int:
    return market.held(market.past_session())


def work(market: Market, times: int, **span: float) -> None:
    for _ in range(times):
        market.pass_time(**span)
        market.run(SETTLER)
        market.run(PROCESSOR)


class TestLapsed:
    def lapsed(self, market: Market) -> int:
        order = held(market)
        market.sandbox.dashboard.lapse(market.provider, str(market.of(orders, order).payment_id))
        return order

    @BOTH
    @pytest.mark.parametrize("fault", ["http_400", "http_429", "http_500_before", "dropped"])
    def test_a_charge_in_its_place_that_is_put_off_stops_nobody(
        self, market: Market, provider: str, fault: str
    ) -> None:
        market.provider = provider
        bad, *good = self.lapsed(market), *(held(market) for _ in range(3))
        market.sandbox.fault(fault, "charge")
        assert market.run(PROCESSOR).exit_code != Exit.UNEXPECTED
        assert {market.status(each) for each in good} == {"captured"}
        work(market, 8, minutes=15)
        assert market.status(bad) == "captured"
        market.agree()

    @BOTH
    def test_it_is_not_charged_once_its_session_is_cancelled(self, market: Market, provider: str) -> None:
        market.provider = provider
        order = self.lapsed(market)
        market.sandbox.fault("http_429", "charge")
        market.run(PROCESSOR)
        market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
        work(market, 4, minutes=30)
        assert [each.kind for each in market.sandbox.ledger() if each.kind == "charge"] == []
        assert market.unsettled() == []


class TestLists:
    @BOTH
    @pytest.mark.parametrize("fault", ["http_500_after", "lost_answer"])
    def test_a_charge_that_is_listed_late_is_had_once(
        self, market: Market, provider: str, fault: str
    ) -> None:
        """Though its key is too old by then to be sent again."""
        market.provider = provider
        market.sandbox.conditions(provider, lag=7200)
        order = market.order(market.past_session())
        market.sandbox.fault(fault, "charge")
        assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME
        work(market, 8, minutes=5)
        work(market, 12, hours=1)
        row = market.of(orders, order)
        assert (row.payment_status, row.refunded_at) == ("captured", None)
        effects = [each.kind for each in market.sandbox.ledger()]
        assert effects.count("charge") - effects.count("refund") == 1
        market.agree()


HOOKS = ("ask", "begin", "wanted", "settle", "withdraw")


@BOTH
@pytest.mark.parametrize("hook", HOOKS)
def test_whatever_is_raised_of_an_order_is_its_own(
    market: Market, monkeypatch: pytest.MonkeyPatch, provider: str, hook: str
) -> None:
    """Wherever the job decides about it: before its request, after, or where that had no effect."""
    market.provider = provider
    bad, *good = [market.order(market.past_session()) for _ in range(4)]
    refusals, money = session_payment_processor.JOB

    def broken(*given: Any) -> Any:
        if any(getattr(each, "id", None) == bad and hasattr(each, "payment_status") for each in given):
            raise RecursionError
        if any(getattr(each, "subject_id", None) == bad for each in given):
            raise RecursionError
        return getattr(money, hook)(*given)

    instead: dict[str, Any] = {hook: broken}
    monkeypatch.setattr(session_payment_processor, "JOB", (refusals, replace(money, **instead)))
    if hook in ("wanted", "withdraw"):
        market.sandbox.fault("lost_answer" if hook == "wanted" else "http_400", "charge", times=4)
    codes = [market.run(PROCESSOR).exit_code]
    for _ in range(4):
        market.pass_time(minutes=10)
        codes += [market.run(job).exit_code for job in (SETTLER, PROCESSOR)]
    assert Exit.UNEXPECTED not in codes
    assert Exit.ITEMS_FAILED in codes[-2:]
    assert {market.status(each) for each in good} == {"captured"}
    assert bad in {each.row_id for each in market.world.errors()}
    monkeypatch.undo()
    work(market, 4, hours=1)
    assert market.status(bad) == "captured"
    market.agree()


class TestNumbers:
    """What an order says of its payment leads nowhere, or says nothing: nothing is asked in its place."""

    @BOTH
    @pytest.mark.parametrize("payment", ["..", "a/../b", "x" * 2000, "", None])
    @pytest.mark.parametrize("attendance", ["all_present", "none_showed"])
    def test_it_is_the_orders_own_failure(
        self, market: Market, provider: str, payment: str | None, attendance: str
    ) -> None:
        market.provider = provider
        bad, good = market.held(market.past_session(attendance)), held(market)
        market.world.change(orders, bad, payment_id=payment)
        done = market.run(PROCESSOR)
        assert (done.exit_code, market.status(good)) == (Exit.ITEMS_FAILED, "captured")
        assert bad in named(market, done)
        assert market.status(bad) == "authorized"
        assert [each.kind for each in market.sandbox.ledger()] == ["hold", "hold", "capture"]

    @BOTH
    def test_a_hold_of_which_nobody_knows_is_not_placed_anew(self, market: Market, provider: str) -> None:
        market.provider = provider
        order = market.held(market.session())
        market.world.change(orders, order, hold_ends_at=ahead(hours=30), payment_id=None)
        for _ in range(2):
            done = market.run(AUTHORIZER)
            assert (done.exit_code, market.world.failed(done)) == (Exit.ITEMS_FAILED, [order])
        assert [each.kind for each in market.sandbox.ledger()] == ["hold"]

    @BOTH
    @pytest.mark.parametrize("payment", ["", None])
    def test_nor_is_its_session_cancelled_without_a_word(
        self, market: Market, provider: str, payment: str | None
    ) -> None:
        market.provider = provider
        session = market.session()
        parent = market.order(session)
        sibling = market.held(session, parent_order_id=parent)
        market.world.change(orders, sibling, payment_id=payment)
        failed = {"payment_status": "authorization_failed", "payment_failed_at": ago(days=2)}
        market.world.change(orders, parent, **failed)
        done = market.run(CANCELLER)
        assert done.exit_code == Exit.ITEMS_FAILED


def test_what_nobody_wants_any_more_is_no_outage(market: Market) -> None:
    """It is not sent, whatever its provider may be like."""
    order = market.order(market.past_session())
    market.sandbox.fault("http_429", "charge", seconds=3600)
    assert market.run(PROCESSOR).exit_code == Exit.UNREACHABLE
    market.sandbox.clear_faults()
    (operation,) = market.operations(order)
    unsent: dict[str, Any] = dict.fromkeys(("first_sent_at", "answer_by", "settled_at", "code", "reason"))
    market.world.change(money_operations, operation.id, status="started", concluded_at=None, **unsent)
    market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
    market.pass_time(minutes=5)
    done = market.run(SETTLER)
    assert (done.exit_code, done.counts, done.document["complaints"]) == (Exit.DONE, {"put back": 1}, [])
