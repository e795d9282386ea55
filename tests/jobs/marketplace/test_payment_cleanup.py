"""What becomes of payments that nobody has told of, and of requests that nobody pays."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from jobctl import db
from jobctl.errors import Exit
from jobctl.money import Money
from jobctl.sandbox.faults import POINTS
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import requests, wallet_transactions
from tests.bazaar import Bazaar
from tests.world import NOW, ago

JOB, SETTLER = "payment-cleanup", "settle-operations"
UNDER_WAY = ["abandoned", "ongoing", "pending", "processing", "queued"]


def pending(bazaar: Bazaar, hours: float = 25, **values: Any) -> int:
    """Add a request with a payment, both that many hours old."""
    return bazaar.transaction(bazaar.request(created_at=ago(hours=hours)), **values)


def request_of(bazaar: Bazaar, payment: int) -> Any:
    return bazaar.asked(bazaar.moved(payment).request_id)


def templates(bazaar: Bazaar) -> list[tuple[int, str]]:
    return sorted({(user, template) for user, _, template in bazaar.world.told()})


class TestVerification:
    def test_what_succeeded_is_held_and_its_request_begins(self, bazaar: Bazaar) -> None:
        payment = pending(bazaar)
        bazaar.at_paystack(payment, "success")
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"completed": 1})
        row, request = bazaar.moved(payment), request_of(bazaar, payment)
        assert (row.status, row.escrow_status, row.paid_at) == ("completed", "pending", NOW)
        assert (request.status, request.paid_at) == ("in_progress", NOW)
        assert templates(bazaar) == [(request.creator_id, "request-paid")]
        assert bazaar.run(JOB).counts == {}

    @pytest.mark.parametrize("late", [False, True])
    def test_what_was_received_is_not_made_another_amount(self, bazaar: Bazaar, late: bool) -> None:
        """Else more could be released than was paid, or less given back."""
        payment = pending(bazaar, hours=49)
        bazaar.at_paystack(payment, "abandoned" if late else "success")
        bazaar.run(JOB)
        if late:
            bazaar.pass_time(hours=2)
            bazaar.at_paystack(payment, "success")
            bazaar.pass_time(minutes=30)
            bazaar.run(JOB)
        row = bazaar.moved(payment)
        assert (row.status, row.received_minor) == ("completed", row.amount_minor)
        for other in (row.amount_minor - 1, row.amount_minor * 100):
            with pytest.raises(IntegrityError):
                bazaar.world.change(wallet_transactions, payment, amount_minor=other)

    @pytest.mark.parametrize(
        ("status", "escrow"), [("failed", "void"), ("reversed", "refunded")], ids=["failed", "reversed"]
    )
    def test_what_failed_ends_its_request(self, bazaar: Bazaar, status: str, escrow: str) -> None:
        payment = pending(bazaar)
        bazaar.at_paystack(payment, status)
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.DONE, {status: 1})
        row, request = bazaar.moved(payment), request_of(bazaar, payment)
        assert (row.status, row.escrow_status, row.failure) == ("failed", escrow, status)
        assert (request.status, request.paid_at) == ("declined", None)
        assert templates(bazaar) == [(request.user_id, "request-declined")]

    @pytest.mark.parametrize("status", ["failed", "reversed", "abandoned"])
    def test_what_is_told_of_the_other_mode_is_for_a_person(self, bazaar: Bazaar, status: str) -> None:
        payment = pending(bazaar, hours=49)
        bazaar.at_paystack(payment, status)
        bazaar.sandbox.fault("other_mode", "retrieve")
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"payment mismatch": 1})
        assert (bazaar.moved(payment).status, request_of(bazaar, payment).status) == ("unverified", "pending")

    @pytest.mark.parametrize("status", UNDER_WAY)
    def test_what_is_undecided_has_its_time(self, bazaar: Bazaar, status: str) -> None:
        payment = pending(bazaar)
        bazaar.at_paystack(payment, status)
        assert bazaar.run(JOB).counts == {"still undecided": 1}
        assert (bazaar.moved(payment).status, request_of(bazaar, payment).status) == ("pending", "pending")
        bazaar.pass_time(hours=24)
        assert bazaar.run(JOB).counts == {"timed out": 1}
        row = bazaar.moved(payment)
        assert (row.status, row.escrow_status, row.failure) == ("failed", "void", "timeout")
        assert request_of(bazaar, payment).status == "declined"

    def test_its_request_is_then_declined_if_it_is_old_enough(self, bazaar: Bazaar) -> None:
        """In the same run, as the dry run shows."""
        payment = pending(bazaar, hours=49, reference=None)
        shown = bazaar.run(JOB, dry_run=True).document["counts"]
        counts = bazaar.run(JOB).counts
        assert counts == {"failed without a reference": 1, "declined": 1}
        assert {name: shown[name] for name in counts} == counts
        assert request_of(bazaar, payment).status == "declined"

    @pytest.mark.parametrize("wrong", [{"amount": 9_999}, {"currency": "USD"}], ids=str)
    def test_another_amount_is_for_a_person(self, bazaar: Bazaar, wrong: dict[str, Any]) -> None:
        payment = pending(bazaar)
        bazaar.at_paystack(payment, "success", **wrong)
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"payment mismatch": 1})
        row = bazaar.moved(payment)
        assert (row.status, row.escrow_status) == ("unverified", "pending")
        (finding,) = bazaar.world.rows(findings)
        paid = Money(wrong.get("amount", 10_000), wrong.get("currency", "NGN"))
        assert (finding.kind, Money(finding.amount_minor, finding.currency)) == ("payment mismatch", paid)
        bazaar.pass_time(hours=30)
        assert bazaar.run(JOB).counts == {}
        assert request_of(bazaar, payment).status == "pending"

    def test_without_a_reference_it_is_a_time_out(self, bazaar: Bazaar) -> None:
        payment = pending(bazaar, reference=None)
        assert bazaar.run(JOB).counts == {"failed without a reference": 1}
        row = bazaar.moved(payment)
        assert (row.status, row.escrow_status, row.failure) == ("failed", "void", "timeout")
        assert request_of(bazaar, payment).status == "pending"

    @pytest.mark.parametrize(
        "fact",
        [
            {"status": "completed"},
            {"escrow_status": None},
            {"created_at": ago(hours=23)},
            {"next_look_at": NOW + timedelta(minutes=1)},
        ],
        ids=str,
    )
    def test_another_is_not_asked_about(self, bazaar: Bazaar, fact: dict[str, Any]) -> None:
        bazaar.world.change(wallet_transactions, pending(bazaar), **fact)
        assert bazaar.run(JOB).counts == {}
        assert "retrieve" not in bazaar.sandbox.requests()

    def test_a_second_payment_of_the_same_request_is_given_back(self, bazaar: Bazaar) -> None:
        first = pending(bazaar)
        second = bazaar.transaction(bazaar.moved(first).request_id)
        for each in (first, second):
            bazaar.at_paystack(each, "success")
        assert bazaar.run(JOB).exit_code == Exit.ITEMS_FAILED
        bazaar.pass_time(minutes=5)
        bazaar.run(SETTLER)
        assert {bazaar.moved(each).escrow_status for each in (first, second)} == {"pending", "refunded"}

    def test_one_that_fails_leaves_a_request_that_another_may_still_pay(self, bazaar: Bazaar) -> None:
        first = pending(bazaar)
        bazaar.transaction(bazaar.moved(first).request_id, created_at=ago(hours=1))
        bazaar.at_paystack(first, "failed")
        assert bazaar.run(JOB).counts == {"failed": 1}
        assert request_of(bazaar, first).status == "pending"


class TestAbsence:
    """That a provider has no such payment may tell of the key that it was asked with."""

    def known(self, bazaar: Bazaar) -> int:
        """Have a payment of the same account verified, which proves from then on that it is asked."""
        payment = pending(bazaar, hours=26)
        bazaar.at_paystack(payment, "success")
        assert bazaar.run(JOB).counts == {"completed": 1}
        assert bazaar.moved(payment).account == "test"
        return payment

    def test_one_of_an_account_that_is_known_to_be_asked_times_out(self, bazaar: Bazaar) -> None:
        self.known(bazaar)
        payment = pending(bazaar, account="test")
        assert bazaar.run(JOB).counts == {"not found yet": 1}
        bazaar.pass_time(hours=24)
        assert bazaar.run(JOB).counts == {"timed out": 1}
        row = bazaar.moved(payment)
        assert (row.status, row.escrow_status, row.failure) == ("failed", "void", "not_found")
        assert request_of(bazaar, payment).status == "declined"

    @pytest.mark.parametrize(
        "why", ["no other payment is known", "the row names no account", "it has none of them"]
    )
    def test_without_that_proof_it_is_left_and_in_the_end_to_a_person(self, bazaar: Bazaar, why: str) -> None:
        witness = None if why == "no other payment is known" else self.known(bazaar)
        if witness and why == "it has none of them":
            bazaar.world.change(wallet_transactions, witness, reference="of another integration")
        payment = pending(bazaar, hours=49, account=None if "names" in why else "test")
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"not found, and left": 1})
        bazaar.pass_time(hours=71)
        bazaar.run(JOB)
        assert (bazaar.moved(payment).status, request_of(bazaar, payment).status) == ("pending", "pending")
        bazaar.pass_time(hours=1, minutes=1)
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts["unverified"]) == (Exit.ITEMS_FAILED, 1)
        assert (bazaar.moved(payment).status, request_of(bazaar, payment).status) == ("unverified", "pending")
        assert [each.kind for each in bazaar.world.rows(findings)] == ["payment unverified"]

    @pytest.mark.parametrize("status", ["refunded", None])
    def test_what_is_there_no_more_or_was_paid_out_is_no_witness(
        self, bazaar: Bazaar, status: str | None
    ) -> None:
        """A payout is no transaction at Paystack: asked about it would tell of the wrong key."""
        self.known(bazaar)
        given = {"status": "completed", "account": "test", "paid_at": ago(hours=1), "escrow_status": status}
        bazaar.transaction(bazaar.request(status="declined"), reference="TRF_1", **given)
        payment = pending(bazaar, hours=49, account="test")
        assert bazaar.run(JOB).counts == {"timed out": 1}
        assert bazaar.moved(payment).failure == "not_found"

    @pytest.mark.parametrize("fault", ["other_reference", "other_mode"])
    def test_an_answer_about_another_payment_is_no_such_proof(self, bazaar: Bazaar, fault: str) -> None:
        witness = self.known(bazaar)
        payment = pending(bazaar, hours=49, account="test")
        bazaar.sandbox.fault(fault, "retrieve", contains=bazaar.moved(witness).reference)
        assert bazaar.run(JOB).counts == {"not found, and left": 1}
        assert (bazaar.moved(payment).status, request_of(bazaar, payment).status) == ("pending", "pending")

    def test_one_that_was_begun_at_another_account_is_not_asked_about(self, bazaar: Bazaar) -> None:
        payment = pending(bazaar, hours=49, account="live")
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1})
        assert bazaar.moved(payment).status == "pending"
        assert "retrieve" not in bazaar.sandbox.requests()

    def test_a_run_that_finds_nothing_of_what_it_asks_about_concludes_nothing(self, bazaar: Bazaar) -> None:
        """With the key of another integration, say: three paid payments, which that one doesn't know."""
        payments = [pending(bazaar, hours=50, account="test") for _ in range(3)]
        done = bazaar.run(JOB)
        assert done.exit_code == Exit.MISCONFIGURED
        assert "is this the right key?" in done.err
        for each in payments:
            assert (bazaar.moved(each).status, request_of(bazaar, each).status) == ("pending", "pending")
            bazaar.at_paystack(each, "success", captured_at=NOW - timedelta(hours=49))
        bazaar.pass_time(hours=1)
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"completed": 3})

    def test_one_that_turns_up_within_a_day_is_given_back(self, bazaar: Bazaar) -> None:
        self.known(bazaar)
        payment = pending(bazaar, hours=49, account="test")
        assert bazaar.run(JOB).counts == {"timed out": 1}
        bazaar.at_paystack(payment, "success", captured_at=NOW - timedelta(hours=48))
        bazaar.pass_time(hours=1)
        done = bazaar.run(JOB)
        assert done.exit_code == Exit.ITEMS_FAILED
        assert [each.kind for each in bazaar.world.rows(findings)] == ["payment for nothing"]
        bazaar.pass_time(minutes=10)
        bazaar.run(SETTLER)
        assert bazaar.moved(payment).escrow_status == "refunded"
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "charge", "refund"]

    @pytest.mark.parametrize(
        ("fault", "kinds"), [("other_mode", ["payment mismatch"]), ("other_status", []), ("unpaid", [])]
    )
    def test_what_cannot_be_told_of_one_is_for_a_person(
        self, bazaar: Bazaar, fault: str, kinds: list[str]
    ) -> None:
        self.known(bazaar)
        payment = pending(bazaar, hours=49, account="test")
        assert bazaar.run(JOB).counts == {"timed out": 1}
        long_ago = {"at": ago(days=10), "captured_at": ago(days=9)}  # so that no list has it
        bazaar.at_paystack(payment, "success", **long_ago)
        bazaar.pass_time(hours=1)
        bazaar.sandbox.fault(fault, "retrieve")
        done = bazaar.run(JOB)
        assert (done.exit_code, bazaar.moved(payment).status) == (Exit.ITEMS_FAILED, "failed")
        assert [each.kind for each in bazaar.world.rows(findings)] == kinds
        assert done.document["errors"] == 1

    def test_one_that_does_not_is_left_alone_after_that(self, bazaar: Bazaar) -> None:
        self.known(bazaar)
        pending(bazaar, hours=49, account="test")
        bazaar.run(JOB)
        for _ in range(30):
            bazaar.pass_time(hours=1)
            bazaar.run(JOB)
        before = bazaar.sandbox.requests()["retrieve"]
        bazaar.pass_time(hours=2)
        assert bazaar.run(JOB).counts == {}
        assert bazaar.sandbox.requests()["retrieve"] == before


