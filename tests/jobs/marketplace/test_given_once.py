"""What was paid into escrow is given once: to the creator or back, and for a request one payment."""

from typing import Any

import pytest
from sqlalchemy import select, update

from jobctl.errors import Exit
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import ledger_postings, requests, wallet_transactions
from tests.bazaar import Bazaar
from tests.rival import while_held
from tests.world import NOW, ago, command

CLEANUP, RELEASE, SETTLER = "payment-cleanup", "escrow-release", "settle-operations"
NOT_GIVEN_BACK = "it was not given back"
OPEN = "no money operation on it is open"
ONE = "no other payment of its request was released, or is older and in escrow too"
NOT_RELEASED = "nothing of it was released"


def with_wallets(bazaar: Bazaar, payment: int) -> int:
    bazaar.wallet(None)
    bazaar.wallet(bazaar.asked(bazaar.moved(payment).request_id).creator_id)
    return payment


def to_be_refunded(bazaar: Bazaar) -> int:
    """Have a payment of a request that was declined; Paystack has it."""
    request = bazaar.request(status="declined", declined_at=ago(hours=5))
    values = {"status": "completed", "escrow_status": "void", "paid_at": ago(hours=20), "account": "test"}
    payment = with_wallets(bazaar, bazaar.transaction(request, **values))
    bazaar.at_paystack(payment, "success")
    return payment


def set_back(bazaar: Bazaar, payment: int, **values: Any) -> None:
    """Have somebody think better of it, and the work done."""
    done = {"status": "completed", "paid_at": NOW, "completed_at": NOW, "declined_at": None}
    bazaar.world.change(requests, bazaar.moved(payment).request_id, **done)
    bazaar.world.change(wallet_transactions, payment, escrow_status="pending", **values)


def broken(job: str, payment: int, step: int = 0) -> set[str]:
    """Return the conditions that `why` says don't hold."""
    told = command("why", job, str(payment), "--json").document[step]
    return {each["condition"] for each in told["conditions"] if not each["holds"]}


class TestReleases:
    def test_what_is_being_given_back_is_not_released(self, bazaar: Bazaar) -> None:
        payment = to_be_refunded(bazaar)
        assert bazaar.run(CLEANUP).counts == {"pending": 1}
        set_back(bazaar, payment)
        assert bazaar.run(RELEASE).counts == {}
        bazaar.pass_time(minutes=2)
        assert bazaar.run(SETTLER).counts == {"refunded": 1}
        assert bazaar.moved(payment).escrow_status == "refunded"
        assert bazaar.world.rows(ledger_postings) == []

    @pytest.mark.parametrize("forgotten", [{}, {"refunded_at": None}], ids=str)
    def test_nor_what_was(self, bazaar: Bazaar, forgotten: dict[str, Any]) -> None:
        payment = to_be_refunded(bazaar)
        bazaar.run(CLEANUP)
        bazaar.pass_time(minutes=2)
        assert bazaar.run(SETTLER).counts == {"refunded": 1}
        set_back(bazaar, payment, **forgotten)
        assert bazaar.run(RELEASE).counts == {}
        assert bazaar.world.rows(ledger_postings) == []

    def test_nor_what_was_by_hand(self, bazaar: Bazaar) -> None:
        payment = with_wallets(bazaar, bazaar.paid())
        bazaar.world.change(wallet_transactions, payment, refunded_at=NOW)
        assert bazaar.run(RELEASE).counts == {}

    def test_nor_what_waits_for_a_person(self, bazaar: Bazaar) -> None:
        payment = with_wallets(bazaar, bazaar.paid())
        of = {"subject": "transaction", "subject_id": payment, "facts": {}, "found_at": NOW}
        found = bazaar.world.add(findings, {"kind": "money mismatch", "once_key": "x", "reason": "no"} | of)
        assert bazaar.run(RELEASE).counts == {}
        bazaar.world.change(findings, found, status="resolved", resolved_at=NOW, resolution="ok")
        assert bazaar.run(RELEASE).counts == {"released": 1}

    def test_a_refund_that_came_to_nothing_keeps_nothing(self, bazaar: Bazaar) -> None:
        bazaar.sandbox.conditions("paystack", refund_first="failed")
        payment = to_be_refunded(bazaar)
        bazaar.run(CLEANUP)
        assert [each.status for each in bazaar.world.rows(money_operations)] == ["declined"]
        set_back(bazaar, payment)
        assert bazaar.run(RELEASE).counts == {"released": 1}

    @pytest.mark.usefixtures("environment")
    def test_why_tells_it(self, bazaar: Bazaar) -> None:
        payment = to_be_refunded(bazaar)
        bazaar.run(CLEANUP)
        set_back(bazaar, payment)
        assert broken(RELEASE, payment) == {OPEN}
        bazaar.pass_time(minutes=2)
        bazaar.run(SETTLER)
        set_back(bazaar, payment)
        assert broken(RELEASE, payment) == {NOT_GIVEN_BACK}

    @pytest.mark.only("postgresql")
    def test_what_somebody_gives_back_meanwhile_is_not(self, bazaar: Bazaar) -> None:
        payment = with_wallets(bazaar, bazaar.paid())
        by_hand = update(wallet_transactions).values(refunded_at=NOW)
        assert while_held(bazaar.world, by_hand, lambda: bazaar.run(RELEASE)).counts == {}
        assert bazaar.moved(payment).escrow_status == "pending"


