"""What is captured, charged and released once a session is over, order by order."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from jobctl.errors import Exit
from jobctl.tables.journal import money_operations
from jobctl.tables.notifications import users
from jobctl.tables.sessions import orders, payment_methods, sessions
from tests.payments import PROCESSOR, SETTLER, Market
from tests.rival import once_chosen
from tests.world import NOW, ago, ahead


class TestDue:
    def test_the_hold_of_a_session_that_took_place_is_captured(self, market: Market) -> None:
        order = market.held(market.past_session())
        assert market.run(PROCESSOR).counts == {"captured": 1}
        row = market.of(orders, order)
        assert (row.payment_status, row.captured_at >= NOW) == ("captured", True)
        assert {each[:3] for each in market.told()} == {
            ("session-receipt", row.customer_id, channel) for channel in ("email", "tray")
        }
        market.agree()

    def test_an_extension_agreed_late_is_charged_in_one(self, market: Market) -> None:
        session = market.past_session()
        parent = market.held(session)
        extension = market.order(session, parent_order_id=parent, amount_minor=1500)
        assert market.run(PROCESSOR).counts == {"captured": 2}
        assert market.kinds(extension) == [("charge", "succeeded")]
        market.agree()

    @pytest.mark.parametrize("attendance", ["none_showed", "no_show_expert", "no_show_consumer"])
    def test_of_a_session_that_did_not_take_place_it_is_released(
        self, market: Market, attendance: str
    ) -> None:
        order = market.held(market.past_session(attendance))
        assert market.run(PROCESSOR).counts == {"released": 1}
        assert market.status(order) == "released"
        market.agree()

    def test_a_policy_may_have_the_customer_pay_for_not_coming(self, market: Market) -> None:
        market.world.configure(no_show_consumer_policy="capture")
        market.held(market.past_session("no_show_consumer"))
        market.held(market.past_session("none_showed"))
        assert market.run(PROCESSOR).counts == {"captured": 1, "released": 1}
        market.agree()

    def test_the_hold_of_a_cancelled_session_is_released(self, market: Market) -> None:
        order = market.held(market.session())
        market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
        assert market.run(PROCESSOR).counts == {"released": 1}
        market.agree()

    @pytest.mark.parametrize("attendance", [None, "none_showed"])
    def test_nothing_else_is_touched(self, market: Market, attendance: str | None) -> None:
        market.order(market.past_session(attendance))
        assert market.run(PROCESSOR).counts == {}


class TestAnswers:
    @pytest.mark.parametrize("days", [0, 8])
    def test_a_lapsed_hold_is_charged_anew(self, market: Market, days: int) -> None:
        """Where its end was a guess, the provider may have it still: it must not stay."""
        order = market.held(market.past_session())
        market.pass_time(days=days)
        market.world.change(orders, order, hold_ends_at=ago(minutes=1))
        assert market.run(PROCESSOR).counts == {"captured": 1, "released": 1}
        assert market.kinds(order)[-2:] == [("charge", "succeeded"), ("release", "succeeded")]
        assert market.status(order) == "captured"
        market.agree()

    def test_so_is_one_that_lapsed_before_we_knew(self, market: Market) -> None:
        order = market.held(market.past_session())
        market.pass_time(days=8)
        market.world.change(orders, order, hold_ends_at=ahead(days=9))
        assert market.run(PROCESSOR).counts == {"lapsed": 1, "captured": 1}
        assert market.kinds(order)[-2:] == [("capture", "declined"), ("charge", "succeeded")]
        market.agree()

    def test_a_refusal_for_good_needs_a_person(self, market: Market) -> None:
        order = market.order(market.past_session(), "pm_card_chargeDeclinedExpiredCard")
        done = market.run(PROCESSOR)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"declined for good": 1})
        row = market.of(orders, order)
        assert (row.payment_status, row.payment_failure) == ("capture_failed", "expired_card")
        assert market.run(PROCESSOR).counts == {}

    def test_what_may_work_later_is_tried_daily_for_three_days(self, market: Market) -> None:
        order = market.order(market.past_session(), "pm_card_chargeDeclinedInsufficientFunds")
        counts: list[dict[str, int]] = []
        for _ in range(9):
            counts.append(market.run(PROCESSOR).counts)
            market.pass_time(hours=13)
        tried = [each for each in counts if each]
        assert tried == [{"declined": 1}] * 3 + [{"declined for good": 1}]
        assert market.status(order) == "capture_failed"

    def test_one_failing_extension_hides_no_other_order(self, market: Market) -> None:
        session = market.past_session()
        parent = market.held(session)
        bad = market.order(session, "pm_card_chargeDeclinedExpiredCard", parent_order_id=parent)
        good = market.order(session, parent_order_id=parent)
        assert market.run(PROCESSOR).counts == {"captured": 2, "declined for good": 1}
        assert [market.status(each) for each in (parent, bad, good)] == [
            "captured",
            "capture_failed",
            "captured",
        ]
        market.agree()

    def test_a_capture_that_nobody_wants_any_more_is_refunded(self, market: Market) -> None:
        order = market.held(market.past_session())
        market.sandbox.fault("lost_answer", "capture")
        assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME
        market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
        market.pass_time(minutes=5)
        assert market.run(SETTLER).counts == {"captured and to be undone": 1, "refunded": 1}
        assert market.told() == set()
        assert market.of(orders, order).refunded_at is not None
        market.agree()

    @pytest.mark.parametrize(("currency", "minor"), [("JPY", 4500), ("KWD", 45_000), ("USD", 50)])
    def test_amounts_are_taken_in_the_currencys_own_units(
        self, market: Market, currency: str, minor: int
    ) -> None:
        market.held(market.past_session(), currency=currency, amount_minor=minor)
        market.run(PROCESSOR)
        assert market.sandbox.totals()[currency.lower()]["captured"] == minor
        market.agree()

    def test_an_amount_that_the_provider_cannot_take_is_the_orders_own_failure(self, market: Market) -> None:
        market.order(market.past_session(), currency="KWD", amount_minor=45_001)
        done = market.run(PROCESSOR)
        assert (done.exit_code, done.counts, market.operations()) == (Exit.ITEMS_FAILED, {"failed": 1}, [])


WRONG: dict[str, Callable[[Market, int], None]] = {
    "another's card": Market.of_another,
    "a customer who was deleted": Market.delete_customer,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
class TestWhoseCard:
    def test_nothing_is_charged_and_a_person_is_told(
        self, market: Market, wrong: Callable[[Market, int], None]
    ) -> None:
        order = market.order(market.past_session())
        wrong(market, order)
        done = market.run(PROCESSOR)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"given up": 1})
        row = market.of(orders, order)
        assert (row.payment_status, row.payment_failure) == ("capture_failed", "not_the_customers")
        assert (market.run(PROCESSOR).counts, market.sandbox.ledger()) == ({}, [])

    @pytest.mark.parametrize("attendance", ["all_present", "none_showed"])
    def test_what_is_held_is_captured_or_released(
        self, market: Market, attendance: str, wrong: Callable[[Market, int], None]
    ) -> None:
        order = market.held(market.past_session(attendance))
        wrong(market, order)
        assert market.run(PROCESSOR).exit_code == Exit.DONE
        assert market.status(order) == {"all_present": "captured", "none_showed": "released"}[attendance]
        market.agree()

    def test_so_is_a_hold_whose_end_was_a_guess(
        self, market: Market, wrong: Callable[[Market, int], None]
    ) -> None:
        order = market.held(market.past_session())
        market.world.change(orders, order, hold_ends_at=ago(minutes=1))
        wrong(market, order)
        assert market.run(PROCESSOR).counts == {"captured": 1}
        market.agree()

    def test_in_place_of_one_that_has_lapsed_nothing_is_charged(
        self, market: Market, wrong: Callable[[Market, int], None]
    ) -> None:
        order = market.held(market.past_session())
        market.pass_time(days=8)
        market.world.change(orders, order, hold_ends_at=ahead(days=9))
        wrong(market, order)
        assert market.run(PROCESSOR).counts == {"declined for good": 1}
        assert market.kinds(order)[1:] == [("capture", "declined")]
        assert market.status(order) == "capture_failed"
        market.agree()


class TestAnotherPayment:
    """What is decided about another payment than the order goes by changes nothing of the order."""

    def other(self, market: Market, order: int, verb: str, **values: Any) -> int:
        """Add an operation that is to be settled, on a payment that the order does not go by."""
        given: dict[str, Any] = {
            "key": f"x.{verb}.1",
            "kind": verb,
            "subject": "order",
            "subject_id": order,
            "cycle": "hold-1",
            "attempt": 9,
            "provider": "stripe",
            "account": "test",
            "request": {},
            "payment_id": "pi_other",
            "run_id": 1,
            "created_at": NOW,
        }
        money = {} if verb == "release" else {"amount_minor": 4500, "currency": "USD"}
        return market.world.add(money_operations, given | money | values)

    @pytest.mark.parametrize("status", ["captured", "authorized"])
    @pytest.mark.parametrize("verb", ["refund", "release"])
    def test_the_duplicate_is_given_back_and_the_order_keeps_its_own(
        self, market: Market, verb: str, status: str
    ) -> None:
        order = market.held(market.past_session())
        if status == "captured":
            market.run(PROCESSOR)
        before = market.of(orders, order)
        self.other(market, order, verb, status="succeeded", cycle="hold-1-again-1")
        market.run(SETTLER)
        assert market.of(orders, order) == before

    @pytest.mark.parametrize("status", ["captured", "authorized"])
    @pytest.mark.parametrize("verb", ["capture", "charge", "authorize"])
    def test_a_late_refusal_of_another_is_none_of_it(self, market: Market, verb: str, status: str) -> None:
        order = market.held(market.past_session())
        if status == "captured":
            market.run(PROCESSOR)
        before = market.of(orders, order)
        self.other(market, order, verb, status="declined", code="card_declined", reason="no")
        done = market.run(SETTLER)
        assert (done.exit_code, done.counts, market.of(orders, order)) == (Exit.DONE, {"declined": 1}, before)

    def test_a_late_capture_of_another_hold_sets_the_newer_one_free(self, market: Market) -> None:
        session = market.past_session()
        order = market.held(session)
        first = market.of(orders, order)
        spare = market.held(session, parent_order_id=order)
        newer = market.of(orders, spare)
        market.world.change(orders, spare, payment_status="released", payment_id=None)
        market.world.change(orders, order, payment_id=newer.payment_id)
        self.other(market, order, "capture", status="succeeded", payment_id=first.payment_id)
        assert market.run(SETTLER).counts == {"captured": 1, "released": 1}
        row = market.of(orders, order)
        assert (row.payment_status, row.payment_id) == ("captured", first.payment_id)
        assert [each.payment_id for each in market.operations(order) if each.kind == "release"] == [
            newer.payment_id
        ]


@pytest.mark.only("postgresql")
@pytest.mark.parametrize("what", ["customer", "card"])
def test_what_a_rival_changes_while_rows_are_chosen_counts(market: Market, what: str) -> None:
    order = market.order(market.past_session())
    row, other = market.of(orders, order), market.world.user()
    method = payment_methods.c.id == row.payment_method_id
    changes = {
        "customer": update(users).where(users.c.id == row.customer_id).values(deleted_at=NOW),
        "card": update(payment_methods).where(method).values(user_id=other),
    }
    with once_chosen(market.world, changes[what], f"FOR UPDATE OF {orders} SKIP LOCKED"):
        assert market.run(PROCESSOR).counts == {}
    assert (market.operations(), market.status(order)) == ([], "not_started")


def test_since_bounds_by_the_end_of_the_session(market: Market) -> None:
    old = market.past_session(ended_at=ago(days=3))
    market.order(old)
    new = market.order(market.past_session(ended_at=ago(hours=1)))
    assert market.run(PROCESSOR, since=ago(days=1)).counts == {"captured": 1}
    assert market.status(new) == "captured"


@pytest.mark.parametrize("attendance", ["all_present", "none_showed"])
def test_a_dry_run_shows_what_the_run_sends(market: Market, attendance: str) -> None:
    market.held(market.past_session(attendance))
    before: Any = market.world.everything()
    document = market.run(PROCESSOR, dry_run=True).document
    assert market.world.everything() == before
    market.run(PROCESSOR)
    (shown,) = document["rows"]
    sent = market.operations()[-1]
    assert (shown["row_id"], shown["request"]["key"]) == (sent.subject_id, sent.key)
    assert timedelta(0) <= sent.first_sent_at - NOW < timedelta(minutes=1)
