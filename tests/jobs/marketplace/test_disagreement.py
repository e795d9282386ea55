"""What becomes of escrow where Paystack, or a person there, tells something else than we do."""

from datetime import timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.jobs.marketplace import refunding
from jobctl.sandbox import OTHER_PAYSTACK_SECRET_KEY
from jobctl.tables.findings import findings
from jobctl.tables.frame import watermarks
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import requests, wallet_transactions
from tests.bazaar import Bazaar
from tests.world import NOW, ago

CLEANUP, SETTLER = "payment-cleanup", "settle-operations"
UNDER_WAY = ("pending", "processing", "needs-attention")  # of refunds
HOSTILE = ["text_nul", "text_surrogate", "text_long", "text_object"]


def pending(bazaar: Bazaar, hours: float = 25, **values: Any) -> int:
    return bazaar.transaction(bazaar.request(created_at=ago(hours=hours)), **values)


def request_of(bazaar: Bazaar, payment: int) -> Any:
    return bazaar.asked(bazaar.moved(payment).request_id)


def all_late(bazaar: Bazaar, number: int) -> list[int]:
    """Have payments that timed out here, and that their customers completed two hours later."""
    payments = [pending(bazaar, hours=49) for _ in range(number)]
    for each in payments:
        bazaar.at_paystack(each, "abandoned")
    assert bazaar.run(CLEANUP).counts == {"timed out": number}
    bazaar.pass_time(hours=2)
    for each in payments:
        bazaar.at_paystack(each, "success")
    bazaar.pass_time(minutes=30)
    return payments


def late(bazaar: Bazaar) -> int:
    (payment,) = all_late(bazaar, 1)
    return payment


def kinds(bazaar: Bazaar) -> list[str]:
    return [each.kind for each in bazaar.world.rows(findings)]


class TestAnswersAboutSomethingElse:
    @pytest.mark.parametrize(
        "fault", ["other_amount", "other_received", "other_currency", "other_mode", "other_reference"]
    )
    def test_no_payment_is_believed(self, bazaar: Bazaar, fault: str) -> None:
        payment = pending(bazaar)
        bazaar.at_paystack(payment, "success")
        bazaar.sandbox.fault(fault, "retrieve")
        done = bazaar.run(CLEANUP)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"payment mismatch": 1})
        assert (bazaar.moved(payment).status, request_of(bazaar, payment).status) == ("unverified", "pending")
        assert kinds(bazaar) == ["payment mismatch"]
        bazaar.pass_time(hours=30)
        asked = bazaar.sandbox.requests()["retrieve"]
        bazaar.run(CLEANUP)
        assert bazaar.sandbox.requests()["retrieve"] == asked

    @pytest.mark.parametrize("status", ["failed", "reversed", "abandoned"])
    def test_nor_is_it_ended_by_another_ones_failure(self, bazaar: Bazaar, status: str) -> None:
        payment = pending(bazaar, hours=50)
        bazaar.at_paystack(payment, status)
        bazaar.sandbox.fault("other_reference", "retrieve")
        assert bazaar.run(CLEANUP).exit_code == Exit.ITEMS_FAILED
        assert (bazaar.moved(payment).status, request_of(bazaar, payment).status) == ("unverified", "pending")

    @pytest.mark.parametrize("fault", ["other_amount", "other_currency", "other_mode"])
    def test_no_payment_that_is_listed_is_believed(self, bazaar: Bazaar, fault: str) -> None:
        payment = late(bazaar)
        before = bazaar.moved(payment)
        bazaar.sandbox.fault(fault, "list", times=9)
        bazaar.run(CLEANUP)
        assert bazaar.moved(payment) == before
        assert bazaar.world.rows(money_operations) == []

    @pytest.mark.parametrize("fault", ["other_amount", "other_currency", "other_mode", "other_payment"])
    def test_no_refund_is_believed(self, bazaar: Bazaar, fault: str) -> None:
        """Of which payment it is says the answer to the request itself; a list has its number alone."""
        payment = late(bazaar)
        if fault == "other_payment":
            bazaar.sandbox.fault(fault, "refund")
            done = bazaar.run(CLEANUP)
        else:
            bazaar.run(CLEANUP)
            bazaar.pass_time(minutes=10)
            bazaar.sandbox.fault(fault, "list", times=9)
            done = bazaar.run(SETTLER)
        assert (done.exit_code, done.counts["mismatched"]) == (Exit.ITEMS_FAILED, 1)
        assert bazaar.moved(payment).escrow_status == "void"
        (operation,) = bazaar.world.rows(money_operations)
        assert (operation.status, operation.code) == ("mismatched", fault)
        bazaar.sandbox.clear_faults()
        asked = bazaar.sandbox.requests()["refund"]
        for _ in range(3):
            bazaar.pass_time(hours=25)
            for job in (CLEANUP, SETTLER):
                assert bazaar.run(job).exit_code == Exit.DONE
        assert bazaar.sandbox.requests()["refund"] == asked
        assert kinds(bazaar) == ["payment for nothing", "money mismatch"]

    def test_one_that_turns_up_as_another_is_a_persons(self, bazaar: Bazaar) -> None:
        """Of a payment that was ended since Paystack had none; it is told once, and not looked for again."""
        witness = pending(bazaar, hours=26)
        bazaar.at_paystack(witness, "success")
        assert bazaar.run(CLEANUP).counts == {"completed": 1}
        payment = pending(bazaar, hours=49, account="test")
        assert bazaar.run(CLEANUP).counts == {"timed out": 1}
        bazaar.at_paystack(payment, "failed")
        bazaar.sandbox.fault("other_reference", "retrieve", contains=str(bazaar.moved(payment).reference))
        bazaar.pass_time(hours=1)
        done = bazaar.run(CLEANUP)
        assert (done.exit_code, kinds(bazaar)) == (Exit.ITEMS_FAILED, ["payment mismatch"])
        asked = bazaar.sandbox.requests()["retrieve"]
        bazaar.pass_time(hours=2)
        assert bazaar.run(CLEANUP).exit_code == Exit.DONE
        assert bazaar.sandbox.requests()["retrieve"] == asked