class TestRefunds:
    @pytest.mark.usefixtures("environment")
    def test_what_was_released_is_not_given_back(self, bazaar: Bazaar) -> None:
        payment = with_wallets(bazaar, bazaar.paid())
        bazaar.at_paystack(payment, "success")
        assert bazaar.run(RELEASE).counts == {"released": 1}
        bazaar.world.change(wallet_transactions, payment, escrow_status="void")
        assert bazaar.run(CLEANUP).counts == {}
        assert bazaar.world.rows(money_operations) == []
        assert broken(CLEANUP, payment, -1) == {NOT_RELEASED}


class TestOneOfARequest:
    def two(self, bazaar: Bazaar) -> tuple[int, int]:
        first = with_wallets(bazaar, bazaar.paid())
        given = {"status": "completed", "paid_at": ago(days=2)}
        return first, bazaar.transaction(bazaar.moved(first).request_id, **given)

    @pytest.mark.usefixtures("environment")
    def test_of_two_payments_the_older_one_is_released(self, bazaar: Bazaar) -> None:
        first, second = self.two(bazaar)
        done = bazaar.run(RELEASE)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"released": 1})
        assert [bazaar.moved(each).escrow_status for each in (first, second)] == ["released", "pending"]
        assert bazaar.run(RELEASE).counts == {}
        assert broken(RELEASE, second) == {ONE}

    def test_beside_one_that_was_released_none_is(self, bazaar: Bazaar) -> None:
        """Though it is older."""
        first, second = self.two(bazaar)
        bazaar.world.change(wallet_transactions, first, status="pending")
        assert bazaar.run(RELEASE).counts == {"released": 1}
        bazaar.world.change(wallet_transactions, first, status="completed")
        assert bazaar.run(RELEASE).counts == {}
        assert [bazaar.moved(each).escrow_status for each in (first, second)] == ["pending", "released"]

    @pytest.mark.parametrize(
        "fact", [{"status": "failed", "escrow_status": "void"}, {"escrow_status": "refunded"}], ids=str
    )
    def test_one_that_is_held_no_more_keeps_no_other(self, bazaar: Bazaar, fact: dict[str, Any]) -> None:
        first, second = self.two(bazaar)
        bazaar.world.change(wallet_transactions, first, **fact)
        assert bazaar.run(RELEASE).counts == {"released": 1}
        assert bazaar.moved(second).escrow_status == "released"

    @pytest.mark.only("postgresql")
    def test_two_runs_at_once_release_one(self, bazaar: Bazaar) -> None:
        """The second one waits for the request, and sees what the first one did."""
        first, second = self.two(bazaar)
        bazaar.world.change(wallet_transactions, first, status="pending")
        held = select(requests).with_for_update()
        other = update(wallet_transactions).where(wallet_transactions.c.id == first)
        other = other.values(status="completed", escrow_status="released", released_at=NOW)
        done = while_held(bazaar.world, held, lambda: bazaar.run(RELEASE), more=other)
        assert done.counts == {}
        assert bazaar.moved(second).escrow_status == "pending"