class TestWhatTheDatabaseRefuses:
    """The application's triggers and rules refuse a row here and there; the others go on."""

    def test_a_success_that_cannot_be_recorded_is_an_error_of_each_run_that_asks(
        self, bazaar: Bazaar
    ) -> None:
        bad, *good = [pending(bazaar) for _ in range(3)]
        for each in (bad, *good):
            bazaar.at_paystack(each, "success")
        bazaar.world.forbid(wallet_transactions, f"NEW.id = {bad} AND NEW.status = 'completed'")
        for counts in ({"completed": 2, "failed": 1}, {"failed": 1}, {"failed": 1}):
            done = bazaar.run(JOB)
            assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, counts)
            assert bazaar.world.failed(done) == [bad]
            bazaar.pass_time(hours=1)
        assert {each.error.rpartition(": ")[2] for each in bazaar.world.errors()} == {"not this one"}
        row = bazaar.moved(bad)
        assert (row.status, row.claimed_by, row.looks) == ("pending", None, 3)
        assert row.next_look_at > ago(minutes=0)  # others go first
        assert request_of(bazaar, bad).status == "pending"

    def test_one_that_cannot_even_be_put_off_is_one_too(self, bazaar: Bazaar) -> None:
        bad, good = pending(bazaar), pending(bazaar)
        for each in (bad, good):
            bazaar.at_paystack(each, "success")
        bazaar.world.forbid(wallet_transactions, f"NEW.id = {bad} AND NEW.claimed_by IS NULL")
        done = bazaar.run(JOB)
        assert done.exit_code == Exit.ITEMS_FAILED
        assert (done.counts["completed"], {*bazaar.world.failed(done)}) == (1, {bad})
        assert bazaar.moved(good).claimed_by is None

    def test_one_that_cannot_be_claimed_is_named(self, bazaar: Bazaar) -> None:
        good, bad = pending(bazaar), pending(bazaar)
        for each in (good, bad):
            bazaar.at_paystack(each, "success")
        bazaar.world.refuse(wallet_transactions, "id", bad)
        for counts in ({"completed": 1, "failed": 1}, {"failed": 1}):
            done = bazaar.run(JOB)
            assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, counts)
            assert bazaar.world.failed(done) == [bad]

    def test_one_that_a_dead_run_has_claimed(self, bazaar: Bazaar) -> None:
        good, bad = pending(bazaar, claimed_by=900), pending(bazaar, claimed_by=900)
        bazaar.at_paystack(good, "success")
        bazaar.world.refuse(wallet_transactions, "id", bad)
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"completed": 1, "failed": 1})
        assert bazaar.world.failed(done) == [bad]

    @pytest.mark.only("postgresql")
    def test_one_that_somebody_has_locked_is_waited_for_and_named(
        self, bazaar: Bazaar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=50))
        locked, good = pending(bazaar), pending(bazaar)
        for each in (locked, good):
            bazaar.at_paystack(each, "success")
        with bazaar.world.engine.connect() as rival, rival.begin():
            theirs = select(wallet_transactions).where(wallet_transactions.c.id == locked)
            rival.execute(theirs.with_for_update())
            done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"completed": 1, "failed": 1})
        assert bazaar.world.failed(done) == [locked]
        assert bazaar.run(JOB).counts == {"completed": 1}


