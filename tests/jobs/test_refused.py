"""What a provider has done and our database refuses to follow: an error of each run until it is followed."""

from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import wallet_transactions
from jobctl.tables.sessions import orders, sessions
from jobctl.tables.subscriptions import payments, subscriptions
from tests.bazaar import Bazaar
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.subscribers import Club
from tests.world import World, ago

BOTH = pytest.mark.parametrize("provider", ["stripe", "yookassa"])
AUTOPAYMENTS, CLEANUP = "autopayments", "payment-cleanup"
PENDING, SUCCESSFUL = "matching-pending-payments", "matching-successful-payments"


def to_hold(market: Market) -> tuple[int, str]:
    return market.order(), AUTHORIZER


def to_capture(market: Market) -> tuple[int, str]:
    return market.held(market.past_session()), PROCESSOR


def to_release(market: Market) -> tuple[int, str]:
    return market.held(market.past_session("none_showed")), PROCESSOR


def to_charge(market: Market) -> tuple[int, str]:
    return market.order(market.past_session()), PROCESSOR


def to_refund(market: Market) -> tuple[int, str]:
    order, _ = to_capture(market)
    market.sandbox.fault("lost_answer", "capture")
    assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME
    market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
    market.pass_time(minutes=5)
    return order, SETTLER


def to_decline(market: Market) -> tuple[int, str]:
    cards = {"stripe": "pm_card_chargeDeclinedExpiredCard", "yookassa": "pm_yk_card_expired"}
    return market.order(card=cards[market.provider]), AUTHORIZER


def reasons(world: World, run: int) -> set[str]:
    return {each.error.rpartition(": ")[2] for each in world.errors() if each.run_id == run}


@BOTH
@pytest.mark.parametrize("scene", [to_hold, to_capture, to_release, to_charge, to_refund, to_decline])
def test_an_order(market: Market, provider: str, scene: Any) -> None:
    market.provider = provider
    bad, job = scene(market)
    statuses = "'authorized', 'captured', 'released', 'authorization_failed'"
    refunds = "NEW.refunded_at IS NOT NULL"
    when = refunds if scene is to_refund else f"NEW.payment_status IN ({statuses})"
    market.world.forbid(orders, f"NEW.id = {bad} AND {when}")
    asked = None
    for each in (job, SETTLER, SETTLER):
        done = market.run(each)
        assert (done.exit_code, market.world.failed(done)) == (Exit.ITEMS_FAILED, [bad])
        assert reasons(market.world, done.document["run"]) == {"not this one"}
        assert asked in (None, market.sandbox.requests())
        asked = market.sandbox.requests()
        market.pass_time(hours=1)


@BOTH
def test_what_is_told_to_a_person(market: Market, provider: str) -> None:
    """Of an answer about something else: until it is told, the order is nobody's to go on with."""
    market.provider = provider
    bad, good = market.order(), market.order()
    market.world.refuse(findings, "kind", "money mismatch")
    market.sandbox.fault("other_amount", "authorize", contains=f"order-{bad}.")
    for job in (AUTHORIZER, SETTLER, SETTLER):
        assert market.run(job).exit_code == Exit.ITEMS_FAILED
        market.pass_time(hours=1)
    assert (market.status(bad), market.status(good)) == ("not_started", "authorized")
    market.world.allow(findings)
    market.run(SETTLER)
    assert [each.subject_id for each in market.world.rows(findings)] == [bad]
    assert market.unsettled() == []
    assert market.sandbox.requests()["authorize"]["requests"] == 2


def test_an_order_that_stays_as_it_is_without_a_word(market: Market) -> None:
    bad, good = market.order(), market.order()
    market.world.forbid(orders, f"NEW.id = {bad}", silently=True)
    for job in (AUTHORIZER, SETTLER):
        done = market.run(job)
        assert (done.exit_code, market.world.failed(done)) == (Exit.ITEMS_FAILED, [bad])
        market.pass_time(hours=1)
    assert market.status(good) == "authorized"
    market.world.permit(orders)
    assert market.run(SETTLER).exit_code == Exit.DONE
    assert market.status(bad) == "authorized"
    assert [each.kind for each in market.sandbox.ledger()] == ["hold", "hold"]


