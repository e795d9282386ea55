"""What undoes money stays open work until it is done, of every subject and at every provider."""

from typing import Any

import pytest
from sqlalchemy import Table, text

from jobctl import journal
from jobctl.errors import Exit
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import wallet_transactions
from jobctl.tables.sessions import orders, sessions
from jobctl.tables.subscriptions import subscriptions
from tests.bazaar import Bazaar
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.subscribers import Club
from tests.world import World, ago, ahead

BOTH = pytest.mark.parametrize("provider", ["stripe", "yookassa"])
AUTOPAYMENTS, CLEANUP = "autopayments", "payment-cleanup"
BEYOND = 2**63 - 7  # a number of 19 digits
FAILED = {"stripe": "failed", "yookassa": "canceled", "paystack": "failed"}


def go_on_after(world: World, table: Table) -> None:
    """Have the next row numbered after what is there; SQLite does so by itself."""
    if world.settings.database_url:
        with world.engine.begin() as connection:
            connection.execute(text(f"SELECT setval('{table}_id_seq', {BEYOND})"))


def renewed_hold(market: Market, **values: Any) -> int:
    """Have an order whose hold is placed anew by the next run, and the old one then released."""
    order = market.held(market.session(), **values)
    market.world.change(orders, order, hold_ends_at=ahead(hours=30))
    return order


@BOTH
def test_the_release_of_an_old_hold_is_repeated(market: Market, provider: str) -> None:
    market.provider = provider
    renewed_hold(market)
    market.sandbox.fault("refused", "release", times=1000)
    assert market.run(AUTHORIZER).exit_code == Exit.ITEMS_FAILED
    for _ in range(60):
        market.pass_time(minutes=30)
        market.run(SETTLER)
    assert [(each.kind, each.status) for each in market.world.rows(findings)] == [("release refused", "open")]
    assert [(each.kind, each.first_sent_at) for each in market.unsettled()] == [("release", None)]
    market.sandbox.clear_faults()
    market.pass_time(days=1)
    assert market.run(SETTLER).counts == {"released": 1}
    assert [each.status for each in market.world.rows(findings)] == ["resolved"]
    market.agree()


class TestRenewals:
    def unwanted(self, club: Club, **values: Any) -> int:
        """Have a subscription charged that was cancelled meanwhile."""
        made = club.member(**values)
        if values:
            go_on_after(club.world, subscriptions)
        club.sandbox.fault("lost_answer", "charge")
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
        club.world.change(subscriptions, made, status="cancelled")
        club.pass_time(minutes=5)
        return made

    def test_the_refund_is_repeated(self, club: Club) -> None:
        made = self.unwanted(club)
        club.sandbox.fault("refused", "refund", times=1000)
        for _ in range(60):
            club.run(SETTLER)
            club.pass_time(minutes=30)
        assert [(each.kind, each.status) for each in club.world.rows(findings)] == [
            ("refund refused", "open")
        ]
        assert club.renewals(made)[0].refunded_at is None
        club.sandbox.clear_faults()
        club.pass_time(days=1)
        assert club.run(SETTLER).counts == {"refunded": 1}
        assert [each.status for each in club.world.rows(findings)] == ["resolved"]
        club.agree()

    def test_one_that_fails_after_it_was_taken_on_is_repeated(self, club: Club) -> None:
        made = self.unwanted(club)
        fails = {"refund_first": "pending", "refund_then": FAILED[club.provider], "refund_after": 60}
        club.sandbox.conditions(club.provider, **fails)
        for _ in range(2):
            club.run(SETTLER)
            club.pass_time(minutes=5)
        assert club.renewals(made)[0].refunded_at is None
        club.sandbox.conditions(club.provider, refund_first="succeeded", refund_then=None)
        for _ in range(4):
            club.pass_time(minutes=10)
            club.run(SETTLER)
        assert club.renewals(made)[0].refunded_at is not None
        club.agree()

    def test_of_one_whose_number_is_long(self, club: Club) -> None:
        made = self.unwanted(club, id=BEYOND)
        assert club.run(SETTLER).counts == {"paid too late and to be undone": 1, "refunded": 1}
        assert club.renewals(made)[0].refunded_at is not None
        assert max(len(each.key) for each in club.world.rows(money_operations)) <= 64
        club.agree()