class TestOutages:
    @pytest.mark.parametrize("fault", ["dropped", "http_500_before", "garbage", "http_429"])
    def test_a_day_of_it_fails_no_payment(self, bazaar: Bazaar, fault: str) -> None:
        """A job that takes no answer for a failure would have failed all twenty in its first run."""
        payments = [pending(bazaar, hours=24 + n) for n in range(20)]
        for each in payments:
            bazaar.at_paystack(each, "success")
        bazaar.sandbox.fault(fault, "any", times=1_000_000)
        for _ in range(8):
            assert bazaar.run(JOB).exit_code in (Exit.UNREACHABLE, Exit.ITEMS_FAILED)
            bazaar.pass_time(hours=3)
        assert {bazaar.moved(each).status for each in payments} == {"pending"}
        assert {request_of(bazaar, each).status for each in payments} == {"pending"}
        bazaar.sandbox.clear_faults()
        bazaar.pass_time(hours=1)
        assert bazaar.run(JOB).counts == {"completed": 20}

    def test_who_is_silent_for_three_days_leaves_it_to_a_person(self, bazaar: Bazaar) -> None:
        payments = [pending(bazaar) for _ in range(30)]
        bazaar.sandbox.fault("dropped", times=1_000_000)
        for _ in range(9):
            bazaar.run(JOB)
            bazaar.pass_time(hours=8)
        assert {bazaar.moved(each).status for each in payments} == {"pending"}
        bazaar.pass_time(hours=1)
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts["unverified"]) == (Exit.UNREACHABLE, 30)
        assert {bazaar.moved(each).status for each in payments} == {"unverified"}
        assert [each.kind for each in bazaar.world.rows(findings)] == ["payment unverified"] * 30
        assert {request_of(bazaar, each).status for each in payments} == {"pending"}

    def silent_five_days_ago(self, bazaar: Bazaar) -> None:
        """Have a run that nobody answered, and none after it, as no payment was due."""
        known = pending(bazaar)
        bazaar.sandbox.fault("dropped", times=1_000_000)
        bazaar.run(JOB)
        bazaar.world.change(wallet_transactions, known, status="failed", escrow_status="void")
        bazaar.world.change(requests, bazaar.moved(known).request_id, status="declined")
        bazaar.pass_time(days=5)

    def test_a_silence_of_before_it_was_due_gives_up_none(self, bazaar: Bazaar) -> None:
        self.silent_five_days_ago(bazaar)
        payment = bazaar.transaction(bazaar.request(created_at=bazaar.now - timedelta(hours=25)))
        for _ in range(3):
            assert bazaar.run(JOB).exit_code == Exit.UNREACHABLE
            bazaar.pass_time(hours=2)
        assert bazaar.moved(payment).status == "pending"
        bazaar.pass_time(hours=64)
        bazaar.run(JOB)
        assert bazaar.moved(payment).status == "pending"
        bazaar.pass_time(hours=1)
        assert bazaar.run(JOB).counts["unverified"] == 1

    def test_nor_one_that_was_asked_about_once(self, bazaar: Bazaar) -> None:
        self.silent_five_days_ago(bazaar)
        payment = bazaar.transaction(bazaar.request(created_at=bazaar.now - timedelta(hours=97)))
        bazaar.run(JOB)
        assert (bazaar.moved(payment).status, bazaar.moved(payment).looks) == ("pending", 1)
        bazaar.pass_time(hours=1)
        assert bazaar.run(JOB).counts["unverified"] == 1
        assert bazaar.moved(payment).looks == 2

    def test_an_answer_between_begins_the_three_days_anew(self, bazaar: Bazaar) -> None:
        payment = pending(bazaar)
        bazaar.at_paystack(payment, "abandoned")
        for hours in (50, 50):
            bazaar.sandbox.fault("dropped", times=1_000_000)
            bazaar.run(JOB)
            bazaar.pass_time(hours=hours)
            bazaar.sandbox.clear_faults()
            bazaar.world.change(wallet_transactions, payment, created_at=bazaar.now - timedelta(hours=25))
            assert bazaar.run(JOB).counts == {"still undecided": 1}
        assert bazaar.moved(payment).status == "pending"

    @pytest.mark.parametrize("fault", ["http_401", "http_403"])
    def test_to_be_locked_out_counts_against_no_payment(self, bazaar: Bazaar, fault: str) -> None:
        payment = pending(bazaar)
        bazaar.sandbox.fault(fault, times=1_000_000)
        for _ in range(5):
            assert bazaar.run(JOB).exit_code == Exit.MISCONFIGURED
            bazaar.pass_time(days=1)
        assert bazaar.moved(payment).status == "pending"

    def test_without_a_key_nothing_is_concluded(self, bazaar: Bazaar) -> None:
        payment = pending(bazaar)
        bazaar.world.configure(paystack_secret_key=None)
        assert bazaar.run(JOB).exit_code == Exit.MISCONFIGURED
        assert bazaar.moved(payment).status == "pending"