class TestSubscriptions:
    def test_one_that_stays_as_it_is_without_a_word(self, club: Club) -> None:
        """It is not counted among those that were expired."""
        bad, *good = [club.member(ended_at=ago(days=30), next_charge_at=None) for _ in range(3)]
        club.world.forbid(subscriptions, f"NEW.id = {bad}", silently=True)
        done = club.world.run("expire-subscriptions")
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"expired": 2, "failed": 1})
        assert club.world.failed(done) == [bad]
        assert [club.of(each).status for each in (bad, *good)] == ["active", "expired", "expired"]

    @pytest.mark.parametrize("table", [subscriptions, payments])
    def test_a_renewal(self, club: Club, table: Any) -> None:
        club.member()
        made = club.member()
        when = f"NEW.id = {made} AND NEW.ended_at > OLD.ended_at"
        if table is payments:
            when = f"NEW.subscription_id = {made} AND NEW.status = 'succeeded'"
        club.world.forbid(table, when)
        for job in (AUTOPAYMENTS, SETTLER, SETTLER):
            done = club.run(job)
            assert (done.exit_code, club.world.failed(done)) == (Exit.ITEMS_FAILED, [made])
            assert reasons(club.world, done.document["run"]) == {"not this one"}
            club.pass_time(hours=1)
        assert len(club.sandbox.ledger()) == 2

    def test_a_charge_that_never_took_place(self, club: Club) -> None:
        """Its payment would stay pending for ever, and keep the next charge back."""
        made = club.member()
        club.world.forbid(payments, f"NEW.subscription_id = {made} AND NEW.status = 'cancelled'")
        club.sandbox.fault("http_400", "charge")
        club.run(AUTOPAYMENTS)
        for _ in range(2):
            club.pass_time(minutes=10)
            done = club.run(SETTLER)
            assert (done.exit_code, club.world.failed(done)) == (Exit.ITEMS_FAILED, [made])
            assert reasons(club.world, done.document["run"]) == {"not this one"}
        club.world.permit(payments)
        club.pass_time(minutes=10)
        assert club.run(SETTLER).exit_code == Exit.DONE
        assert [each.status for each in club.renewals(made)] == ["cancelled"]
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        club.agree()

    @pytest.mark.parametrize("status", ["succeeded", "cancelled"])
    def test_a_payment_by_hand(self, club: Club, status: str) -> None:
        user = club.buyer()
        number = club.pay(user) if status == "succeeded" else club.released()
        bad = club.begun(user, number)
        club.world.forbid(payments, f"NEW.id = {bad} AND NEW.status = '{status}'")
        for _ in range(3):
            done = club.run(PENDING)
            assert (done.exit_code, bad in club.world.failed(done)) == (Exit.ITEMS_FAILED, True)
            assert "not this one" in reasons(club.world, done.document["run"])
            club.pass_time(hours=1)


class TestEscrow:
    def test_a_refund(self, bazaar: Bazaar) -> None:
        payment = bazaar.transaction(bazaar.request(created_at=ago(hours=49)))
        bazaar.at_paystack(payment, "abandoned")
        assert bazaar.run(CLEANUP).counts == {"timed out": 1}
        bazaar.pass_time(hours=2)
        bazaar.at_paystack(payment, "success")
        bazaar.pass_time(minutes=30)
        bazaar.run(CLEANUP)
        bazaar.world.forbid(wallet_transactions, "NEW.escrow_status = 'refunded'")
        for _ in range(3):
            bazaar.pass_time(minutes=10)
            done = bazaar.run(SETTLER)
            assert (done.exit_code, bazaar.world.failed(done)) == (Exit.ITEMS_FAILED, [payment])
            assert reasons(bazaar.world, done.document["run"]) == {"not this one"}
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "refund"]
        assert [each.status for each in bazaar.world.rows(money_operations)] == ["succeeded"]