class TestByHand:
    def refunding(self, bazaar: Bazaar) -> tuple[int, str]:
        """Have a payment that is to be given back, and was not yet: Paystack has asked to wait."""
        payment = late(bazaar)
        bazaar.sandbox.fault("http_429", "refund", seconds=3600)
        bazaar.run(CLEANUP)
        bazaar.sandbox.clear_faults()
        return payment, str(bazaar.moved(payment).reference)

    @pytest.mark.parametrize(
        ("amount", "status"),
        [
            *((None, each) for each in UNDER_WAY),  # once that is done it is reversed
            *((3_000, each) for each in (*UNDER_WAY, "processed")),
        ],
    )
    def test_what_is_given_back_before_its_success_is_known_is_a_persons(
        self, bazaar: Bazaar, amount: int | None, status: str
    ) -> None:
        """Paystack has it as a success, until all of it is back."""
        payment = pending(bazaar)
        bazaar.at_paystack(payment, "success")
        bazaar.sandbox.conditions("paystack", refund_first=status)
        bazaar.sandbox.dashboard.refund("paystack", str(bazaar.moved(payment).reference), amount)
        bazaar.pass_time(minutes=2)
        done = bazaar.run(CLEANUP)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"payment mismatch": 1})
        row, request = bazaar.moved(payment), request_of(bazaar, payment)
        assert (row.status, row.paid_at, request.status, request.paid_at) == (
            "unverified",
            None,
            "pending",
            None,
        )
        bazaar.pass_time(hours=20)
        assert bazaar.run(CLEANUP).exit_code == Exit.DONE
        assert (bazaar.moved(payment).status, kinds(bazaar)) == ("unverified", ["payment mismatch"])

    def test_a_refund_of_it_that_failed_is_none(self, bazaar: Bazaar) -> None:
        payment = pending(bazaar)
        bazaar.at_paystack(payment, "success")
        bazaar.sandbox.conditions("paystack", refund_first="failed")
        bazaar.sandbox.dashboard.refund("paystack", str(bazaar.moved(payment).reference), 3_000)
        assert bazaar.run(CLEANUP).counts == {"completed": 1}

    def test_nor_is_one_of_another_payment(self, bazaar: Bazaar) -> None:
        one, other = pending(bazaar), pending(bazaar)
        for each in (one, other):
            bazaar.at_paystack(each, "success")
        bazaar.sandbox.dashboard.refund("paystack", str(bazaar.moved(other).reference), 3_000)
        assert bazaar.run(CLEANUP).counts == {"completed": 1, "payment mismatch": 1}
        assert bazaar.moved(one).status == "completed"

    @pytest.mark.parametrize("fault", ["http_500_before", "garbage", "page_without_meta", "http_403"])
    def test_where_its_refunds_are_not_told_its_success_is_not_believed_yet(
        self, bazaar: Bazaar, fault: str
    ) -> None:
        payment = pending(bazaar)
        bazaar.at_paystack(payment, "success")
        bazaar.sandbox.fault(fault, "list", times=99)
        assert bazaar.run(CLEANUP).exit_code != Exit.DONE
        assert bazaar.moved(payment).status == "pending"
        bazaar.sandbox.clear_faults()
        bazaar.pass_time(hours=1)
        assert bazaar.run(CLEANUP).counts == {"completed": 1}

    def test_what_was_given_back_by_hand_already_is_given_back(self, bazaar: Bazaar) -> None:
        payment, reference = self.refunding(bazaar)
        bazaar.sandbox.dashboard.refund("paystack", reference)
        for _ in range(3):
            bazaar.pass_time(minutes=10)
            done = [bazaar.run(job) for job in (CLEANUP, SETTLER)]
        assert [each.exit_code for each in done] == [Exit.DONE, Exit.DONE]
        assert bazaar.moved(payment).escrow_status == "refunded"
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "refund"]

    def test_what_was_given_back_in_part_is_a_persons(self, bazaar: Bazaar) -> None:
        payment, reference = self.refunding(bazaar)
        bazaar.sandbox.dashboard.refund("paystack", reference, 1000)
        bazaar.pass_time(minutes=10)
        assert bazaar.run(CLEANUP).exit_code == Exit.ITEMS_FAILED
        for _ in range(3):
            bazaar.pass_time(hours=25)
            assert [bazaar.run(job).exit_code for job in (CLEANUP, SETTLER)] == [Exit.DONE, Exit.DONE]
        assert [each.amount for each in bazaar.sandbox.ledger() if each.kind == "refund"] == [1000]
        operation = bazaar.world.rows(money_operations)[-1]
        assert (operation.status, operation.code) == ("mismatched", "refunded_by_hand")
        assert bazaar.moved(payment).escrow_status == "void"


