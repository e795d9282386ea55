"""What becomes of payments that are pending here, or were given up, by every provider."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import delete, update

from jobctl.errors import Exit
from jobctl.journal import PATIENT
from jobctl.money import Money
from jobctl.providers.protocol import Refund
from jobctl.tables.findings import findings
from jobctl.tables.frame import runs
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments, subscriptions
from tests.rival import while_held
from tests.subscribers import Club
from tests.world import NOW, ago, ahead

JOB = "matching-pending-payments"
MONTH_LATER = datetime(2026, 4, 2, 11, 55, tzinfo=UTC)
PAID = NOW - timedelta(minutes=5)
END, NEXT = datetime(2026, 3, 2, 15, tzinfo=UTC), datetime(2026, 4, 2, 15, tzinfo=UTC)
NEEDS_CARD = {"stripe": "pm_card_authenticationRequired", "yookassa": "pm_yk_card_expired"}


def was(status: str) -> list[dict[str, Any]]:
    what = f"succeeded at the provider and was {status} here"
    return [{"what": what, "payments": 1, "currency": "RUB", "amount_minor": 50_000}]


class TestLookUps:
    def test_what_succeeded_there_begins_its_subscription(self, club: Club) -> None:
        user = club.buyer()
        number = club.pay(user, ago=timedelta(days=2))
        made = club.begun(user, number, created_at=ago(days=2))
        done = club.run(JOB)
        assert (done.exit_code, done.counts, done.document["drift"]) == (
            Exit.DONE,
            {"applied": 1},
            was("pending"),
        )
        payment, (subscription,) = club.paid(made), club.subscriptions_of(user)
        assert (payment.status, payment.paid_at) == ("succeeded", ago(days=2))
        assert (payment.subscription_id, payment.claimed_by) == (subscription.id, None)
        assert (subscription.started_at, subscription.status) == (ago(days=2), "active")
        assert [each.payment_id for each in club.periods(subscription.id)] == [made]
        assert club.run(JOB).counts == {}

    def test_it_extends_the_subscription_that_it_names(self, club: Club) -> None:
        subscription = club.member()
        user = club.of(subscription).user_id
        made = club.begun(user, club.pay(user), subscription_id=subscription, period_start=END)
        assert club.run(JOB).counts == {"applied": 1}
        assert club.of(subscription).ended_at == NEXT
        assert club.periods(subscription)[-1].payment_id == made

    def test_the_trail_has_it(self, club: Club) -> None:
        user = club.buyer()
        made = club.begun(user, club.pay(user))
        club.run(JOB)
        changed = [
            (each.before["status"], each.after["status"])
            for each in club.world.trail()
            if each.row_id == made and each.before
        ]
        assert changed == [("pending", "succeeded")]

    def test_what_came_to_nothing_is_cancelled(self, club: Club) -> None:
        made = club.begun(club.buyer(), club.released())
        assert club.run(JOB).counts == {"cancelled": 1}
        row = club.paid(made)
        assert (row.status, row.cancelled_at) == ("cancelled", pytest.approx(NOW, abs=timedelta(minutes=1)))
        assert row.failure in ("canceled", "canceled_by_merchant")
        assert club.world.rows(subscriptions) == []

    def test_what_is_undecided_is_asked_about_less_and_less(self, club: Club) -> None:
        made = club.begun(club.buyer(), club.held())
        asked = []
        for minute in range(0, 180, 2):
            if club.run(JOB).counts:
                asked.append(minute)
                assert club.paid(made).seen_pending_at >= club.now
            club.pass_time(minutes=2)
        gaps = [late - early for early, late in pairwise(asked)]
        assert gaps == sorted(gaps)
        assert (gaps[0], max(gaps)) == (2, 62)
        assert club.paid(made).status == "pending"

    def test_one_that_stays_undecided_is_expired_in_the_end(self, club: Club) -> None:
        made = club.begun(club.buyer(), club.held(), created_at=ago(days=6, hours=23))
        club.run(JOB)
        club.pass_time(hours=2)
        assert club.run("expire-payments").counts == {}
        club.run(JOB)
        assert club.run("expire-payments").counts == {"expired": 1}
        assert club.paid(made).status == "expired"

    def test_what_nobody_knows_there_needs_someone(self, club: Club) -> None:
        """Once the same run has found another one there: it asks the right account."""
        club.begun(club.buyer(), club.held(), created_at=ago(hours=1))
        made = club.begun(club.buyer(), club.unknown())
        done = club.run(JOB, concurrency=1)
        assert (done.exit_code, club.paid(made).status) == (Exit.ITEMS_FAILED, "pending")
        (finding,) = club.world.rows(findings)
        assert finding.kind == "payment not at the provider"
        club.pass_time(hours=1)
        assert club.run(JOB).exit_code == Exit.DONE

    def test_without_that_proof_only_after_a_while(self, club: Club) -> None:
        made = club.begun(club.buyer(), club.unknown())
        for _ in range(PATIENT - 1):
            done = club.run(JOB)
            assert (done.exit_code, done.counts) == (Exit.DONE, {"not found, and left": 1})
            club.pass_time(hours=2)
        assert club.run(JOB).exit_code == Exit.ITEMS_FAILED
        assert [each.kind for each in club.world.rows(findings)] == ["payment not at the provider"]
        assert club.paid(made).status == "pending"

    @pytest.mark.parametrize("paid", [(49_900, "RUB"), (50_000, "USD")], ids=str)
    def test_what_is_not_what_was_asked_for_needs_someone(self, club: Club, paid: tuple[int, str]) -> None:
        user = club.buyer()
        made = club.begun(user, club.pay(user, *paid))
        done = club.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"payment mismatch": 1})
        assert (done.document["errors"], done.document["findings"]) == (1, 1)
        assert [each.kind for each in club.world.rows(findings)] == ["payment mismatch"]
        assert (club.paid(made).status, club.world.rows(subscriptions)) == ("pending", [])

    @pytest.mark.parametrize("there", ["held", "released"])
    def test_what_is_told_of_the_other_mode_ends_nothing(self, club: Club, there: str) -> None:
        made = club.begun(club.buyer(), getattr(club, there)())
        club.sandbox.fault("other_mode", "retrieve")
        assert club.run(JOB).exit_code == Exit.ITEMS_FAILED
        row = club.paid(made)
        assert (row.status, row.seen_pending_at) == ("pending", None)
        assert [each.kind for each in club.world.rows(findings)] == ["payment mismatch"]

    def test_what_is_told_of_another_payment_hides_no_later_mismatch(self, club: Club) -> None:
        user = club.buyer()
        club.begun(user, club.pay(user, 49_900))
        club.sandbox.fault("other_id", "retrieve")
        assert club.run(JOB).exit_code == Exit.ITEMS_FAILED
        told = [each.once_key.rpartition(".")[2] for each in club.world.rows(findings)]
        assert [told[0], len(told)] == ["other_payment", 2]  # the other one from the list

    @pytest.mark.parametrize(
        "fact",
        [{"status": "expired"}, {"provider_payment_id": None}, {"next_look_at": ahead(seconds=1)}],
        ids=str,
    )
    def test_another_is_not_asked_about(self, club: Club, fact: dict[str, Any]) -> None:
        club.world.change(payments, club.begun(club.buyer(), club.held()), **fact)
        assert club.run(JOB).counts == {}

    def test_a_provider_that_is_down_stops_those_of_no_other(self, club: Club) -> None:
        """They are asked about by the next run."""
        users = [club.buyer() for _ in range(3)]
        made = [club.begun(each, club.pay(each)) for each in users]
        club.sandbox.fault("dropped", "retrieve", times=10_000)
        club.sandbox.fault("dropped", "list", times=10_000)
        assert club.run(JOB).exit_code == Exit.UNREACHABLE
        club.sandbox.clear_faults()
        club.pass_time(minutes=2)
        assert club.run(JOB).counts == {"applied": 3}
        assert {club.paid(each).status for each in made} == {"succeeded"}

    def test_an_unknown_provider_fails_alone(self, club: Club) -> None:
        user = club.buyer()
        odd = club.begun(user, "x", provider="abacus")
        made = club.begun(user, club.pay(user))
        done = club.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"applied": 1, "failed": 1})
        assert (club.paid(odd).status, club.paid(made).status) == ("pending", "succeeded")

    @pytest.mark.parametrize(
        "odd", [{"account": "another"}, {"provider_payment_id": ""}, {"provider_payment_id": ".."}], ids=str
    )
    def test_one_that_nobody_can_be_asked_about_fails_alone(self, club: Club, odd: dict[str, Any]) -> None:
        """As one of another shop, which this one knows nothing of."""
        made = club.begun(club.buyer(), club.held(), **odd)
        assert (club.run(JOB).exit_code, club.run(JOB).exit_code) == (Exit.ITEMS_FAILED, Exit.DONE)
        assert ("retrieve" in club.sandbox.requests(), club.paid(made).status) == (False, "pending")
        assert club.world.rows(findings) == []

    @pytest.mark.parametrize("why", ["amount", "unknown", "provider"])
    def test_what_needs_someone_is_asked_about_once_a_day(self, club: Club, why: str) -> None:
        user = club.buyer()
        number = club.unknown() if why == "unknown" else club.pay(user, 49_900)
        odd = {"provider": "abacus"} if why == "provider" else {}
        club.begun(user, number, looks=PATIENT - 1, **odd)
        asked = []
        for hour in range(0, 60, 5):
            if club.run(JOB).counts:
                asked.append(hour)
            club.pass_time(hours=5)
        assert asked == [0, 25, 50]

    def test_what_a_dead_run_had_is_asked_about_anew(self, club: Club) -> None:
        user = club.buyer()
        made = club.begun(user, club.pay(user), claimed_by=900)
        club.run(JOB)
        club.pass_time(minutes=2)
        club.run(JOB)
        assert (club.paid(made).status, club.paid(made).claimed_by) == ("succeeded", None)


class TestLists:
    @pytest.mark.parametrize("status", ["expired", "cancelled"])
    def test_what_was_given_up_here_is_applied_and_reported(self, club: Club, status: str) -> None:
        user = club.buyer()
        made = club.begun(user, club.pay(user), status=status, failure="canceled_by_merchant")
        done = club.run(JOB)
        assert (done.exit_code, done.counts, done.document["drift"]) == (
            Exit.DONE,
            {"applied": 1},
            was(status),
        )
        assert (club.paid(made).status, club.paid(made).failure) == ("succeeded", None)
        assert [each.ended_at for each in club.subscriptions_of(user)] == [MONTH_LATER]

    def test_one_whose_number_never_came_is_known_by_its_reference(self, club: Club) -> None:
        user, key = club.buyer(), f"{club.installation}.checkout-17"
        made = club.begun(user, None, reference=key)
        number = club.pay(user, metadata={"jobctl_key": key})
        assert club.run(JOB).counts == {"applied": 1}
        assert (club.paid(made).provider_payment_id, club.paid(made).status) == (number, "succeeded")

    @pytest.mark.parametrize("other", ["number", "provider"])
    def test_a_reference_is_of_one_payment(self, club: Club, other: str) -> None:
        """Of one with another number, or at another provider, it tells nothing: a person has to look."""
        user, key = club.buyer(), f"{club.installation}.checkout-17"
        odd = {"provider": "abacus"} if other == "provider" else {"provider_payment_id": "another"}
        made = club.begun(user, None, reference=key, status="expired", **odd)
        usual = {"user_id": str(user), "plan_id": str(club.plan), "payment_provider_id": club.provider}
        club.pay(metadata={**usual, "jobctl_key": key})
        assert club.run(JOB).counts == {}
        assert club.run("matching-successful-payments").counts == {"orphan payment": 1}
        assert (club.paid(made).status, club.world.rows(subscriptions)) == ("expired", [])

    def test_what_is_absent_here_is_left_to_the_other_job(self, club: Club) -> None:
        club.pay(club.buyer())
        assert club.run(JOB).counts == {}

    def test_a_subscription_that_its_customer_cancelled_needs_someone(self, club: Club) -> None:
        subscription = club.member(status="cancelled", next_charge_at=None)
        user = club.of(subscription).user_id
        made = club.begun(user, club.pay(user), subscription_id=subscription)
        done = club.run(JOB)
        assert (done.exit_code, club.paid(made).status) == (Exit.ITEMS_FAILED, "succeeded")
        assert [each.kind for each in club.world.rows(findings)] == ["payment not applied"]
        assert len(club.periods(subscription)) == 1

    @pytest.mark.parametrize("status", ["pending", "expired"])
    def test_so_does_one_of_another_user(self, club: Club, status: str) -> None:
        """By the method of its last payment the next period would be charged."""
        subscription, other = club.member(), club.buyer()
        made = club.begun(other, club.pay(other), subscription_id=subscription, status=status)
        done = club.run(JOB)
        assert (done.exit_code, club.paid(made).status) == (Exit.ITEMS_FAILED, "succeeded")
        assert [each.kind for each in club.world.rows(findings)] == ["payment not applied"]
        assert (club.of(subscription).ended_at, len(club.periods(subscription))) == (END, 1)

    @pytest.mark.parametrize("status", ["pending", "expired"])
    def test_so_does_one_of_another_plan_than_the_subscription_that_it_names(
        self, club: Club, status: str
    ) -> None:
        """A year's price buys no month, and a month's no year."""
        subscription, year = club.member(), club.plan_of(name="Year", unit="year")
        user = club.of(subscription).user_id
        number = club.pay(user, 500_000)
        made = club.begun(
            user, number, subscription_id=subscription, plan_id=year, amount_minor=500_000, status=status
        )
        done = club.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"payment not applied": 1})
        assert club.paid(made).status == "succeeded"
        (finding,) = club.world.rows(findings)
        assert (finding.kind, finding.amount_minor) == ("payment not applied", 500_000)
        assert (club.of(subscription).ended_at, len(club.periods(subscription))) == (END, 1)
        assert len(club.subscriptions_of(user)) == 1
        assert club.run(JOB).exit_code == Exit.DONE

    def test_one_of_another_plan_than_one_that_has_expired_begins_its_own(self, club: Club) -> None:
        subscription, year = club.member(status="expired", next_charge_at=None), club.plan_of(unit="year")
        user = club.of(subscription).user_id
        made = club.begun(user, club.pay(user), subscription_id=subscription, plan_id=year)
        assert club.run(JOB).counts == {"applied": 1}
        _, new = club.subscriptions_of(user)
        assert (new.plan_id, new.ended_at) == (year, PAID.replace(year=2027))
        assert club.paid(made).subscription_id == new.id

    def test_one_that_expired_is_begun_anew(self, club: Club) -> None:
        subscription = club.member(status="expired", next_charge_at=None)
        user = club.of(subscription).user_id
        made = club.begun(user, club.pay(user), subscription_id=subscription)
        assert club.run(JOB).counts == {"applied": 1}
        _, new = club.subscriptions_of(user)
        assert (new.started_at, new.status, club.paid(made).subscription_id) == (PAID, "active", new.id)

    def test_a_period_that_is_paid_already_is_not_paid_twice(self, club: Club) -> None:
        subscription = club.member()
        user = club.of(subscription).user_id
        made = club.begun(user, club.pay(user), subscription_id=subscription, period_start=ago(days=40))
        assert club.run(JOB).exit_code == Exit.ITEMS_FAILED
        assert (club.paid(made).status, club.of(subscription).ended_at) == ("succeeded", END)
        assert [each.kind for each in club.world.rows(findings)] == ["payment not applied"]


class TestRenewals:
    """Charges that jobctl asked for: the journal has its own rules for them."""

    @pytest.mark.parametrize("club", ["yookassa"], indirect=True)
    def test_a_pending_one_is_settled_once_it_is_decided(self, club: Club) -> None:
        """Of YooKassa alone: the imitation of Stripe decides at once."""
        made = club.member("pm_yk_pending_succeeds")
        club.run("autopayments")
        assert [each.status for each in club.renewals(made)] == ["pending"]
        club.pass_time(minutes=10)
        assert club.run(JOB).counts == {"renewed": 1}
        assert club.of(made).ended_at == NEXT
        club.agree()

    def test_one_whose_answer_was_lost_is_settled(self, club: Club) -> None:
        made = club.member()
        club.sandbox.fault("lost_answer", "charge", times=10)
        assert club.run("autopayments").exit_code == Exit.UNKNOWN_OUTCOME
        club.sandbox.clear_faults()
        club.pass_time(minutes=10)
        assert club.run(JOB).counts == {"renewed": 1}
        assert club.of(made).ended_at == NEXT
        club.agree()

    @pytest.mark.parametrize("status", ["declined", "rejected"])
    def test_one_that_was_given_up_and_succeeded_is_applied_and_reported(
        self, club: Club, status: str
    ) -> None:
        """As when the customer confirms at the provider what the bank had declined."""
        made = self.given_up(club, status)
        done = club.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"succeeded late": 1, "renewed": 1})
        assert done.document["drift"] == was(status)
        (payment,) = club.renewals(made)
        assert (club.of(made).ended_at, payment.status, payment.failure) == (NEXT, "succeeded", None)
        club.agree()
        assert club.run(JOB).counts == {}

    @pytest.mark.only("postgresql")
    def test_one_that_another_job_sees_to_meanwhile_is_left_to_that(self, club: Club) -> None:
        self.given_up(club, "declined")
        seen = update(money_operations).values(status="succeeded", payment_id="theirs", settled_at=NOW)
        assert while_held(club.world, seen, lambda: club.run(JOB)).exit_code == Exit.DONE
        (operation,) = club.world.rows(money_operations)
        assert (operation.payment_id, operation.settled_at) == ("theirs", NOW)

    def test_one_that_succeeded_and_whose_payment_is_gone_is_not_lost(self, club: Club) -> None:
        made = self.given_up(club, "declined")
        (payment,) = club.renewals(made)
        with club.world.engine.begin() as connection:
            connection.execute(delete(payments).where(payments.c.id == payment.id))
        done = club.run(JOB)
        found = {"succeeded late": 1, "paid without its payment": 1}
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, found)
        assert len(club.world.rows(findings)) == 1

    def test_where_its_period_is_paid_meanwhile_it_is_given_back(self, club: Club) -> None:
        made = self.given_up(club, "declined")
        club.run("autopayments")
        assert club.of(made).ended_at == NEXT
        club.pass_time(minutes=2)
        done = club.run(JOB)
        assert done.counts["refunded"] == 1
        assert club.of(made).ended_at == NEXT
        club.agree()

    @pytest.mark.parametrize("club", ["yookassa"], indirect=True)
    def test_no_option_leaves_one_undecided(self, club: Club) -> None:
        made = club.member("pm_yk_pending_canceled")
        club.run("autopayments")
        club.pass_time(minutes=10)
        assert club.run(JOB, since=club.now, limit=1).counts == {"declined": 1}
        (payment,) = club.renewals(made)
        assert (payment.status, club.of(made).ended_at) == ("cancelled", END)
        assert club.of(made).next_charge_at == datetime(2026, 3, 3, tzinfo=UTC)

    def test_what_was_asked_for_another_reason_is_left_alone(self, club: Club) -> None:
        """As a hold that was declined, whose payment the customer completed: no period is due for it."""
        key = club.operation(club.member(), "declined")
        (operation,) = club.world.rows(money_operations)
        other = {"kind": "authorize", "subject": "order", "provider": club.provider}
        club.world.change(money_operations, operation.id, **other, settled_at=NOW)
        club.pay(metadata={"jobctl_key": key})
        for job in (JOB, "matching-successful-payments"):
            assert club.run(job).counts == {}
        assert club.world.rows(money_operations)[0].status == "declined"

    @pytest.mark.parametrize("wrong", [{"amount_minor": 60_000}, {"currency": "USD"}], ids=str)
    def test_another_amount_is_none_of_its_successes(self, club: Club, wrong: dict[str, Any]) -> None:
        made = self.given_up(club, "declined")
        (operation,) = club.world.rows(money_operations)
        club.world.change(money_operations, operation.id, **wrong)
        assert club.run(JOB).exit_code == Exit.ITEMS_FAILED
        assert [each.kind for each in club.world.rows(findings)] == ["payment mismatch"]
        assert (club.of(made).ended_at, club.world.rows(money_operations)[0].status) == (END, "declined")

    def test_nor_is_what_was_given_back(self, club: Club) -> None:
        made = self.given_up(club, "declined")
        club.at_provider(Refund(club.sandbox.ledger()[0].intent, Money(50_000, "RUB")))
        assert club.run(JOB).exit_code == Exit.ITEMS_FAILED
        assert [each.kind for each in club.world.rows(findings)] == ["payment mismatch"]
        assert club.of(made).ended_at == END

    def given_up(self, club: Club, status: str) -> int:
        """Have a renewal charged that the journal takes for declined, or never begun."""
        made = club.member()
        club.run("autopayments")
        (payment,), (period, *_) = club.renewals(made), club.periods(made)[1:]
        with club.world.engine.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM subscription_periods WHERE id = {period.id}")
        club.world.change(subscriptions, made, ended_at=END, next_charge_at=NOW.replace(hour=0))
        gone = {"provider_payment_id": None, "paid_at": None, "confirmed_at": None}
        club.world.change(payments, payment.id, status="cancelled", failure="not_sent", **gone)
        (operation,) = club.world.rows(money_operations)
        club.world.change(money_operations, operation.id, status=status, payment_id=None)
        club.pass_time(minutes=5)
        return made


class TestDryRun:
    def test_it_tells_what_the_real_run_then_does(self, club: Club) -> None:
        users = [club.buyer() for _ in range(4)]
        club.begun(users[0], club.pay(users[0]))
        club.begun(users[1], club.released())
        club.begun(users[2], club.pay(users[2]), status="expired")
        club.begun(users[3], club.unknown(), looks=PATIENT - 1)
        before = club.world.everything()
        shown = club.run(JOB, dry_run=True)
        assert (shown.exit_code, club.world.everything()) == (Exit.DONE, before)
        done = club.run(JOB)
        assert sorted(map(str, shown.document["drift"])) == sorted(map(str, done.document["drift"]))
        after = {
            each["row_id"]: each["after"].get("status")
            for each in shown.document["rows"]
            if each["table"] == "payments" and "status" in each["after"]
        }
        assert after == {
            each.id: each.status for each in club.world.rows(payments) if each.status != "pending"
        }

    def test_idle_it_leaves_no_record(self, club: Club) -> None:
        club.run(JOB)
        assert club.world.rows(runs) == []