@BOTH
def test_the_refund_of_an_order_whose_number_is_long(market: Market, provider: str) -> None:
    market.provider = provider
    order = market.held(market.past_session(), id=BEYOND)
    market.sandbox.fault("lost_answer", "capture")
    market.run(PROCESSOR)
    market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
    market.pass_time(minutes=5)
    assert market.run(SETTLER).counts == {"captured and to be undone": 1, "refunded": 1}
    assert market.of(orders, order).refunded_at is not None
    market.agree()


@BOTH
def test_one_that_cannot_be_written_down_is_a_persons(market: Market, provider: str) -> None:
    """As where somebody wrote another provider on the order: no later run comes back to it."""
    market.provider = provider
    order = renewed_hold(market)
    market.world.change(orders, order, payment_provider="barter")
    done = market.run(AUTHORIZER)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"held anew": 1, "failed": 1})
    (finding,) = market.world.rows(findings)
    assert (finding.kind, finding.status) == ("release not begun", "open")
    assert finding.facts["operation"] == market.operations(order)[-1].id


class TestEscrow:
    def late(self, bazaar: Bazaar, **values: Any) -> int:
        payment = bazaar.transaction(bazaar.request(created_at=ago(hours=49)), **values)
        if values:
            go_on_after(bazaar.world, wallet_transactions)
        bazaar.at_paystack(payment, "abandoned")
        assert bazaar.run(CLEANUP).counts == {"timed out": 1}
        bazaar.pass_time(hours=2)
        bazaar.at_paystack(payment, "success")
        bazaar.pass_time(minutes=30)
        return payment

    def test_the_refund_is_repeated(self, bazaar: Bazaar) -> None:
        payment = self.late(bazaar)
        bazaar.sandbox.fault("refused", "refund", times=1000)
        for _ in range(48):
            assert bazaar.run(CLEANUP).exit_code in (Exit.ITEMS_FAILED, Exit.DONE)
            bazaar.pass_time(hours=1)
        assert bazaar.moved(payment).escrow_status == "void"
        # Of a passing refusal it is asked for in each run, then daily.
        assert journal.PATIENT < len(bazaar.world.rows(money_operations)) <= journal.PATIENT + 2
        assert self.told(bazaar) == ["open"]
        bazaar.sandbox.clear_faults()
        for _ in range(4):
            bazaar.pass_time(hours=7)
            bazaar.run(CLEANUP)
            bazaar.run(SETTLER)
        assert bazaar.moved(payment).escrow_status == "refunded"
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "refund"]
        assert self.told(bazaar) == ["resolved"]

    def told(self, bazaar: Bazaar) -> list[str]:
        return [each.status for each in bazaar.world.rows(findings) if each.kind == "refund refused"]

    def test_one_that_fails_after_it_was_taken_on_is_repeated(self, bazaar: Bazaar) -> None:
        payment = self.late(bazaar)
        bazaar.sandbox.conditions("paystack", refund_first="pending", refund_then="failed", refund_after=60)
        bazaar.run(CLEANUP)
        bazaar.pass_time(minutes=10)
        bazaar.run(SETTLER)
        assert bazaar.moved(payment).escrow_status == "void"
        assert [each.status for each in bazaar.world.rows(findings)].count("open") > 0
        bazaar.sandbox.conditions("paystack", refund_first="processed", refund_then=None)
        for _ in range(5):
            bazaar.pass_time(hours=7)
            bazaar.run(CLEANUP)
            bazaar.run(SETTLER)
        assert bazaar.moved(payment).escrow_status == "refunded"

    def test_of_one_whose_number_is_long(self, bazaar: Bazaar) -> None:
        payment = self.late(bazaar, id=BEYOND)
        bazaar.run(CLEANUP)
        bazaar.pass_time(minutes=10)
        assert bazaar.run(SETTLER).counts == {"refunded": 1}
        assert bazaar.moved(payment).escrow_status == "refunded"

    def test_what_took_effect_and_is_not_listed_yet_is_given_back_once(self, bazaar: Bazaar) -> None:
        payment = self.late(bazaar)
        bazaar.sandbox.conditions("paystack", lag=7200)
        bazaar.sandbox.fault("http_500_after", "refund")
        assert bazaar.run(CLEANUP).exit_code == Exit.UNKNOWN_OUTCOME
        for minutes in (5, 5, 5, 60, 60, 60, 600, 900):
            bazaar.pass_time(minutes=minutes)
            bazaar.run(SETTLER)
            bazaar.run(CLEANUP)
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "refund"]
        assert bazaar.moved(payment).escrow_status == "refunded"
