"""Who is charged for another period, and what becomes of the subscription, by every provider."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from jobctl.errors import Exit
from jobctl.journal import PATIENT
from jobctl.tables.journal import money_operations
from jobctl.tables.notifications import notifications, users
from jobctl.tables.subscriptions import payments, plans, prices, subscription_periods, subscriptions
from tests.rival import once_chosen
from tests.subscribers import USUAL, Club
from tests.world import NOW, ago, ahead, command

AUTOPAYMENTS, SETTLER, EXPIRER = "autopayments", "settle-operations", "expire-subscriptions"
MATCHER = "matching-pending-payments"
END = datetime(2026, 3, 2, 15, tzinfo=UTC)
NEXT = datetime(2026, 4, 2, 15, tzinfo=UTC)
METHODS = {
    "yookassa": {
        "later": "pm_yk_insufficient_funds",
        "card": "pm_yk_card_expired",
        "never": "pm_yk_permission_revoked",
    },
    "stripe": {
        "later": "pm_card_chargeDeclinedInsufficientFunds",
        "card": "pm_card_chargeDeclinedExpiredCard",
        "never": "pm_card_radarBlock",
    },
}


def templates(club: Club) -> set[str]:
    return {each.template for each in club.world.rows(notifications)}


class TestRenewal:
    def test_one_that_ends_today_gets_one_more_period(self, club: Club) -> None:
        made = club.member()
        done = club.run(AUTOPAYMENTS)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"renewed": 1})
        row, (payment,) = club.of(made), club.renewals(made)
        assert (row.status, row.ended_at) == ("active", NEXT)
        assert row.next_charge_at == datetime(2026, 4, 2, tzinfo=UTC)
        assert (payment.status, payment.amount_minor, payment.period_start) == ("succeeded", 50_000, END)
        (operation,) = club.world.rows(money_operations)
        assert payment.account == operation.account
        period = club.periods(made)[-1]
        assert (period.period_start, period.period_end, period.payment_id) == (END, NEXT, payment.id)
        (effect,) = club.sandbox.ledger()
        assert (effect.key, effect.intent) == (payment.reference, payment.provider_payment_id)
        assert (effect.metadata["user_id"], effect.metadata["plan_id"]) == (str(row.user_id), str(club.plan))
        assert templates(club) == {"subscription-renewed"}
        assert club.run(AUTOPAYMENTS).counts == {}
        club.agree()

    @pytest.mark.parametrize(
        "fact",
        [
            {"status": "cancelled"},
            {"next_charge_at": None},
            {"next_charge_at": ahead(seconds=1)},
            {"ended_at": datetime(2026, 3, 3, tzinfo=UTC)},
            {"ended_at": ago(days=4)},
        ],
        ids=str,
    )
    def test_another_is_not_charged(self, club: Club, fact: dict[str, Any]) -> None:
        club.member(**fact)
        assert club.run(AUTOPAYMENTS).counts == {}
        assert club.sandbox.requests() == {}

    def test_what_is_paid_is_not_charged_again(self, club: Club) -> None:
        """Though somebody has set the end of the subscription back."""
        made = club.member()
        club.run(AUTOPAYMENTS)
        club.world.change(subscriptions, made, ended_at=END, next_charge_at=NOW.replace(hour=0))
        shown = club.run(AUTOPAYMENTS, dry_run=True).document["counts"]
        done = club.run(AUTOPAYMENTS)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1})
        assert (shown, len(club.sandbox.ledger()), len(club.renewals(made))) == (done.counts, 1, 1)

    @pytest.mark.parametrize("fact", [{"active": False}, {"recurring": False}], ids=str)
    def test_nor_is_one_of_another_plan(self, club: Club, fact: dict[str, Any]) -> None:
        club.member()
        club.world.change(plans, club.plan, **fact)
        assert club.run(AUTOPAYMENTS).counts == {}

    def test_nor_one_without_a_saved_method(self, club: Club) -> None:
        club.member()
        club.world.change(payments, 1, provider_method=None)
        assert club.run(AUTOPAYMENTS).counts == {}

    @pytest.mark.parametrize("ended_at", [datetime(2026, 3, 2, 23, 59, tzinfo=UTC), ago(days=3, hours=23)])
    def test_the_first_and_the_last_moment(self, club: Club, ended_at: datetime) -> None:
        made = club.member(ended_at=ended_at)
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        assert club.periods(made)[-1].period_start == ended_at

    def test_it_costs_what_the_plan_costs_now_in_its_currency(self, club: Club) -> None:
        club.member()
        for amount, currency, valid_from in (
            (60_000, "RUB", ago(days=1)),
            (70_000, "RUB", ahead(seconds=1)),
            (900, "USD", NOW),
        ):
            price = {"amount_minor": amount, "currency": currency, "valid_from": valid_from}
            club.world.add(prices, {"plan_id": club.plan, **price})
        club.run(AUTOPAYMENTS)
        assert [(each.amount, each.currency.upper()) for each in club.sandbox.ledger()] == [(60_000, "RUB")]

    def test_a_plan_without_a_price_needs_a_person(self, club: Club) -> None:
        club.member(currency="EUR")
        done = club.run(AUTOPAYMENTS)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1})
        assert club.sandbox.ledger() == []

    def test_a_method_that_was_saved_at_another_account_is_not_charged(self, club: Club) -> None:
        """There it is nobody's, or somebody else's; the next run with the right one charges it."""
        made, other = club.member(), club.member()
        payment = club.periods(made)[-1].payment_id
        club.world.change(payments, payment, account="shop-777")
        shown = club.run(AUTOPAYMENTS, dry_run=True).document
        assert [each["row_id"] for each in shown["rows"] if each["outcome"] == "failed"] == [made]
        done = club.run(AUTOPAYMENTS)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"renewed": 1, "failed": 1})
        assert [each.row_id for each in club.world.errors()] == [made]
        assert [len(club.renewals(each)) for each in (made, other)] == [0, 1]
        assert [each.subject_id for each in club.world.rows(money_operations)] == [other]
        right = club.world.rows(money_operations)[0].account
        club.world.change(payments, payment, account=right)
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        club.agree()

    def test_its_day_of_the_month_is_kept(self, club: Club) -> None:
        made = club.member(ended_at=datetime(2026, 2, 28, 12, 30, tzinfo=UTC), billing_anchor_day=31)
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        assert club.of(made).ended_at == datetime(2026, 3, 31, 12, 30, tzinfo=UTC)


class TestWhoseMoney:
    """Charged is only who owes it; `why` names the condition, and nothing is sent."""

    def test_not_who_was_deleted(self, club: Club) -> None:
        made = club.member()
        club.world.change(users, club.of(made).user_id, deleted_at=ago(days=1))
        assert not charged(club)

    def test_not_who_does_not_exist(self, club: Club) -> None:
        club.member(user_id=4711)
        assert not charged(club)

    def test_not_who_has_cancelled_though_it_is_still_active(self, club: Club) -> None:
        club.member(cancelled_at=ago(days=1))
        assert not charged(club)

    def test_not_who_got_the_last_payment_back(self, club: Club) -> None:
        made = club.member()
        club.world.change(payments, club.periods(made)[-1].payment_id, refunded_at=ago(days=1))
        assert not charged(club)

    def test_not_by_the_method_of_another(self, club: Club) -> None:
        made = club.member()
        club.world.change(payments, club.periods(made)[-1].payment_id, user_id=club.buyer())
        assert not charged(club)

    @pytest.mark.usefixtures("environment")
    def test_why_names_what_does_not_hold(self, club: Club) -> None:
        made = club.member(cancelled_at=ago(days=1), ended_at=ago(hours=1))
        club.world.change(users, club.of(made).user_id, deleted_at=ago(days=1))
        whose = {"user_id": club.buyer(), "refunded_at": ago(days=1)}
        club.world.change(payments, club.periods(made)[-1].payment_id, **whose)
        pending = {"created_at": datetime.now(UTC), "subscription_id": made}  # by the clock that it goes by
        club.begun(club.of(made).user_id, None, **pending)
        (told,) = command("why", "autopayments", str(made), "--json").document
        failing = [each["condition"] for each in told["conditions"] if not each["holds"]]
        assert [name for name in failing if "ended within" not in name and "ends today" not in name] == [
            "nobody has cancelled it",
            "its user exists and was not deleted",
            "that payment was its user's own",
            "that payment was not given back",
            "no payment of it is pending that its provider may have by now",
            "nor one of its user for its plan",
        ]

    def test_a_payment_by_hand_of_who_has_cancelled_is_no_reason_for_a_charge(self, club: Club) -> None:
        """It gives a period all the same."""
        made = club.member(cancelled_at=ago(days=1), next_charge_at=None)
        number = club.pay(club.of(made).user_id)
        method = {"provider_method": USUAL[club.provider], "subscription_id": made}
        club.begun(club.of(made).user_id, number, **method)
        club.run(MATCHER)
        assert (club.of(made).ended_at, club.of(made).next_charge_at) == (NEXT, None)

    def test_one_cancelled_before_its_charge_was_sent_is_not_charged(self, club: Club) -> None:
        """Nor who was deleted meanwhile."""
        gone, left = club.member(), club.member()
        journalled_alone(club)
        club.world.change(users, club.of(gone).user_id, deleted_at=NOW)
        club.world.change(subscriptions, left, cancelled_at=NOW)
        club.pass_time(minutes=5)
        club.run(SETTLER)
        assert [each.code for each in club.world.rows(money_operations)] == ["not_wanted"] * 2
        assert club.sandbox.ledger() == []

    def test_who_is_deleted_while_it_is_under_way_gets_the_money_back(self, club: Club) -> None:
        made = club.member()
        club.sandbox.fault("lost_answer", "charge")
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
        club.world.change(users, club.of(made).user_id, deleted_at=NOW)
        club.pass_time(minutes=5)
        assert club.run(SETTLER).counts == {"paid too late and to be undone": 1, "refunded": 1}
        assert club.of(made).ended_at == END
        club.agree()

    def test_a_decline_of_who_has_cancelled_meanwhile_is_the_last_one(self, club: Club) -> None:
        made = club.member(METHODS[club.provider]["later"])
        club.sandbox.fault("lost_answer", "charge")
        club.run(AUTOPAYMENTS)
        club.world.change(subscriptions, made, cancelled_at=NOW)
        club.pass_time(minutes=5)
        assert club.run(SETTLER).counts == {"declined": 1}
        assert (club.of(made).next_charge_at, templates(club)) == (None, set())

    def test_a_decline_of_a_period_that_was_paid_by_hand_meanwhile_changes_nothing(self, club: Club) -> None:
        made = club.member(METHODS[club.provider]["later"])
        club.sandbox.fault("lost_answer", "charge")
        club.run(AUTOPAYMENTS)
        club.world.change(subscriptions, made, ended_at=NEXT, next_charge_at=None)
        before = club.of(made)
        club.pass_time(minutes=5)
        assert club.run(SETTLER).counts == {"declined": 1}
        assert (club.of(made), templates(club)) == (before, set())

    def test_it_is_charged_as_the_last_of_its_periods_was_paid(self, club: Club) -> None:
        made = club.member()
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        first, _ = club.periods(made)
        club.world.change(payments, first.payment_id, provider_method=None)
        club.pass_time(seconds=(NEXT - END).total_seconds())
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}


def journalled_alone(club: Club) -> None:
    """Leave charges in the journal, as a run does that dies before it sends them."""
    club.sandbox.fault("http_429", "charge", times=9, seconds=3600)
    club.run(AUTOPAYMENTS)
    club.sandbox.clear_faults()
    with club.world.engine.begin() as connection:
        never = {"status": "started", "first_sent_at": None, "settled_at": None, "answer_by": None}
        connection.execute(update(money_operations).values(**never, claimed_by=None))
        connection.execute(update(payments).where(payments.c.reference.is_not(None)).values(status="pending"))


def charged(club: Club) -> bool:
    counts = club.run(AUTOPAYMENTS).counts
    assert counts in ({}, {"renewed": 1})
    ours = {each.key for each in club.world.rows(money_operations)}
    assert sum(each.key in ours for each in club.sandbox.ledger()) == len(counts)
    return counts != {}


class TestBesidePayments:
    """Who is about to pay by hand is not charged as well; what was abandoned keeps nothing back."""

    def beside(self, club: Club, **values: Any) -> int:
        """Add a payment by hand that is pending, of a subscription that is to be charged, by another plan."""
        made = club.member()
        of = club.of(made)
        other = {"subscription_id": made, "plan_id": club.plan_of(name="Silver")}
        return club.begun(of.user_id, values.pop("number", None), **{**other, **values})

    @pytest.mark.parametrize("by", ["subscription", "buyer"])
    def test_a_young_one_keeps_the_charge_back(self, club: Club, by: str) -> None:
        this = {"subscription": {}, "buyer": {"subscription_id": None, "plan_id": club.plan}}[by]
        payment = self.beside(club, created_at=ago(minutes=59), **this)
        assert not charged(club)
        club.world.change(payments, payment, created_at=ago(minutes=61))
        assert charged(club)

    @pytest.mark.parametrize("status", ["succeeded", "cancelled", "expired"])
    def test_a_decided_one_does_not(self, club: Club, status: str) -> None:
        self.beside(club, status=status, created_at=ago(minutes=5))
        assert charged(club)

    def test_nor_one_of_somebody_else(self, club: Club) -> None:
        club.member()
        club.begun(club.buyer(), None)
        assert charged(club)

    def test_what_its_provider_was_not_asked_about_lately_keeps_it_back(self, club: Club) -> None:
        old = {"created_at": ago(hours=5), "number": club.held()}
        payment = self.beside(club, **old)
        for seen, then in ((None, False), (ago(minutes=15), False), (ago(minutes=14), True)):
            club.world.change(payments, payment, seen_pending_at=seen)
            assert (club.run(AUTOPAYMENTS, dry_run=True).document["counts"] != {}) is then

    def test_the_provider_is_asked_first(self, club: Club) -> None:
        """However lately it was asked: what succeeded meanwhile is applied, and the charge has no reason."""
        made = club.member()
        number = club.pay(club.of(made).user_id)
        asked = {"looks": 9, "next_look_at": ahead(minutes=50), "seen_pending_at": ago(minutes=10)}
        club.begun(club.of(made).user_id, number, subscription_id=made, created_at=ago(hours=5), **asked)
        club.run(MATCHER)
        assert (club.of(made).ended_at, charged(club)) == (NEXT, False)
        assert len(club.periods(made)) == 2

    def test_one_that_was_abandoned_loses_no_day(self, club: Club) -> None:
        self.beside(club, created_at=ago(hours=5), number=club.held(), next_look_at=ahead(minutes=50))
        assert not charged(club)
        club.run(MATCHER)
        counts = club.run(AUTOPAYMENTS).counts
        assert counts == {"renewed": 1}

    @pytest.mark.parametrize(("minutes", "asked"), [(4, {}), (5, {"still pending": 1})])
    def test_it_is_asked_about_every_few_minutes_only(
        self, club: Club, minutes: int, asked: dict[str, int]
    ) -> None:
        seen = {"seen_pending_at": ago(minutes=minutes), "next_look_at": ahead(minutes=50)}
        self.beside(club, created_at=ago(hours=5), number=club.held(), **seen)
        assert club.run(MATCHER).counts == asked

    @pytest.mark.parametrize("fact", [{"next_charge_at": ahead(days=1)}, {"status": "cancelled"}], ids=str)
    def test_nor_where_no_charge_waits_for_it(self, club: Club, fact: dict[str, Any]) -> None:
        self.beside(club, created_at=ago(hours=5), number=club.held(), next_look_at=ahead(minutes=50))
        club.world.change(subscriptions, 1, **fact)
        assert club.run(MATCHER).counts == {}

    def test_what_is_left_to_a_person_is_asked_about_once_a_day(self, club: Club) -> None:
        self.beside(club, created_at=ago(hours=5), number=club.unknown(), looks=PATIENT - 1)
        assert club.run(MATCHER).exit_code == Exit.ITEMS_FAILED
        assert (club.run(MATCHER).counts, charged(club)) == ({}, False)

    def test_a_charge_of_ours_that_is_under_way_is_one_too(self, club: Club) -> None:
        """Of a subscription that the same user had before."""
        old = club.member(status="cancelled", cancelled_at=ago(days=1))
        user = club.of(old).user_id
        key = club.operation(old, "unknown")
        club.begun(user, None, reference=key, created_at=ago(hours=5))
        club.member(user_id=user)
        assert not charged(club)


class TestDeclines:
    @pytest.mark.parametrize("why", ["later", "card"])
    def test_it_is_tried_on_the_days_of_the_setting_and_then_expires(self, club: Club, why: str) -> None:
        """Whichever job runs first on a day; once a day, however often it is run."""
        made = club.member(METHODS[club.provider][why])
        tried = []
        for day in range(6):
            counts = [club.run(job).counts for job in (EXPIRER, AUTOPAYMENTS, AUTOPAYMENTS, EXPIRER)]
            tried += [day] if {"declined": 1} in counts else []
            assert counts.count({"declined": 1}) <= 1
            club.pass_time(days=1)
        assert tried == [0, 1, 3]
        row = club.of(made)
        assert (row.status, row.ended_at, row.next_charge_at) == ("expired", END, None)
        assert row.expired_at >= END + timedelta(days=3)
        assert {each.status for each in club.renewals(made)} == {"cancelled"}
        assert templates(club) == {"renewal-declined", "subscription-expired"}
        club.agree()

    def test_who_withdrew_the_permission_is_not_charged_again(self, club: Club) -> None:
        made = club.member(METHODS[club.provider]["never"])
        assert club.run(AUTOPAYMENTS).counts == {"declined": 1}
        (payment,) = club.renewals(made)
        assert (club.of(made).next_charge_at, payment.status) == (None, "cancelled")
        assert payment.failure in ("permission_revoked", "fraudulent")

    def test_one_that_works_on_a_later_day_extends_from_the_old_end(self, club: Club) -> None:
        made = club.member(METHODS[club.provider]["later"])
        club.run(AUTOPAYMENTS)
        club.pass_time(days=1)
        first = club.world.rows(payments)[0]
        good = "pm_yk_ok" if club.provider == "yookassa" else "pm_card_visa"
        club.world.change(payments, first.id, provider_method=good)
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        assert club.of(made).ended_at == NEXT
        club.agree()

    def test_an_outage_of_ten_days_charges_nobody_for_what_was_not_served(self, club: Club) -> None:
        made = club.member()
        club.pass_time(days=10)
        assert club.run(AUTOPAYMENTS).counts == {}
        assert club.run(EXPIRER).counts == {"expired": 1}
        assert club.run(AUTOPAYMENTS).counts == {}
        assert (club.of(made).status, club.sandbox.ledger()) == ("expired", [])


FAULTS = [
    "dropped",
    "late",
    "lost_answer",
    "garbage",
    "empty",
    "http_401",
    "http_403",
    "http_409",
    "http_429",
    "http_500_before",
    "http_500_after",
]


class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_after_any_each_period_is_paid_once(self, club: Club, fault: str) -> None:
        made = [club.member() for _ in range(2)]
        club.sandbox.fault(fault, "charge", times=99, seconds=3600 if fault == "http_429" else None)
        assert club.run(AUTOPAYMENTS).exit_code in (
            Exit.UNKNOWN_OUTCOME,
            Exit.MISCONFIGURED,
            Exit.UNREACHABLE,
        )
        club.sandbox.clear_faults()
        for minutes in (1, 4, 5, 60):
            club.pass_time(minutes=minutes)
            codes = [club.run(job).exit_code for job in (SETTLER, AUTOPAYMENTS)]
        assert codes == [Exit.DONE, Exit.DONE]
        assert [club.of(each).ended_at for each in made] == [NEXT, NEXT]
        club.agree()

    def test_what_never_took_place_leaves_no_payment_pending(self, club: Club) -> None:
        made = club.member()
        club.sandbox.fault("http_401", "charge", times=2)
        for _ in range(2):
            assert club.run(AUTOPAYMENTS).exit_code == Exit.MISCONFIGURED
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        assert [each.status for each in club.renewals(made)] == ["cancelled", "cancelled", "succeeded"]
        assert [each.failure is None for each in club.renewals(made)] == [False, False, True]
        club.agree()

    def test_one_that_was_cancelled_meanwhile_gets_its_money_back(self, club: Club) -> None:
        made = club.member()
        club.sandbox.fault("lost_answer", "charge")
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
        club.world.change(subscriptions, made, status="cancelled")
        club.pass_time(minutes=5)
        done = club.run(SETTLER)
        assert done.counts == {"paid too late and to be undone": 1, "refunded": 1}
        (payment,) = club.renewals(made)
        assert (payment.status, payment.refunded_at is not None) == ("succeeded", True)
        assert (club.of(made).ended_at, templates(club)) == (END, set())
        club.agree()

    @pytest.mark.parametrize("back", [False, True])
    def test_one_whose_plan_was_changed_meanwhile_gets_its_money_back(self, club: Club, back: bool) -> None:
        """Nobody gets a year for the price of a month; the plan that it has then is charged by the next run.

        back: whether it is changed back while that charge is under way.
        """
        month, year = club.plan, club.plan_of(name="Year", unit="year")
        dearer = {"plan_id": year, "currency": "RUB", "amount_minor": 500_000, "valid_from": ago(days=899)}
        club.world.add(prices, dearer)
        made = club.member()
        plans = [year, *([month] if back else [])]
        for plan in plans:
            club.sandbox.fault("lost_answer", "charge")
            assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
            club.world.change(subscriptions, made, plan_id=plan)
            club.pass_time(minutes=5)
            done = club.run(SETTLER)
            assert done.exit_code == Exit.DONE
            assert done.counts == {"paid too late and to be undone": 1, "refunded": 1}
            assert (club.of(made).ended_at, templates(club)) == (END, set())
        assert [each.refunded_at is not None for each in club.renewals(made)] == [True] * len(plans)
        club.pass_time(minutes=5)
        done = club.run(AUTOPAYMENTS)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"renewed": 1})
        payment = club.renewals(made)[-1]
        assert (payment.plan_id, payment.amount_minor) == ((month, 50_000) if back else (year, 500_000))
        assert club.of(made).ended_at == (NEXT if back else END.replace(year=2027))
        assert club.run(AUTOPAYMENTS).counts == {}
        club.agree()

    def test_another_plan_is_not_charged_while_the_money_for_the_old_one_is_kept(self, club: Club) -> None:
        """As where its refund was refused, and a person has ended that."""
        made, year = club.member(), club.plan_of(name="Year", unit="year")
        club.sandbox.fault("lost_answer", "charge")
        club.run(AUTOPAYMENTS)
        club.world.change(subscriptions, made, plan_id=year)
        club.pass_time(minutes=5)
        club.run(SETTLER)
        (payment,) = club.renewals(made)
        club.world.change(payments, payment.id, refunded_at=None)
        before = club.sandbox.ledger()
        done = club.run(AUTOPAYMENTS)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1})
        assert (club.sandbox.ledger(), len(club.renewals(made))) == (before, 1)

    @pytest.mark.parametrize("change", [True, False])
    def test_one_that_was_not_sent_yet_is_not_sent_for_another_plan(self, club: Club, change: bool) -> None:
        made, year = club.member(), club.plan_of(name="Year", unit="year")
        journalled_alone(club)
        if change:
            club.world.change(subscriptions, made, plan_id=year)
        club.pass_time(minutes=5)
        assert club.run(SETTLER).exit_code == Exit.DONE
        assert len(club.sandbox.ledger()) == (not change)
        if change:
            assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        assert club.of(made).ended_at == (END.replace(year=2027) if change else NEXT)
        club.agree()

    def test_one_that_a_webhook_has_applied_meanwhile_is_not_paid_back(self, club: Club) -> None:
        """And has been paid once more since, so that it is about another period by now."""
        made = club.member()
        club.sandbox.fault("lost_answer", "charge")
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
        (payment,) = club.renewals(made)
        (effect,) = club.sandbox.ledger()
        period = {"subscription_id": made, "period_start": END, "period_end": NEXT, "created_at": NOW}
        with club.world.engine.begin() as connection:
            ours = update(payments).where(payments.c.id == payment.id)
            connection.execute(
                ours.values(status="succeeded", paid_at=NOW, provider_payment_id=effect.intent)
            )
        club.world.add(subscription_periods, period | {"payment_id": payment.id})
        later = NEXT + timedelta(days=30)
        club.world.change(subscriptions, made, ended_at=later)
        club.pass_time(minutes=5)
        assert club.run(SETTLER).counts == {"renewed already": 1}
        assert (club.of(made).ended_at, len(club.periods(made))) == (later, 2)
        club.agree()


def test_a_dry_run_shows_the_request_that_the_run_sends(club: Club) -> None:
    made = club.member()
    before = club.world.everything()
    (shown,) = club.run(AUTOPAYMENTS, dry_run=True).document["rows"]
    assert (club.world.everything(), club.sandbox.requests()) == (before, {})
    club.run(AUTOPAYMENTS)
    (operation,) = club.world.rows(money_operations)
    assert (shown["row_id"], shown["request"]["key"]) == (made, operation.key)
    sent = operation.request.get("document") or dict(operation.request["fields"])
    assert shown["request"]["fields"] == sent


def test_since_bounds_the_end(club: Club) -> None:
    old, new = club.member(ended_at=ago(days=2)), club.member(ended_at=ago(days=1))
    assert club.run(AUTOPAYMENTS, since=ago(hours=36)).counts == {"renewed": 1}
    assert [len(club.renewals(each)) for each in (old, new)] == [0, 1]


@pytest.mark.only("postgresql")
@pytest.mark.parametrize("what", ["deleted", "refunded", "paying for the plan"])
def test_what_a_rival_changes_while_rows_are_chosen_counts(club: Club, what: str) -> None:
    """The statement that locks a row sees what lies beside it as it was when the statement began."""
    made = club.member()
    user, payment = club.of(made).user_id, club.periods(made)[-1].payment_id
    by_hand: dict[str, Any] = {"user_id": user, "plan_id": club.plan, "provider": club.provider}
    by_hand |= {"amount_minor": 50_000, "currency": "RUB", "created_at": NOW}
    changes = {
        "deleted": update(users).where(users.c.id == user).values(deleted_at=NOW),
        "refunded": update(payments).where(payments.c.id == payment).values(refunded_at=NOW),
        # One of the subscription itself would wait for the run's lock, by its foreign key.
        "paying for the plan": insert(payments).values(**by_hand),
    }
    with once_chosen(club.world, changes[what], f"FOR UPDATE OF {subscriptions} SKIP LOCKED"):
        assert club.run(AUTOPAYMENTS).counts == {}
    assert (club.sandbox.ledger(), club.world.rows(money_operations)) == ([], [])
