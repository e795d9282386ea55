"""What becomes of a subscription where its provider, or a person there, tells something else than we do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from jobctl.errors import Exit
from jobctl.jobs.subscriptions import matching
from jobctl.sandbox import OTHER_SECRET_KEY, OTHER_YOOKASSA_SECRET_KEY, OTHER_YOOKASSA_SHOP_ID
from jobctl.tables.findings import findings
from jobctl.tables.frame import watermarks
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments, prices, subscription_periods, subscriptions
from tests.subscribers import Club
from tests.world import NOW, ago

AUTOPAYMENTS, SETTLER = "autopayments", "settle-operations"
PENDING, SUCCESSFUL = "matching-pending-payments", "matching-successful-payments"
END, NEXT = datetime(2026, 3, 2, 15, tzinfo=UTC), datetime(2026, 4, 2, 15, tzinfo=UTC)
DECLINES = {"stripe": "pm_card_visa_chargeDeclinedInsufficientFunds", "yookassa": "pm_yk_insufficient_funds"}
OTHERS: dict[str, dict[str, Any]] = {
    "stripe": {"stripe_secret_key": OTHER_SECRET_KEY},
    "yookassa": {
        "yookassa_shop_id": OTHER_YOOKASSA_SHOP_ID,
        "yookassa_secret_key": OTHER_YOOKASSA_SECRET_KEY,
    },
}
HOSTILE = ["text_nul", "text_surrogate", "text_long", "text_object"]


def asked(club: Club, call: str) -> int:
    return int(club.sandbox.requests().get(call, {"requests": 0})["requests"])


def work(club: Club, times: int, **span: float) -> None:
    for _ in range(times):
        club.pass_time(**span)
        for job in (SETTLER, AUTOPAYMENTS):
            club.run(job)


def waits(club: Club, made: int, code: str) -> None:
    """See that a person has the subscription now, and that nothing more is asked about it, or said of it."""
    (finding,) = club.world.rows(findings)
    assert (finding.kind, finding.subject, finding.subject_id) == ("money mismatch", "subscription", made)
    operation = club.world.rows(money_operations)[-1]
    assert (operation.status, operation.code) == ("mismatched", code)
    before = club.sandbox.requests(), club.sandbox.ledger()
    for _ in range(3):
        club.pass_time(hours=25)
        for job in (AUTOPAYMENTS, SETTLER):
            done = club.run(job)
            assert (done.exit_code, done.document["errors"]) == (Exit.DONE, 0)
    assert (club.sandbox.requests(), club.sandbox.ledger()) == before
    assert len(club.world.rows(findings)) == 1


class TestAnswersAboutSomethingElse:
    @pytest.mark.parametrize(
        "fault", ["other_amount", "other_received", "other_currency", "other_mode", "other_reference"]
    )
    def test_no_charge_is_believed(self, club: Club, fault: str) -> None:
        made = club.member()
        club.sandbox.fault(fault, "charge")
        done = club.run(AUTOPAYMENTS)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"mismatched": 1})
        assert (club.of(made).ended_at, len(club.periods(made))) == (END, 1)
        (operation,) = club.world.rows(money_operations)
        if fault in ("other_amount", "other_received"):
            assert (operation.amount_minor, operation.answered_minor) == (50_000, 1)
        waits(club, made, "other_amount" if fault == "other_received" else fault)

    def test_what_was_not_paid_is_not_renewed(self, club: Club) -> None:
        made = club.member()
        club.sandbox.fault("unpaid", "charge")
        assert club.run(AUTOPAYMENTS).exit_code in (Exit.UNKNOWN_OUTCOME, Exit.ITEMS_FAILED)
        assert club.of(made).ended_at == END

    @pytest.mark.parametrize("fault", ["other_amount", "other_currency", "other_payment"])
    def test_no_refund_is_believed(self, club: Club, fault: str) -> None:
        made = unwanted(club)
        club.sandbox.fault(fault, "refund")
        assert club.run(SETTLER).exit_code == Exit.ITEMS_FAILED
        (payment,) = club.renewals(made)
        assert payment.refunded_at is None
        waits(club, made, fault)

    @pytest.mark.parametrize("fault", ["other_id", "other_mode"])
    def test_no_payment_that_is_looked_up_is_believed(self, club: Club, fault: str) -> None:
        user = club.buyer()
        made = club.begun(user, club.pay(user))
        club.sandbox.fault(fault, "retrieve")
        club.sandbox.fault("page_failed", "list", times=9)
        club.run(PENDING)
        assert (club.paid(made).status, club.subscriptions_of(user)) == ("pending", [])
        assert [each.kind for each in club.world.rows(findings)] == ["payment mismatch"]

    @pytest.mark.parametrize("job", [PENDING, SUCCESSFUL])
    def test_nor_one_of_another_mode_that_is_listed(self, club: Club, job: str) -> None:
        """Play money pays for nothing, whoever tells of it."""
        user = club.buyer()
        number = club.pay(user)
        if job == PENDING:
            club.begun(user, number, status="expired")
        club.sandbox.fault("other_mode", "list", times=9)
        for _ in range(2):
            club.run(job)
        assert (club.subscriptions_of(user), club.world.rows(subscription_periods)) == ([], [])


def unwanted(club: Club) -> int:
    """Have a renewal charged of which nobody knows yet, and its subscription cancelled meanwhile."""
    made = club.member()
    club.sandbox.fault("lost_answer", "charge")
    assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
    club.world.change(subscriptions, made, status="cancelled")
    club.pass_time(minutes=5)
    return made


class TestByHand:
    def test_what_was_given_back_by_hand_already_is_given_back(self, club: Club) -> None:
        made = unwanted(club)
        (charge,) = club.sandbox.ledger()
        club.sandbox.dashboard.refund(club.provider, charge.intent)
        done = club.run(SETTLER)
        assert (done.exit_code, done.counts["refunded"]) == (Exit.DONE, 1)
        assert club.renewals(made)[0].refunded_at is not None
        assert club.run(SETTLER).counts == {}
        club.agree()

    def test_what_was_given_back_in_part_is_a_persons(self, club: Club) -> None:
        made = unwanted(club)
        (charge,) = club.sandbox.ledger()
        club.sandbox.dashboard.refund(club.provider, charge.intent, 1000)
        assert club.run(SETTLER).exit_code == Exit.ITEMS_FAILED
        waits(club, made, "refunded_by_hand")

    @pytest.mark.parametrize("club", ["stripe"], indirect=True)
    @pytest.mark.parametrize("card", [DECLINES["stripe"], "pm_card_authenticationRequired"])
    def test_a_declined_charge_cannot_be_completed_behind_our_back(self, club: Club, card: str) -> None:
        """At YooKassa a declined payment is canceled for good."""
        club.member(card)
        assert club.run(AUTOPAYMENTS).counts == {"declined": 1}
        decline, release = club.world.rows(money_operations)
        assert (release.kind, release.status, release.follows) == ("release", "succeeded", decline.id)
        with pytest.raises(ValueError, match=str(decline.payment_id)):
            club.sandbox.dashboard.complete("stripe", str(decline.payment_id), "pm_card_visa")


class TestKeysThatAreKnown:
    def test_what_the_journal_lost_is_not_charged_again(self, club: Club) -> None:
        """As after a restored backup, with another price than it was charged for."""
        made = club.member()
        club.run(AUTOPAYMENTS)
        (renewal,) = club.renewals(made)
        with club.world.engine.begin() as connection:
            theirs = subscription_periods.c.payment_id == renewal.id
            connection.execute(delete(subscription_periods).where(theirs))
            connection.execute(delete(payments).where(payments.c.id == renewal.id))
            connection.execute(delete(money_operations))
        club.world.change(subscriptions, made, ended_at=END, next_charge_at=NOW.replace(hour=0))
        dearer = {"plan_id": club.plan, "currency": "RUB", "amount_minor": 60_000}
        club.world.add(prices, dearer | {"valid_from": ago(days=1)})
        club.pass_time(minutes=2)
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
        work(club, 6, minutes=10)
        assert [(each.kind, each.amount) for each in club.sandbox.ledger()] == [("charge", 50_000)]
        waits(club, made, "other_amount")


class TestTheRightPlace:
    @pytest.mark.parametrize("fault", ["route_not_found", "html_404"])
    @pytest.mark.parametrize("call", ["retrieve", "list"])
    def test_what_a_gateway_lacks_tells_nothing_of_a_payment(self, club: Club, fault: str, call: str) -> None:
        users = [club.buyer() for _ in range(3)]
        made = [club.begun(each, club.pay(each)) for each in users]
        club.sandbox.fault(fault, call, times=99)
        done = club.run(PENDING)
        assert done.exit_code == Exit.MISCONFIGURED
        assert club.world.rows(findings) == []
        club.sandbox.clear_faults()
        club.pass_time(minutes=2)
        club.run(PENDING)
        assert {club.paid(each).status for each in made} == {"succeeded"}

    @pytest.mark.parametrize("job", [PENDING, SUCCESSFUL])
    def test_many_that_are_not_there_are_the_keys_fault(self, club: Club, job: str) -> None:
        status = {"status": "succeeded", "paid_at": ago(days=1)} if job == SUCCESSFUL else {}
        users = [club.buyer() for _ in range(4)]
        made = [club.begun(each, club.pay(each), **status) for each in users]
        was = club.world.settings
        club.world.configure(**OTHERS[club.provider])
        done = club.run(job)
        assert done.exit_code == Exit.MISCONFIGURED
        assert "is this the right key?" in done.err
        assert club.world.rows(findings) == []
        club.world.settings = was
        club.pass_time(minutes=30)
        assert club.run(job).exit_code == Exit.DONE
        assert {club.paid(each).status for each in made} == {"succeeded"}

    def test_a_list_that_lacks_what_is_known_is_another_accounts(
        self, club: Club, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(matching, "NEWEST", 3)
        for _ in range(3):  # which no list has
            club.begun(club.buyer(), None, status="cancelled")
        known = {"status": "succeeded", "paid_at": ago(minutes=30), "confirmed_at": ago(minutes=29)}
        for user in [club.buyer() for _ in range(3)]:
            club.begun(user, club.pay(user, ago=timedelta(minutes=30)), **known)
        assert club.run(SUCCESSFUL).exit_code == Exit.DONE
        marks = [each for each in club.world.rows(watermarks) if club.provider in each[1]]
        club.pass_time(minutes=2)
        club.world.configure(**OTHERS[club.provider])
        done = club.run(SUCCESSFUL)
        assert done.exit_code == Exit.MISCONFIGURED
        assert "is this the right key?" in done.err
        assert [each for each in club.world.rows(watermarks) if club.provider in each[1]] == marks


class TestLists:
    @pytest.mark.parametrize("fault", ["page_repeats", "page_without_meta", "page_failed"])
    @pytest.mark.parametrize("job", [PENDING, SUCCESSFUL])
    def test_one_that_is_not_complete_moves_no_watermark(self, club: Club, job: str, fault: str) -> None:
        if (fault, club.provider) == ("page_failed", "yookassa"):
            pytest.skip("it has no word for that in a list")
        user = club.buyer()
        number = club.pay(user, ago=timedelta(minutes=20))
        if job == PENDING:
            club.begun(user, number, status="expired")
        club.sandbox.fault(fault, "list", times=99)
        done = club.run(job)
        assert done.exit_code == Exit.UNREACHABLE
        (mark,) = [each.until for each in club.world.rows(watermarks) if club.provider in each.source]
        assert mark < ago(hours=1)
        club.sandbox.clear_faults()
        club.run(job)
        assert len(club.subscriptions_of(user)) == 1


class TestBeside:
    """A list has before each payment another one of a cent, with the same metadata."""

    @pytest.mark.parametrize("here", [True, False])
    def test_what_is_lost_is_added_and_the_other_one_is_a_persons(self, club: Club, here: bool) -> None:
        """here: whether the right one is here, and waits for being confirmed."""
        user = club.buyer()
        number = club.pay(user, ago=timedelta(minutes=20))
        if here:
            club.begun(user, number, status="succeeded", paid_at=ago(minutes=20))
        club.sandbox.fault("beside", "list", times=99)
        done = club.run(SUCCESSFUL)
        counts = {"orphan payment": 1, **({} if here else {"added": 1})}
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, counts)
        self.left(club, user, number, "orphan payment")
        assert club.paid(1).confirmed_at is not None
        assert len(club.world.rows(subscription_periods)) == (not here)

    def test_of_two_that_bear_a_reference_the_right_one_is_applied(self, club: Club) -> None:
        user, key = club.buyer(), f"{club.installation}.checkout-17"
        made = club.begun(user, None, reference=key)
        usual = {"user_id": str(user), "plan_id": str(club.plan), "payment_provider_id": club.provider}
        number = club.pay(user, metadata={**usual, "jobctl_key": key})
        club.sandbox.fault("beside", "list", times=99)
        done = club.run(PENDING)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"applied": 1, "payment mismatch": 1})
        self.left(club, user, number, "payment mismatch")
        assert (club.paid(made).status, club.paid(made).amount_minor) == ("succeeded", 50_000)
        assert len(club.world.rows(subscription_periods)) == 1

    def left(self, club: Club, user: int, number: str, kind: str) -> None:
        """See that a person has the other one, and nobody a payment of it, now or later."""
        (finding,) = club.world.rows(findings)
        assert (finding.kind, finding.amount_minor) == (kind, 1)
        assert finding.facts["payment"] != number
        for each in (PENDING, SUCCESSFUL, PENDING):
            club.run(each)
        assert [each.provider_payment_id for each in club.payments_of(user)] == [number]
        assert {each.amount_minor for each in club.world.rows(payments)} == {50_000}
        assert [each.facts["payment"] for each in club.world.rows(findings)].count(number) == 0


class TestClocks:
    def test_one_that_is_behind_hides_no_charge(self, club: Club) -> None:
        made = club.member()
        club.sandbox.conditions(club.provider, skew=-660)
        club.sandbox.fault("lost_answer", "charge")
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
        club.pass_time(hours=24)  # its key is too old to be sent again
        work(club, 4, minutes=6)
        assert [each.kind for each in club.sandbox.ledger()] == ["charge"]
        assert club.of(made).ended_at == NEXT

    @pytest.mark.parametrize("job", [PENDING, SUCCESSFUL])
    def test_nor_what_was_paid_by_hand(self, club: Club, job: str) -> None:
        """It bears a time before the window that an earlier run has come to."""
        club.sandbox.conditions(club.provider, skew=-3600 * 3)
        user = club.buyer()
        club.run(job)
        club.pass_time(minutes=5)
        number = club.pay(user, ago=timedelta(minutes=4))
        if job == PENDING:
            club.begun(user, number, status="expired")
        club.pass_time(minutes=2)
        club.run(job)
        assert len(club.subscriptions_of(user)) == 1

    def test_what_is_paid_in_the_future_is_not_believed(self, club: Club) -> None:
        user = club.buyer()
        club.sandbox.conditions(club.provider, skew=86_400.0 * 2)
        made = club.begun(user, club.pay(user))
        assert club.run(PENDING).exit_code != Exit.DONE
        assert (club.paid(made).status, club.subscriptions_of(user)) == ("pending", [])


class TestHostileText:
    @pytest.mark.parametrize("fault", HOSTILE)
    @pytest.mark.parametrize("card", ["fine", "declines"])
    def test_it_stops_no_other_charge(self, club: Club, fault: str, card: str) -> None:
        bad = club.member(DECLINES[club.provider] if card == "declines" else None)
        good = [club.member() for _ in range(2)]
        club.sandbox.fault(fault, "charge", contains=f"subscription-{bad}.")
        assert club.run(AUTOPAYMENTS).exit_code in (Exit.DONE, Exit.ITEMS_FAILED, Exit.UNKNOWN_OUTCOME)
        assert {club.of(each).ended_at for each in good} == {NEXT}
        for _ in range(3):
            club.pass_time(minutes=10)
            assert club.run(SETTLER).exit_code in (Exit.DONE, Exit.ITEMS_FAILED)
        assert club.of(bad).ended_at == (END if card == "declines" else NEXT)
        assert [each for each in club.world.rows(money_operations) if each.settled_at is None] == []

    @pytest.mark.parametrize("fault", HOSTILE)
    def test_it_stops_nobody_who_is_looked_up(self, club: Club, fault: str) -> None:
        users = [club.buyer() for _ in range(3)]
        numbers = [club.pay(each) for each in users]
        made = [club.begun(*each) for each in zip(users, numbers, strict=True)]
        club.sandbox.fault(fault, "retrieve", contains=numbers[0])
        club.sandbox.fault("page_failed", "list", times=9)
        club.run(PENDING)
        assert [club.paid(each).status for each in made[1:]] == ["succeeded"] * 2

    @pytest.mark.parametrize("fault", HOSTILE)
    @pytest.mark.parametrize("place", ["id", "payment_method", "currency"])
    def test_it_stops_no_list(self, club: Club, fault: str, place: str) -> None:
        club.pay(club.buyer())
        club.sandbox.fault(fault, "list", times=9, place=place)
        done = club.run(SUCCESSFUL)
        assert done.exit_code in (Exit.DONE, Exit.ITEMS_FAILED, Exit.UNREACHABLE)
        club.sandbox.clear_faults()
        assert club.run(SUCCESSFUL).exit_code in (Exit.DONE, Exit.ITEMS_FAILED)


class TestWhatTheDatabaseRefuses:
    def test_a_charge_that_cannot_be_begun_stops_no_other(self, club: Club) -> None:
        bad, *good = [club.member() for _ in range(4)]
        club.world.refuse(payments, "user_id", club.of(bad).user_id)
        for counts in ({"renewed": 3, "failed": 1}, {"failed": 1}):
            done = club.run(AUTOPAYMENTS)
            assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, counts)
            assert club.world.failed(done) == [bad]
        assert {club.of(each).ended_at for each in good} == {NEXT}
        assert asked(club, "charge") == len(good)

    def test_one_that_cannot_be_taken_up_again_stops_no_other(self, club: Club) -> None:
        bad, good = club.member(), club.member()
        club.sandbox.fault("lost_answer", "charge", times=2)
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
        first, _ = club.world.rows(money_operations)
        assert first.subject_id == bad
        club.world.refuse(money_operations, "id", first.id)
        club.pass_time(minutes=10)
        done = club.run(SETTLER)
        assert (club.of(good).ended_at, club.world.failed(done)) == (NEXT, [first.id])
        club.world.allow(money_operations)
        club.run(SETTLER)
        assert club.of(bad).ended_at == NEXT


class TestADeletedPayment:
    """The application deletes the row of a charge while nobody knows what became of that."""

    def delete_it(self, club: Club) -> None:
        with club.world.engine.begin() as connection:
            connection.execute(delete(payments).where(payments.c.reference.is_not(None)))

    def test_what_nobody_wants_is_given_back_without_it(self, club: Club) -> None:
        unwanted(club)
        self.delete_it(club)
        assert club.run(SETTLER).exit_code == Exit.DONE
        assert [each.kind for each in club.sandbox.ledger()] == ["charge", "refund"]
        assert {each.status for each in club.world.rows(money_operations)} == {"succeeded"}
        assert club.world.rows(findings) == []

    def test_what_was_wanted_is_a_persons(self, club: Club) -> None:
        made = club.member()
        club.sandbox.fault("lost_answer", "charge")
        club.run(AUTOPAYMENTS)
        self.delete_it(club)
        club.pass_time(minutes=5)
        assert club.run(SETTLER).exit_code == Exit.ITEMS_FAILED
        work(club, 3, hours=25)
        assert [each.kind for each in club.sandbox.ledger()] == ["charge"]
        (finding,) = club.world.rows(findings)
        assert (finding.kind, finding.subject, finding.subject_id) == (
            "payment deleted",
            "subscription",
            made,
        )

    def test_a_decline_needs_none(self, club: Club) -> None:
        club.member(DECLINES[club.provider])
        club.sandbox.fault("lost_answer", "charge")
        club.run(AUTOPAYMENTS)
        self.delete_it(club)
        club.pass_time(minutes=5)
        done = club.run(SETTLER)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"declined": 1})