class TestTheRightPlace:
    @pytest.mark.parametrize("fault", ["route_not_found", "html_404"])
    def test_what_a_gateway_lacks_ends_nothing(self, bazaar: Bazaar, fault: str) -> None:
        payments = [pending(bazaar, hours=50, account="test") for _ in range(2)]
        bazaar.sandbox.fault(fault, times=99)
        for _ in range(4):
            assert bazaar.run(CLEANUP).exit_code == Exit.MISCONFIGURED
            bazaar.pass_time(days=1)
        for each in payments:
            assert (bazaar.moved(each).status, request_of(bazaar, each).status) == ("pending", "pending")
        assert bazaar.world.rows(watermarks) == []

    def test_that_it_is_the_wrong_one_is_said_once(self, bazaar: Bazaar) -> None:
        for _ in range(6):
            pending(bazaar, hours=50, account="test")
        done = bazaar.run(CLEANUP)
        assert (done.exit_code, len(done.document["complaints"])) == (Exit.MISCONFIGURED, 1)

    def test_another_accounts_list_moves_no_watermark(self, bazaar: Bazaar) -> None:
        """What succeeded late is found once the right key is back, however long that takes."""
        payment = late(bazaar)
        was = bazaar.world.settings
        bazaar.world.configure(paystack_secret_key=OTHER_PAYSTACK_SECRET_KEY)
        for _ in range(5):
            bazaar.run(CLEANUP)
            bazaar.pass_time(days=1)
        bazaar.world.settings = was
        assert bazaar.run(CLEANUP).exit_code == Exit.ITEMS_FAILED
        assert kinds(bazaar) == ["payment for nothing"]
        bazaar.pass_time(minutes=10)
        bazaar.run(SETTLER)
        assert bazaar.moved(payment).escrow_status == "refunded"

    def test_a_list_that_lacks_what_is_known_is_another_accounts(
        self, bazaar: Bazaar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(refunding, "NEWEST", 3)
        for _ in range(3):  # which no list has
            request = bazaar.request(status="declined")
            bazaar.transaction(request, status="failed", escrow_status="void")
        for _ in range(3):
            bazaar.at_paystack(pending(bazaar), "success", captured_at=NOW - timedelta(hours=20))
        assert bazaar.run(CLEANUP).counts == {"completed": 3}
        (mark,) = bazaar.world.rows(watermarks)
        bazaar.pass_time(hours=1)
        bazaar.world.configure(paystack_secret_key=OTHER_PAYSTACK_SECRET_KEY)
        done = bazaar.run(CLEANUP)
        assert done.exit_code == Exit.MISCONFIGURED
        assert "is this the right key?" in done.err
        assert bazaar.world.rows(watermarks) == [mark]

    @pytest.mark.parametrize("what", ["refunds", "payouts"])
    def test_what_no_list_of_successes_has_says_nothing_of_the_place(self, bazaar: Bazaar, what: str) -> None:
        """Paystack lists what was given back as reversed, and payouts elsewhere."""
        values = {"status": "completed", "account": "test", "paid_at": ago(hours=20)}
        for n in range(3):
            request = bazaar.request(status="declined", declined_at=ago(hours=5))
            payment = bazaar.transaction(request, escrow_status="void", **values)
            if what == "refunds":
                bazaar.at_paystack(payment, "success", captured_at=ago(hours=20))
            else:
                payout = {"request_id": None, "escrow_status": None, "reference": f"TRF_{n}"}
                bazaar.world.change(wallet_transactions, payment, **payout)
        bazaar.run(CLEANUP)
        bazaar.pass_time(minutes=5)
        bazaar.run(SETTLER)
        bazaar.pass_time(hours=1)
        done = bazaar.run(CLEANUP)
        assert (done.exit_code, done.counts) == (Exit.DONE, {})
        (mark,) = bazaar.world.rows(watermarks)
        assert mark.until > bazaar.now - timedelta(minutes=30)


class TestLists:
    @pytest.mark.parametrize("fault", ["page_repeats", "page_without_meta", "page_failed"])
    def test_one_that_is_not_complete_moves_no_watermark(self, bazaar: Bazaar, fault: str) -> None:
        payment = pending(bazaar, hours=49)
        bazaar.at_paystack(payment, "abandoned")
        bazaar.sandbox.fault(fault, "list", times=99)
        assert bazaar.run(CLEANUP).exit_code == Exit.UNREACHABLE
        marks = bazaar.world.rows(watermarks)  # where the first run began
        bazaar.pass_time(hours=2)
        bazaar.at_paystack(payment, "success")
        bazaar.pass_time(minutes=5)
        assert bazaar.run(CLEANUP).exit_code == Exit.UNREACHABLE
        assert bazaar.world.rows(watermarks) == marks
        bazaar.sandbox.clear_faults()
        bazaar.run(CLEANUP)
        assert kinds(bazaar) == ["payment for nothing"]

    def test_what_succeeded_late_may_be_on_its_last_page(self, bazaar: Bazaar) -> None:
        """Of fifty entries each, whatever is asked for."""
        payment = late(bazaar)
        for n in range(60):
            at = bazaar.now - timedelta(seconds=n)
            bazaar.sandbox.pay("paystack", 100, "NGN", reference=f"of-another-{n}", at=at, captured_at=at)
        bazaar.run(CLEANUP)
        assert bazaar.moved(payment).status == "completed"


class TestClocks:
    def test_one_that_is_behind_hides_no_refund(self, bazaar: Bazaar) -> None:
        """Paystack takes no keys: what a list lacks would be asked for once more."""
        payment = late(bazaar)
        bazaar.sandbox.conditions("paystack", skew=-3600)
        bazaar.sandbox.fault("lost_answer", "refund")
        assert bazaar.run(CLEANUP).exit_code == Exit.UNKNOWN_OUTCOME
        for _ in range(4):
            bazaar.pass_time(minutes=10)
            for job in (SETTLER, CLEANUP):
                bazaar.run(job)
        assert bazaar.moved(payment).escrow_status == "refunded"
        assert [each.attempt for each in bazaar.world.rows(money_operations)] == [1]

    def test_nor_what_succeeded_late(self, bazaar: Bazaar) -> None:
        payment = pending(bazaar, hours=49)
        bazaar.at_paystack(payment, "abandoned")
        bazaar.run(CLEANUP)
        bazaar.sandbox.conditions("paystack", skew=-3600 * 6)
        bazaar.pass_time(hours=2)
        bazaar.at_paystack(payment, "success")
        bazaar.pass_time(minutes=5)
        bazaar.run(CLEANUP)
        assert kinds(bazaar) == ["payment for nothing"]


class TestHostileText:
    @pytest.mark.parametrize("fault", HOSTILE)
    @pytest.mark.parametrize("place", ["reference", "currency", "gateway_response"])
    def test_it_stops_nobody_who_is_verified(self, bazaar: Bazaar, fault: str, place: str) -> None:
        bad, *good = [pending(bazaar) for _ in range(3)]
        for each in (bad, *good):
            bazaar.at_paystack(each, "success")
        bazaar.sandbox.fault(fault, "retrieve", contains=str(bazaar.moved(bad).reference), place=place)
        assert bazaar.run(CLEANUP).exit_code in (Exit.DONE, Exit.ITEMS_FAILED)
        assert {bazaar.moved(each).status for each in good} == {"completed"}

    @pytest.mark.parametrize("fault", HOSTILE)
    @pytest.mark.parametrize("place", ["", "merchant_note", "status"])
    def test_it_leaves_no_refund_open(self, bazaar: Bazaar, fault: str, place: str) -> None:
        payment = late(bazaar)
        bazaar.sandbox.fault(fault, "refund", place=place)
        for _ in range(3):
            assert bazaar.run(CLEANUP).exit_code in (Exit.DONE, Exit.ITEMS_FAILED, Exit.UNKNOWN_OUTCOME)
            bazaar.pass_time(minutes=10)
            bazaar.run(SETTLER)
        told = {each.kind for each in bazaar.world.rows(findings)}
        # Our key is in that note: what bears another one may be another refund.
        assert (bazaar.moved(payment).escrow_status == "refunded") != ("money mismatch" in told), told
        assert place == "merchant_note" or "money mismatch" not in told
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "refund"]

    @pytest.mark.parametrize("fault", HOSTILE)
    @pytest.mark.parametrize("place", ["id", "reference", "paid_at"])
    def test_it_stops_no_list(self, bazaar: Bazaar, fault: str, place: str) -> None:
        payment = late(bazaar)
        bazaar.sandbox.fault(fault, "list", times=9, place=place)
        assert bazaar.run(CLEANUP).exit_code in (Exit.DONE, Exit.ITEMS_FAILED, Exit.UNREACHABLE)
        bazaar.sandbox.clear_faults()
        done = bazaar.run(CLEANUP)
        assert bazaar.moved(payment).status == "completed", (done, bazaar.world.errors())