class TestUnpaidRequests:
    def test_it_is_declined_with_a_record_and_its_user_told(self, bazaar: Bazaar) -> None:
        made = bazaar.request()
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"declined": 1})
        request, (record,) = bazaar.asked(made), bazaar.world.rows(wallet_transactions)
        assert (request.status, request.declined_at) == ("declined", NOW)
        assert (record.request_id, record.status, record.escrow_status) == (made, "failed", "void")
        assert (record.failure, record.amount_minor, record.reference) == ("request_timeout", 10_000, None)
        assert templates(bazaar) == [(request.user_id, "request-declined")]
        assert bazaar.run(JOB).counts == {}
        assert len(bazaar.world.rows(wallet_transactions)) == 1

    @pytest.mark.parametrize(
        "fact",
        [
            {"status": "in_progress"},
            {"paid_at": ago(hours=1)},
            {"created_at": ago(hours=47)},
        ],
        ids=str,
    )
    def test_another_is_not(self, bazaar: Bazaar, fact: dict[str, Any]) -> None:
        bazaar.world.change(requests, bazaar.request(), **fact)
        assert bazaar.run(JOB).counts == {}

    @pytest.mark.parametrize("status", ["pending", "completed", "unverified"])
    def test_nor_one_with_a_payment_that_may_come_to_something(self, bazaar: Bazaar, status: str) -> None:
        bazaar.transaction(bazaar.request(), status=status, created_at=ago(hours=1))
        assert bazaar.run(JOB).counts == {}

    def test_nor_one_whose_payment_has_just_begun_and_has_no_number_yet(self, bazaar: Bazaar) -> None:
        bazaar.transaction(bazaar.request(), reference=None, created_at=ago(hours=1))
        assert bazaar.run(JOB).counts == {}

    def test_one_whose_payment_failed_is(self, bazaar: Bazaar) -> None:
        bazaar.transaction(bazaar.request(), status="failed", escrow_status="void")
        assert bazaar.run(JOB).counts == {"declined": 1}


