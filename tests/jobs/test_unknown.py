"""Exit code 4 tells of what a run had to do with and nobody knows the outcome of, and of nothing else."""

import pytest

from jobctl.errors import Exit
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders
from jobctl.tables.subscriptions import subscriptions
from tests.bazaar import Bazaar
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.subscribers import Club
from tests.world import ago, ahead

BOTH = pytest.mark.parametrize("provider", ["stripe", "yookassa"])
AUTOPAYMENTS, CLEANUP = "autopayments", "payment-cleanup"


class TestWhatFollows:
    """A request that follows from another one is the run's own, as any that it begins with."""

    @BOTH
    def test_the_release_of_a_hold_that_was_placed_anew(self, market: Market, provider: str) -> None:
        market.provider = provider
        order = market.held(market.session())
        market.world.change(orders, order, hold_ends_at=ahead(hours=30))
        market.sandbox.fault("lost_answer", "release")
        done = market.run(AUTHORIZER)
        assert (done.exit_code, done.counts) == (Exit.UNKNOWN_OUTCOME, {"held anew": 1, "unknown": 1})

    @BOTH
    def test_the_release_of_a_hold_that_may_have_lapsed(self, market: Market, provider: str) -> None:
        market.provider = provider
        order = market.held(market.past_session())
        market.world.change(orders, order, hold_ends_at=ago(minutes=1))
        market.sandbox.fault("lost_answer", "release")
        done = market.run(PROCESSOR)
        assert (done.exit_code, done.counts) == (Exit.UNKNOWN_OUTCOME, {"captured": 1, "unknown": 1})

    def test_the_release_of_a_payment_that_was_declined(self, market: Market) -> None:
        market.order(card="pm_card_visa_chargeDeclinedInsufficientFunds")
        market.sandbox.fault("lost_answer", "release")
        done = market.run(AUTHORIZER)
        assert (done.exit_code, done.counts) == (Exit.UNKNOWN_OUTCOME, {"declined": 1, "unknown": 1})

    def test_the_refund_of_a_renewal(self, club: Club) -> None:
        made = club.member()
        club.sandbox.fault("lost_answer", "charge")
        club.run(AUTOPAYMENTS)
        club.world.change(subscriptions, made, status="cancelled")
        club.pass_time(minutes=5)
        club.sandbox.fault("lost_answer", "refund")
        done = club.run(AUTOPAYMENTS)
        assert (done.exit_code, done.counts["unknown"]) == (Exit.UNKNOWN_OUTCOME, 1)


class TestWhatIsOld:
    """An outcome that stays unknown is settle-operations' to tell, and `jobctl health`'s."""

    @pytest.mark.parametrize("account", ["the same", "another"])
    @BOTH
    def test_of_an_order(self, market: Market, provider: str, account: str) -> None:
        market.provider = provider
        market.order()
        market.sandbox.fault("lost_answer", "authorize", times=9)
        assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
        market.sandbox.clear_faults()
        if account == "another":
            (operation,) = market.world.rows(money_operations)
            market.world.change(money_operations, operation.id, account="another")
            market.pass_time(minutes=5)
        good, bad = market.order(), market.order()
        market.change_method(market.of(orders, bad).payment_method_id, provider="barter")
        for options, code in (({"only": good}, Exit.DONE), ({}, Exit.ITEMS_FAILED), ({}, Exit.ITEMS_FAILED)):
            assert market.run(AUTHORIZER, **options).exit_code == code
        assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME

    @pytest.mark.parametrize("account", ["the same", "another"])
    def test_of_a_subscription(self, club: Club, account: str) -> None:
        club.member()
        club.sandbox.fault("lost_answer", "charge", times=9)
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
        club.sandbox.clear_faults()
        if account == "another":
            (operation,) = club.world.rows(money_operations)
            club.world.change(money_operations, operation.id, account="another")
            club.pass_time(minutes=5)
        good = club.member()
        club.member(currency="EUR")  # which its plan has no price in
        for options, code in (({"only": good}, Exit.DONE), ({}, Exit.ITEMS_FAILED), ({}, Exit.ITEMS_FAILED)):
            assert club.run(AUTOPAYMENTS, **options).exit_code == code
        assert club.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME

    def test_of_escrow(self, bazaar: Bazaar) -> None:
        late = bazaar.transaction(bazaar.request(created_at=ago(hours=49)))
        bazaar.at_paystack(late, "abandoned")
        bazaar.run(CLEANUP)
        bazaar.pass_time(hours=2)
        bazaar.at_paystack(late, "success")
        bazaar.pass_time(minutes=30)
        bazaar.sandbox.fault("lost_answer", "refund")
        assert bazaar.run(CLEANUP).exit_code == Exit.UNKNOWN_OUTCOME
        assert bazaar.run(CLEANUP).exit_code == Exit.DONE
        bad = bazaar.transaction(bazaar.request(created_at=ago(hours=25)))
        bazaar.at_paystack(bad, "success", amount=9_999)
        assert bazaar.run(CLEANUP).exit_code == Exit.ITEMS_FAILED
        assert [each.settled_at for each in bazaar.world.rows(money_operations)] == [None]
        assert bazaar.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