class TestWhatTheDatabaseRefuses:
    def test_a_refund_that_cannot_be_begun_stops_no_other(self, bazaar: Bazaar) -> None:
        bad, *good = all_late(bazaar, 3)
        bazaar.world.refuse(money_operations, "subject_id", bad)
        done = bazaar.run(CLEANUP)
        assert done.exit_code == Exit.ITEMS_FAILED
        assert bad in bazaar.world.failed(done)
        bazaar.pass_time(minutes=10)
        bazaar.run(SETTLER)
        assert {bazaar.moved(each).escrow_status for each in good} == {"refunded"}
        bazaar.world.allow(money_operations)
        for _ in range(2):
            bazaar.run(CLEANUP)
            bazaar.pass_time(minutes=10)
            bazaar.run(SETTLER)
        assert bazaar.moved(bad).escrow_status == "refunded"

    def test_nor_does_a_request_that_cannot_be_declined(self, bazaar: Bazaar) -> None:
        bad, *good = [bazaar.request() for _ in range(3)]
        bazaar.world.refuse(requests, "id", bad)
        done = bazaar.run(CLEANUP)
        assert (done.exit_code, bazaar.world.failed(done)) == (Exit.ITEMS_FAILED, [bad])
        assert {bazaar.asked(each).status for each in good} == {"declined"}

    def test_nor_one_whose_late_success_cannot_be_recorded(self, bazaar: Bazaar) -> None:
        bad, good = all_late(bazaar, 2)
        bazaar.world.refuse(wallet_transactions, "id", bad)
        assert bazaar.run(CLEANUP).exit_code == Exit.ITEMS_FAILED
        assert bazaar.moved(good).status == "completed"
        assert "listed and not recorded" in kinds(bazaar)