class TestLateSuccesses:
    def late(self, bazaar: Bazaar) -> int:
        payment = pending(bazaar, hours=49)
        bazaar.at_paystack(payment, "abandoned")
        assert bazaar.run(JOB).counts == {"timed out": 1}
        bazaar.pass_time(hours=2)
        bazaar.at_paystack(payment, "success")
        bazaar.pass_time(minutes=30)
        return payment

    def test_it_is_given_back_and_reported(self, bazaar: Bazaar) -> None:
        payment = self.late(bazaar)
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (
            Exit.ITEMS_FAILED,
            {"completed and to be refunded": 1, "pending": 1},
        )
        assert [each.kind for each in bazaar.world.rows(findings)] == ["payment for nothing"]
        assert (bazaar.moved(payment).status, bazaar.moved(payment).escrow_status) == ("completed", "void")
        bazaar.pass_time(minutes=10)
        assert bazaar.run(SETTLER).counts == {"refunded": 1}
        row = bazaar.moved(payment)
        assert (row.escrow_status, request_of(bazaar, payment).status) == ("refunded", "declined")
        assert (row.user_id, "request-refunded") in templates(bazaar)
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "refund"]
        assert bazaar.run(JOB).counts == {}

    @pytest.mark.parametrize("fault", sorted(set(POINTS) - {"http_400", "delay"}))
    def test_after_any_fault_it_is_given_back_once(self, bazaar: Bazaar, fault: str) -> None:
        """Paystack takes no idempotency keys: what was sent is looked for, and never sent again."""
        payment = self.late(bazaar)
        bazaar.sandbox.fault(fault, "refund")
        for _ in range(6):
            bazaar.run(JOB)
            bazaar.pass_time(minutes=20)
            bazaar.run(SETTLER)
        assert bazaar.moved(payment).escrow_status == "refunded"
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "refund"]
        assert [each.settled_at is None for each in bazaar.world.rows(money_operations)].count(True) == 0

    def test_what_a_person_has_given_back_already_is_taken_for_that(self, bazaar: Bazaar) -> None:
        payment = self.late(bazaar)
        bazaar.at_paystack(payment, "reversed")
        bazaar.world.change(wallet_transactions, payment, status="completed")
        assert bazaar.run(JOB).counts == {"refunded": 1}
        assert bazaar.moved(payment).escrow_status == "refunded"

    def test_one_that_nobody_could_verify_is_held(self, bazaar: Bazaar) -> None:
        """Its request still waits: it may well be that the provider was silent for days."""
        payment = pending(bazaar, hours=30)
        bazaar.world.change(wallet_transactions, payment, status="unverified")
        bazaar.at_paystack(payment, "success", captured_at=NOW - timedelta(hours=1))
        assert bazaar.run(JOB).counts == {"completed": 1}
        assert (bazaar.moved(payment).escrow_status, request_of(bazaar, payment).status) == (
            "pending",
            "in_progress",
        )

    def test_what_a_person_was_told_of_one_is_resolved_then(self, bazaar: Bazaar) -> None:
        payment = pending(bazaar)
        bazaar.sandbox.fault("dropped", times=1_000_000)
        for hours in (0, 36, 37):
            bazaar.pass_time(hours=hours)
            bazaar.run(JOB)
        assert bazaar.moved(payment).status == "unverified"
        bazaar.at_paystack(payment, "success")
        bazaar.sandbox.clear_faults()
        bazaar.pass_time(hours=1)
        assert bazaar.run(JOB).counts == {"completed": 1}
        assert [(each.kind, each.status) for each in bazaar.world.rows(findings)] == [
            ("payment unverified", "resolved")
        ]

    @pytest.mark.parametrize("fault", ["other_amount", "other_currency", "other_mode", "other_reference"])
    def test_one_of_which_something_else_was_told_is_left_to_the_person(
        self, bazaar: Bazaar, fault: str
    ) -> None:
        """Though the list has it as it should be, in the same run: one of both answers is wrong."""
        payment = pending(bazaar)
        bazaar.at_paystack(payment, "success", captured_at=NOW - timedelta(hours=1))
        bazaar.sandbox.fault(fault, "retrieve")
        for counts in ({"payment mismatch": 1}, {}):
            assert bazaar.run(JOB).counts == counts
            row = bazaar.moved(payment)
            assert (row.status, request_of(bazaar, payment).status) == ("unverified", "pending")
            bazaar.pass_time(hours=1)
        (finding,) = bazaar.world.rows(findings)
        assert (finding.kind, finding.status) == ("payment mismatch", "open")


def test_since_bounds_the_creation(bazaar: Bazaar) -> None:
    bazaar.at_paystack(pending(bazaar, hours=40), "failed")
    assert bazaar.run(JOB, since=NOW - timedelta(hours=30)).counts == {}
    assert bazaar.run(JOB, since=NOW - timedelta(hours=41)).counts == {"failed": 1}


def test_a_dry_run_says_why_it_would_put_something_back(bazaar: Bazaar) -> None:
    payment = pending(bazaar)
    bazaar.sandbox.fault("http_401", "retrieve", times=9)
    done = bazaar.run(JOB, dry_run=True)
    (row,) = done.document["rows"]
    assert (row["row_id"], row["outcome"]) == (payment, "put back")
    assert row["request"]["reason"]


def test_a_dry_run_asks_the_same_and_changes_nothing(bazaar: Bazaar) -> None:
    for status in ("success", "failed", "abandoned"):
        bazaar.at_paystack(pending(bazaar), status)
    bazaar.request()
    before = bazaar.world.everything()
    shown = bazaar.run(JOB, dry_run=True).document["counts"]
    assert bazaar.world.everything() == before
    done = bazaar.run(JOB).counts
    assert {name: shown[name] for name in done} == done
