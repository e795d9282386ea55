"""What holds of escrow whoever writes beside us: disputes, locks, refunds, late and reversed payments."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DBAPIError

from jobctl.errors import Exit
from jobctl.sandbox.paystack.account import FIRST_REFUND
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import (
    ledger_postings,
    provider_silences,
    requests,
    wallet_transactions,
    wallets,
)
from tests.bazaar import Bazaar
from tests.rival import while_held
from tests.world import NOW, ago

CLEANUP, RELEASE, SETTLER = "payment-cleanup", "escrow-release", "settle-operations"
ours = wallet_transactions.c


def pending(bazaar: Bazaar, hours: float = 25, **values: Any) -> int:
    return bazaar.transaction(bazaar.request(created_at=ago(hours=hours)), **values)


def request_of(bazaar: Bazaar, payment: int) -> Any:
    return bazaar.asked(bazaar.moved(payment).request_id)


def given_up(bazaar: Bazaar, status: str = "success") -> int:
    """Have a payment that timed out here; its provider has it as that two hours later."""
    payment = pending(bazaar, hours=49)
    bazaar.at_paystack(payment, "abandoned")
    assert bazaar.run(CLEANUP).counts == {"timed out": 1}
    bazaar.pass_time(hours=2)
    bazaar.at_paystack(payment, "success")
    if status != "success":
        bazaar.at_paystack(payment, status)
    bazaar.pass_time(minutes=30)
    return payment


def completed(bazaar: Bazaar) -> tuple[int, int]:
    """Have a payment that can be released; return it, and the wallet that it goes to."""
    payment = bazaar.paid()
    bazaar.wallet(None)
    return payment, bazaar.wallet(request_of(bazaar, payment).creator_id)


@pytest.mark.only("postgresql")
class TestDisputes:
    """A dispute opened while escrow is being released stops it, or comes after it; never both."""

    def test_one_that_is_about_to_be_opened_is_waited_for_and_stops_it(self, bazaar: Bazaar) -> None:
        payment, _ = completed(bazaar)
        dispute = update(requests).values(dispute="open")
        done = while_held(bazaar.world, dispute, lambda: bazaar.run(RELEASE))
        assert (done.counts, bazaar.moved(payment).escrow_status) == ({}, "pending")
        assert bazaar.world.rows(ledger_postings) == []

    def test_while_it_is_released_none_can_be_opened(self, bazaar: Bazaar) -> None:
        payment, wallet = completed(bazaar)

        def dispute(connection: Connection) -> None:
            theirs = select(requests).with_for_update(nowait=True)
            with pytest.raises(DBAPIError), connection.begin_nested():
                connection.execute(theirs)

        held = select(wallets).where(wallets.c.id == wallet).with_for_update()
        done = while_held(bazaar.world, held, lambda: bazaar.run(RELEASE), more=dispute)
        assert (done.counts, bazaar.moved(payment).escrow_status) == ({"released": 1}, "released")


@pytest.mark.only("postgresql")
class TestLocks:
    def test_a_second_payment_begun_while_the_first_one_fails_keeps_its_request(self, bazaar: Bazaar) -> None:
        """The application locks the request before it adds a payment of it."""
        first = pending(bazaar)
        bazaar.at_paystack(first, "failed")
        row = bazaar.moved(first)
        second = {"user_id": row.user_id, "provider": "paystack", "reference": "second", "created_at": NOW}
        second |= {"amount_minor": 10_000, "currency": "NGN", "escrow_status": "pending"}

        def begin(connection: Connection) -> None:
            connection.execute(select(requests).with_for_update())
            connection.execute(insert(wallet_transactions).values(request_id=row.request_id, **second))

        assert while_held(bazaar.world, begin, lambda: bazaar.run(CLEANUP)).counts == {"failed": 1}
        assert (bazaar.moved(first).status, request_of(bazaar, first).status) == ("failed", "pending")

    def test_a_request_is_locked_before_its_payment(self, bazaar: Bazaar) -> None:
        """As the application does; the other way round they would wait for each other."""
        payment = given_up(bazaar)
        theirs = select(wallet_transactions).where(ours.id == payment).with_for_update(nowait=True)
        request = select(requests).with_for_update()
        done = while_held(bazaar.world, request, lambda: bazaar.run(CLEANUP), more=theirs)
        assert done.counts["completed and to be refunded"] == 1

    def test_a_late_payment_that_is_given_back_by_hand_meanwhile_is_left_alone(self, bazaar: Bazaar) -> None:
        payment = given_up(bazaar)
        by_hand = update(wallet_transactions).where(ours.id == payment)
        by_hand = by_hand.values(escrow_status="refunded", refunded_at=NOW)
        assert while_held(bazaar.world, by_hand, lambda: bazaar.run(CLEANUP)).counts == {}
        assert (bazaar.moved(payment).status, bazaar.world.rows(findings)) == ("failed", [])

    def test_a_finding_that_a_person_resolves_meanwhile_keeps_their_words(self, bazaar: Bazaar) -> None:
        payment = given_up(bazaar)
        bazaar.run(CLEANUP)
        row = bazaar.moved(payment)
        refused = {"kind": "refund refused", "once_key": f"refund refused.paystack.{row.reference}"}
        found = bazaar.world.add(findings, refused | {"reason": "no", "facts": {}, "found_at": NOW})
        bazaar.pass_time(minutes=10)
        by_hand = {"status": "resolved", "resolved_at": NOW, "resolution": "called Paystack"}
        resolve = update(findings).where(findings.c.id == found).values(by_hand)
        assert while_held(bazaar.world, resolve, lambda: bazaar.run(SETTLER)).counts == {"refunded": 1}
        assert bazaar.world.one(findings, found).resolution == "called Paystack"

    def test_a_provider_that_answers_while_another_run_notes_its_silence_is_not_taken_for_silent(
        self, bazaar: Bazaar
    ) -> None:
        bazaar.at_paystack(pending(bazaar), "failed")
        silence = bazaar.world.add(provider_silences, {"provider": "paystack", "since": None})
        silent = update(provider_silences).values(since=ago(days=90))
        assert while_held(bazaar.world, silent, lambda: bazaar.run(CLEANUP)).counts == {"failed": 1}
        assert bazaar.world.one(provider_silences, silence).since is None

    def test_a_refund_that_another_run_takes_up_is_asked_about_once(self, bazaar: Bazaar) -> None:
        """Paystack has no keys: whoever has it locked is the one who asks."""
        given_up(bazaar)
        bazaar.sandbox.fault("lost_answer", "refund")
        assert bazaar.run(CLEANUP).exit_code == Exit.UNKNOWN_OUTCOME
        bazaar.pass_time(minutes=10)
        before = bazaar.sandbox.requests()
        taken = update(money_operations).values(claimed_by=900, answer_by=bazaar.now + timedelta(minutes=2))
        while_held(bazaar.world, taken, lambda: bazaar.run(SETTLER))
        assert bazaar.sandbox.requests() == before


class TestRefunds:
    @pytest.mark.parametrize("refusal", ["http_400", "http_401", "http_403", "http_429"])
    def test_a_look_that_is_refused_says_nothing_of_a_refund_without_an_answer(
        self, bazaar: Bazaar, refusal: str
    ) -> None:
        payment = given_up(bazaar)
        bazaar.sandbox.fault("lost_answer", "refund")
        assert bazaar.run(CLEANUP).exit_code == Exit.UNKNOWN_OUTCOME
        bazaar.sandbox.fault(refusal, times=99)
        for _ in range(2):
            bazaar.pass_time(minutes=10)
            assert bazaar.run(SETTLER).exit_code != Exit.DONE
            assert [each.settled_at for each in bazaar.world.rows(money_operations)] == [None]
        bazaar.sandbox.clear_faults()
        for _ in range(3):
            bazaar.pass_time(hours=1)
            bazaar.run(SETTLER)
            bazaar.run(CLEANUP)
        assert bazaar.moved(payment).escrow_status == "refunded"
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "refund"]

    @pytest.mark.parametrize(("then", "kinds"), [("processed", []), ("failed", ["refund refused"])])
    def test_one_that_a_person_has_to_see_to_there_is_found_once(
        self, bazaar: Bazaar, then: str, kinds: list[str]
    ) -> None:
        payment = given_up(bazaar)
        bazaar.sandbox.conditions("paystack", refund_first="needs-attention")
        bazaar.run(CLEANUP)
        before = open_findings(bazaar)
        for _ in range(2):
            bazaar.pass_time(days=1)
            bazaar.run(SETTLER)
            assert bazaar.run(CLEANUP).exit_code == Exit.DONE
        assert open_findings(bazaar) == before
        bazaar.pass_time(days=1, minutes=1)
        done = bazaar.run(CLEANUP)
        assert (done.exit_code, done.counts["refund undecided"]) == (Exit.ITEMS_FAILED, 1)
        assert open_findings(bazaar) == [*before, "refund undecided"]
        bazaar.pass_time(days=1)
        done = bazaar.run(CLEANUP)
        assert (done.exit_code, done.counts.get("refund undecided")) == (Exit.DONE, None)
        bazaar.sandbox.dashboard.settle("paystack", str(FIRST_REFUND), then)
        bazaar.pass_time(hours=2)
        bazaar.run(SETTLER)
        assert open_findings(bazaar) == [*before, *kinds]
        assert (bazaar.moved(payment).escrow_status == "refunded") == (then == "processed")


def open_findings(bazaar: Bazaar) -> list[str]:
    return [each.kind for each in bazaar.world.rows(findings) if each.status == "open"]


class TestLate:
    def test_one_given_up_whose_request_still_waits_is_refunded_and_starts_no_work(
        self, bazaar: Bazaar
    ) -> None:
        """Another payment of the request may still come to something: this one has no place any more."""
        first = pending(bazaar, hours=49)
        bazaar.at_paystack(first, "abandoned")
        second = bazaar.transaction(bazaar.moved(first).request_id, created_at=ago(hours=1))
        assert bazaar.run(CLEANUP).counts == {"timed out": 1}
        bazaar.pass_time(hours=2)
        bazaar.at_paystack(first, "success")
        for _ in range(3):
            bazaar.pass_time(minutes=20)
            bazaar.run(CLEANUP)
            bazaar.run(SETTLER)
        request, row = request_of(bazaar, first), bazaar.moved(first)
        assert (row.status, row.escrow_status, row.failure, row.failed_at) == (
            "completed",
            "refunded",
            None,
            None,
        )
        assert (request.status, request.paid_at) == ("pending", None)
        assert "request-paid" not in {template for _, _, template in bazaar.world.told()}
        assert bazaar.moved(second).status == "pending"
        assert [each.kind for each in bazaar.sandbox.ledger()] == ["charge", "refund"]

    def test_one_that_was_given_back_there_gives_nobody_anything_and_is_not_refunded_again(
        self, bazaar: Bazaar
    ) -> None:
        payment = given_up(bazaar, "reversed")
        before = bazaar.moved(payment), request_of(bazaar, payment), bazaar.sandbox.ledger()
        for _ in range(2):
            assert bazaar.run(CLEANUP).counts == {}
            assert bazaar.run(SETTLER).counts == {}
            bazaar.pass_time(hours=1)
        assert (bazaar.moved(payment), request_of(bazaar, payment), bazaar.sandbox.ledger()) == before
        assert (bazaar.world.rows(findings), bazaar.world.rows(money_operations)) == ([], [])
