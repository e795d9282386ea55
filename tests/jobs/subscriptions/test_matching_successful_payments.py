"""What becomes of payments that succeeded at a provider and never reached us, by every provider."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from jobctl.errors import Exit
from jobctl.journal import PATIENT
from jobctl.money import Money
from jobctl.providers.protocol import Refund
from jobctl.sandbox import YOOKASSA_SHOP_ID
from jobctl.tables.findings import findings
from jobctl.tables.frame import runs, watermarks
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments, plans, prices, subscription_periods, subscriptions
from tests.servers import HookServer, Reply, closed_port
from tests.subscribers import Club
from tests.world import NOW, ago, ahead

JOB = "matching-successful-payments"
PAID = NOW - timedelta(minutes=5)
MONTH_LATER = datetime(2026, 4, 2, 11, 55, tzinfo=UTC)
MISSING = "succeeded at the provider and was missing here"
NOBODYS = "succeeded at the provider and was for nobody known here"


def drift(what: str, payments: int = 1, minor: int = 50_000) -> list[dict[str, Any]]:
    return [{"what": what, "payments": payments, "currency": "RUB", "amount_minor": minor}]


class TestLostPayments:
    def test_it_is_recorded_with_the_subscription_that_it_was_for(self, club: Club) -> None:
        user = club.buyer()
        number = club.pay(user)
        done = club.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"added": 1})
        assert done.document["drift"] == drift(MISSING) == club.world.last_run().drift
        (payment,), (subscription,) = club.payments_of(user), club.subscriptions_of(user)
        assert (payment.status, payment.provider, payment.provider_payment_id) == (
            "succeeded",
            club.provider,
            number,
        )
        assert (payment.amount_minor, payment.currency, payment.paid_at) == (50_000, "RUB", PAID)
        assert payment.subscription_id == subscription.id
        assert payment.confirmed_at >= NOW
        assert (subscription.plan_id, subscription.status) == (club.plan, "active")
        assert (subscription.started_at, subscription.ended_at) == (PAID, MONTH_LATER)
        assert subscription.billing_anchor_day == PAID.day
        (period,) = club.periods(subscription.id)
        assert (period.period_start, period.period_end, period.payment_id) == (PAID, MONTH_LATER, payment.id)

    def test_it_is_recorded_once(self, club: Club) -> None:
        user = club.buyer()
        club.pay(user)
        for _ in range(3):
            club.run(JOB)
        assert (len(club.payments_of(user)), len(club.subscriptions_of(user))) == (1, 1)
        assert len(club.world.rows(runs)) == 1

    def test_a_subscription_to_the_same_plan_is_extended_from_its_end(self, club: Club) -> None:
        made = club.member(ended_at=NOW + timedelta(days=9))
        user = club.of(made).user_id
        club.pay(user)
        assert club.run(JOB).counts == {"added": 1}
        assert club.of(made).ended_at == datetime(2026, 4, 11, 12, tzinfo=UTC)
        assert [each.period_start for each in club.periods(made)][1:] == [NOW + timedelta(days=9)]
        assert club.payments_of(user)[1].subscription_id == made

    def test_one_to_another_plan_is_left_alone(self, club: Club) -> None:
        made = club.member(plan_id=club.plan_of(name="Silver"))
        before = club.of(made)
        club.pay(before.user_id)
        club.run(JOB)
        assert club.of(made) == before
        assert len(club.subscriptions_of(before.user_id)) == 2

    def test_a_subscription_that_ended_long_ago_gives_way_to_a_new_one(self, club: Club) -> None:
        """Whether it has been expired yet or not: nobody pays for what nobody was served."""
        made = club.member(ended_at=ago(days=5), next_charge_at=None)
        user = club.of(made).user_id
        club.pay(user)
        club.run(JOB)
        old, new = club.subscriptions_of(user)
        assert (old.status, old.ended_at) == ("expired", ago(days=5))
        assert (new.status, new.started_at, new.ended_at) == ("active", PAID, MONTH_LATER)

    def test_within_its_grace_it_is_extended_from_its_end(self, club: Club) -> None:
        made = club.member(ended_at=ago(days=2))
        club.pay(club.of(made).user_id)
        club.run(JOB)
        assert club.of(made).ended_at == datetime(2026, 3, 28, 12, tzinfo=UTC)

    def test_the_older_payment_counts_first(self, club: Club) -> None:
        """Lists begin with the newest; what was paid in time is not taken for paid too late."""
        made = club.member(ended_at=ago(days=6), next_charge_at=None)
        user = club.of(made).user_id
        club.pay(user, ago=timedelta(days=1))
        club.pay(user, ago=timedelta(days=6, hours=2))
        assert club.run(JOB, since=ago(days=8)).counts == {"added": 2}
        assert [each.period_start for each in club.periods(made)][1:] == [ago(days=6), ahead(days=22)]
        assert len(club.subscriptions_of(user)) == 1

    def test_of_two_with_one_key_the_second_needs_someone(self, club: Club) -> None:
        user, key = club.buyer(), f"{club.installation}.checkout-17"
        usual = {"user_id": str(user), "plan_id": str(club.plan), "payment_provider_id": club.provider}
        for minutes in (9, 5):
            club.pay(metadata={**usual, "jobctl_key": key}, ago=timedelta(minutes=minutes))
        done = club.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"added": 1, "orphan payment": 1})

    def test_two_payments_give_two_periods(self, club: Club) -> None:
        user = club.buyer()
        club.pay(user, ago=timedelta(minutes=30))
        club.pay(user)
        done = club.run(JOB)
        assert done.document["drift"] == drift(MISSING, 2, 100_000)
        (subscription,) = club.subscriptions_of(user)
        assert len(club.periods(subscription.id)) == 2

    def test_the_trail_has_what_was_added(self, club: Club) -> None:
        club.pay(club.buyer())
        club.run(JOB)
        trail = {each.table_name: each for each in club.world.trail()}
        assert set(trail) == {"payments", "subscriptions", "subscription_periods"}
        assert trail["payments"].before == {}
        assert trail["payments"].after["status"] == "succeeded"
        assert "provider_method" not in trail["payments"].after

    def test_without_a_saved_method_nothing_is_to_be_charged(self, club: Club) -> None:
        user = club.buyer()
        club.pay(user)
        club.run(JOB)
        assert club.subscriptions_of(user)[0].next_charge_at is None

    def test_one_that_jobctl_asked_for_and_lost_is_found_by_its_metadata(self, club: Club) -> None:
        """As after a restored backup: the charge is in no journal, and its key is ours."""
        made = club.member()
        user, method = club.of(made).user_id, club.world.rows(payments)[0].provider_method
        club.run("autopayments")
        (renewal,) = club.renewals(made)
        with club.world.engine.begin() as connection:
            connection.execute(
                delete(subscription_periods).where(subscription_periods.c.payment_id == renewal.id)
            )
            connection.execute(delete(payments).where(payments.c.id == renewal.id))
            connection.execute(delete(money_operations))
        club.world.change(subscriptions, made, ended_at=renewal.period_start)
        club.pass_time(minutes=2)
        assert club.run(JOB).counts == {"added": 1}
        (again,) = club.renewals(made)
        assert (again.reference, again.provider_method) == (renewal.reference, method)
        assert club.of(made).ended_at == datetime(2026, 4, 2, 15, tzinfo=UTC)
        assert club.subscriptions_of(user)[0].next_charge_at is not None


CANCELLED: dict[str, dict[str, Any]] = {
    "with its time": {"status": "cancelled", "cancelled_at": ago(minutes=5)},
    "without": {"status": "cancelled"},
    "and expired since": {"status": "expired", "cancelled_at": ago(minutes=5)},
    "and long at its end": {"cancelled_at": ago(minutes=5), "ended_at": ago(days=5)},
}
JOBS = {JOB: {}, "matching-pending-payments": {"status": "expired"}}


class TestCancelledSince:
    """What was paid before its customer cancelled begins nothing anew: a person decides."""

    def paid(self, club: Club, **values: Any) -> tuple[int, str]:
        """Have a subscription as it is by now, and a payment of 20 minutes ago."""
        made = club.member(next_charge_at=None, **values)
        return made, club.pay(club.of(made).user_id, ago=timedelta(minutes=20))

    @pytest.mark.parametrize("job", JOBS)
    @pytest.mark.parametrize("values", CANCELLED.values(), ids=CANCELLED)
    def test_it_needs_someone(self, club: Club, values: dict[str, Any], job: str) -> None:
        made, number = self.paid(club, **values)
        before = club.of(made)
        if job != JOB:
            club.begun(before.user_id, number, status="expired")
        shown = club.run(job, dry_run=True).document["counts"]
        done = club.run(job)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"payment not applied": 1})
        assert shown["payment not applied"] == 1
        assert (club.subscriptions_of(before.user_id), len(club.periods(made))) == ([before], 1)
        (finding,) = club.world.rows(findings)
        assert (finding.facts["payment"], finding.amount_minor) == (number, 50_000)
        _, payment = club.payments_of(before.user_id)
        assert (payment.status, payment.provider_payment_id) == ("succeeded", number)
        assert payment.paid_at == ago(minutes=20)
        for each in JOBS:
            assert (club.run(each).exit_code, len(club.world.rows(findings))) == (Exit.DONE, 1)

    @pytest.mark.parametrize("job", JOBS)
    @pytest.mark.parametrize("status", ["cancelled", "expired"])
    def test_who_pays_after_that_begins_anew(self, club: Club, status: str, job: str) -> None:
        made, number = self.paid(club, status=status, cancelled_at=ago(minutes=21))
        user = club.of(made).user_id
        if job != JOB:
            club.begun(user, number, status="expired")
        done = club.run(job)
        assert done.exit_code == Exit.DONE
        assert [each.status for each in club.subscriptions_of(user)] == [status, "active"]

    def test_one_that_runs_out_only_at_its_end_gets_its_period(self, club: Club) -> None:
        made, _ = self.paid(club, cancelled_at=ago(minutes=5))
        assert club.run(JOB).counts == {"added": 1}
        assert (len(club.periods(made)), club.of(made).next_charge_at) == (2, None)

    def test_so_does_the_active_one_beside_it(self, club: Club) -> None:
        old, _ = self.paid(club, status="cancelled", cancelled_at=ago(minutes=5))
        made = club.member(user_id=club.of(old).user_id)
        assert club.run(JOB).counts == {"added": 1}
        assert (len(club.periods(made)), len(club.periods(old))) == (2, 1)


class TestWhatIsKnown:
    def test_a_payment_that_is_here_is_none_of_its_business(self, club: Club) -> None:
        """Whatever its status: the other job sees to it."""
        for status in ("succeeded", "pending", "cancelled", "expired"):
            user = club.buyer()
            club.begun(user, club.pay(user), status=status, paid_at=PAID)
        before = [(each.id, each.status) for each in club.world.rows(payments)]
        assert club.run(JOB).counts == {}
        assert [(each.id, each.status) for each in club.world.rows(payments)] == before
        assert club.world.rows(subscriptions) == []

    def test_nor_is_one_of_its_own_renewals(self, club: Club) -> None:
        club.member()
        club.run("autopayments")
        club.pass_time(minutes=5)
        assert club.run(JOB).counts == {}

    def test_nor_one_that_is_known_by_its_reference(self, club: Club) -> None:
        user = club.buyer()
        key = f"{club.installation}.order-17"
        club.begun(user, None, reference=key)
        club.pay(user, metadata={"user_id": str(user), "plan_id": str(club.plan), "jobctl_key": key})
        assert club.run(JOB).counts == {}


ORPHANS: dict[str, dict[str, Any]] = {
    "no user": {"drop": "user_id"},
    "no plan": {"drop": "plan_id"},
    "no provider": {"drop": "payment_provider_id"},
    "unknown user": {"user_id": "99999"},
    "unknown plan": {"plan_id": "99999"},
    "another provider": {"payment_provider_id": "paystack"},
    "no number": {"user_id": "Bruno"},
    "a negative number": {"user_id": "-1"},
    "a number beyond all": {"plan_id": "9" * 40},
    "wrong amount": {"minor": 49_999},
    "wrong currency": {"currency": "USD"},
    "no key of anybody": {"jobctl_key": "what? \0 ever"},
    "a key of no installation": {"jobctl_key": "checkout-17"},
    "a user who was deleted": {"user_id": "deleted"},
    "two installations": {
        "jobctl_key": "elsewher.charge.subscription-1.2026-03-02.1",
        "installation": "ours",
    },
    "another key": {"jobctl_key": "ours", "installation": "elsewher"},
}


def orphan(club: Club, **changed: Any) -> str:
    user = club.buyer()
    money = {name: changed.pop(name) for name in ("minor", "currency") if name in changed}
    metadata = {"user_id": str(user), "plan_id": str(club.plan), "payment_provider_id": club.provider}
    metadata.pop(changed.pop("drop", ""), None)
    if changed.get("user_id") == "deleted":
        changed["user_id"] = str(club.buyer(deleted_at=ago(days=1)))
    for name, whole in {"installation": "", "jobctl_key": ".checkout-17"}.items():
        if changed.get(name) == "ours":
            changed[name] = f"{club.installation}{whole}"
    metadata = changed.pop("metadata", metadata | changed)
    return club.pay(user, metadata=metadata, **money)


class TestOrphans:
    @pytest.mark.parametrize("changed", ORPHANS.values(), ids=ORPHANS)
    def test_a_person_has_to_look_and_nothing_is_invented(self, club: Club, changed: dict[str, Any]) -> None:
        number = orphan(club, **dict(changed))
        done = club.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"orphan payment": 1})
        (told,) = done.document["drift"]
        assert (told["what"], told["payments"]) == (NOBODYS, 1)
        (finding,) = club.world.rows(findings)
        assert (finding.kind, finding.status) == ("orphan payment", "open")
        assert (finding.facts["provider"], finding.facts["payment"]) == (club.provider, number)
        assert finding.amount_minor == changed.get("minor", 50_000)
        assert club.world.rows(payments) == club.world.rows(subscriptions) == []

    def test_it_is_found_once(self, club: Club) -> None:
        orphan(club, user_id="99999")
        first, second = club.run(JOB), club.run(JOB)
        assert (second.exit_code, second.counts, second.document["drift"]) == (Exit.DONE, {}, [])
        assert club.run(JOB, dry_run=True).document["drift"] == []
        assert (first.exit_code, len(club.world.rows(findings))) == (Exit.ITEMS_FAILED, 1)

    def test_others_on_its_page_are_recorded(self, club: Club) -> None:
        users = [club.buyer() for _ in range(2)]
        club.pay(users[0])
        orphan(club, user_id="99999")
        club.pay(users[1])
        assert club.run(JOB).counts == {"added": 2, "orphan payment": 1}

    def test_what_was_given_back_gives_nobody_a_subscription(self, club: Club) -> None:
        made = club.member()
        club.run("autopayments")
        (charge,) = club.renewals(made)
        club.at_provider(Refund(charge.provider_payment_id, Money(50_000, "RUB")))
        with club.world.engine.begin() as connection:
            for each in (subscription_periods, money_operations, payments, subscriptions):
                connection.execute(delete(each))
        club.pass_time(minutes=2)
        assert club.run(JOB).counts == {"orphan payment": 1}
        assert club.world.rows(subscriptions) == []

    @pytest.mark.parametrize(
        ("valid_from", "fits"),
        [(ahead(seconds=1), False), (ago(minutes=6), True), (ago(days=8), True)],
        ids=["a later price", "the price", "an older price"],
    )
    def test_a_price_of_the_time_fits(self, club: Club, valid_from: datetime, fits: bool) -> None:
        price = {"amount_minor": 60_000, "currency": "RUB", "valid_from": valid_from}
        club.world.add(prices, {"plan_id": club.plan, **price})
        club.pay(club.buyer(), 60_000)
        assert club.run(JOB).counts == ({"added": 1} if fits else {"orphan payment": 1})

    @pytest.mark.parametrize(("days", "fits"), [(6, True), (8, False)])
    def test_the_price_before_it_fits_as_long_as_a_payment_may_be_pending(
        self, club: Club, days: int, fits: bool
    ) -> None:
        """A customer pays today what was asked for days ago."""
        price = {"amount_minor": 60_000, "currency": "RUB", "valid_from": ago(days=days)}
        club.world.add(prices, {"plan_id": club.plan, **price})
        club.pay(club.buyer(), 50_000)
        assert club.run(JOB).counts == ({"added": 1} if fits else {"orphan payment": 1})


OTHERS = "succeeded at the provider and was none of this installation's"
FOREIGN: dict[str, dict[str, Any]] = {
    "no mark at all": {"metadata": {}},
    "marks of something else": {"metadata": {"order": "17", "customer": "6"}},
    "another installation": {"installation": "elsewher"},
    "another installation's charge": {"jobctl_key": "elsewher.charge.subscription-1.2026-03-02.1"},
}
OURS: dict[str, dict[str, Any]] = {
    "its name": {"installation": "ours"},
    "its name in a reference": {"jobctl_key": "ours"},
}


class TestWhatNoListShouldHave:
    @pytest.mark.parametrize(
        ("told", "kinds"),
        [
            ({}, []),
            ({"test": False}, ["unreadable payment"]),
            ({"status": "canceled"}, ["unreadable payment"]),
            ({"status": "pending"}, ["unreadable payment"]),
            ({"captured_at": "2099-03-02T11:00:00Z"}, ["unreadable payment"]),
        ],
        ids=["sound", "of the other mode", "canceled", "pending", "of the future"],
    )
    def test_it_gives_nobody_anything(self, club: Club, told: dict[str, Any], kinds: list[str]) -> None:
        whose = {"user_id": str(club.buyer()), "plan_id": str(club.plan), "payment_provider_id": "yookassa"}
        amount, paid_at = {"value": "500.00", "currency": "RUB"}, "2026-03-02T11:30:00Z"
        paid = {"id": "p-1", "status": "succeeded", "test": True, "captured_at": paid_at, **told}
        page = {"type": "list", "items": [{**paid, "amount": amount, "metadata": whose}]}
        with HookServer() as server:
            server.default = Reply(200, {"Content-Type": "application/json"}, json.dumps(page).encode())
            club.world.configure(yookassa_api_base=server.url)
            done = club.run(JOB)
        assert done.exit_code == (Exit.ITEMS_FAILED if kinds else Exit.DONE)
        assert [each.kind for each in club.world.rows(findings)] == kinds
        assert len(club.world.rows(subscriptions)) == (0 if kinds else 1)


class TestSharedAccounts:
    """Numbers of users and plans are anybody's, where an account is not ours alone."""

    def counted(self, club: Club, dry_run: bool = False) -> None:
        done = club.run(JOB, dry_run=dry_run)
        assert (done.exit_code, done.counts) == (Exit.DONE, {})
        assert done.document["drift"] == drift(OTHERS)
        for each in (findings, payments, subscriptions, runs):
            assert club.world.rows(each) == []

    @pytest.mark.parametrize("changed", FOREIGN.values(), ids=FOREIGN)
    @pytest.mark.parametrize("requires", ["metadata", "installation"])
    def test_what_bears_anothers_mark_or_none_is_counted_and_no_more(
        self, club: Club, changed: dict[str, Any], requires: str
    ) -> None:
        club.world.configure(matching_requires=requires)
        orphan(club, **dict(changed))
        self.counted(club, dry_run=True)
        for _ in range(2):
            self.counted(club)

    def test_where_it_is_required_numbers_alone_are_none_of_ours(self, club: Club) -> None:
        club.world.configure(matching_requires="installation")
        orphan(club)
        self.counted(club)

    @pytest.mark.parametrize("changed", OURS.values(), ids=OURS)
    @pytest.mark.parametrize("requires", ["metadata", "installation"])
    def test_what_bears_ours_is_recorded(self, club: Club, changed: dict[str, Any], requires: str) -> None:
        club.world.configure(matching_requires=requires)
        orphan(club, **dict(changed))
        assert club.run(JOB).counts == {"added": 1}

    def test_what_bears_ours_and_does_not_fit_is_found(self, club: Club) -> None:
        club.world.configure(matching_requires="installation")
        orphan(club, installation="ours", user_id="99999")
        assert club.run(JOB).counts == {"orphan payment": 1}


class TestWindows:
    def test_an_outage_of_three_days_loses_nothing(self, club: Club) -> None:
        club.run(JOB)
        users = [club.buyer() for _ in range(30)]
        for n, user in enumerate(users):
            club.pass_time(hours=2.4)
            club.pay(user, ago=timedelta(0), begun=club.now - timedelta(minutes=n))
        club.pass_time(minutes=2)
        done = club.run(JOB)
        assert done.counts == {"added": 30}
        assert [len(club.subscriptions_of(each)) for each in users] == [1] * 30

    def test_each_job_and_provider_has_its_own_watermark(self, club: Club) -> None:
        club.run(JOB)
        club.run("matching-pending-payments")
        found = {each.source: each.until for each in club.world.rows(watermarks)}
        jobs = (JOB, "matching-pending-payments")
        accounts = ("stripe.test", f"yookassa.shop-{YOOKASSA_SHOP_ID}")
        marks = {f"{job}.{account}" for job in jobs for account in accounts}
        assert {each.rpartition(".")[0] for each in found} == marks
        assert set(found.values()) == {ago(minutes=1)}

    def test_a_list_that_fails_moves_no_watermark_and_stops_no_other(self, club: Club) -> None:
        other = {"yookassa": "stripe", "stripe": "yookassa"}[club.provider]
        base = f"{club.provider}_api_base"
        club.world.configure(**{base: f"http://127.0.0.1:{closed_port()}"})
        user = club.buyer()
        club.pay(user)
        assert club.run(JOB).exit_code == Exit.UNREACHABLE
        moved = [each.source for each in club.world.rows(watermarks) if each.until == ago(minutes=1)]
        assert [each.split(".")[1] for each in moved] == [other]
        club.world.configure(**{base: club.sandbox.url})
        assert club.run(JOB).counts == {"added": 1}

    def test_since_lists_what_is_older_than_the_watermark(self, club: Club) -> None:
        user = club.buyer()
        club.pay(user, ago=timedelta(days=3))
        assert club.run(JOB).counts == {}
        assert club.run(JOB, since=ago(days=4)).counts == {"added": 1}

    def test_without_any_provider_nothing_can_be_asked(self, club: Club) -> None:
        nothing = {"stripe_secret_key": None, "yookassa_shop_id": None, "yookassa_secret_key": None}
        club.world.configure(**nothing)
        assert club.run(JOB).exit_code == Exit.MISCONFIGURED


class TestWhatSucceededHereAlone:
    def test_what_the_provider_lists_too_is_not_asked_about(self, club: Club) -> None:
        user = club.buyer()
        number = club.pay(user, ago=timedelta(minutes=20))
        made = club.begun(user, number, status="succeeded", paid_at=ago(minutes=20))
        assert club.run(JOB).counts == {}
        assert club.paid(made).confirmed_at is not None
        assert "retrieve" not in club.sandbox.requests()

    def test_what_is_in_no_list_is_asked_about(self, club: Club) -> None:
        user = club.buyer()
        number = club.pay(user, ago=timedelta(days=3))
        made = club.begun(user, number, status="succeeded", paid_at=ago(days=3))
        assert club.run(JOB).counts == {"confirmed": 1}
        assert club.paid(made).confirmed_at is not None
        assert club.run(JOB).counts == {}

    @pytest.mark.parametrize("state", ["unknown", "undecided", "cancelled"])
    def test_what_is_otherwise_there_is_reported_and_not_changed(self, club: Club, state: str) -> None:
        number = {"unknown": club.unknown, "undecided": club.held, "cancelled": club.released}[state]()
        paid = {"status": "succeeded", "paid_at": ago(days=1), "looks": PATIENT - 1}
        made = club.begun(club.buyer(), number, **paid)
        before = club.paid(made)
        done = club.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"not at the provider": 1})
        assert done.document["drift"] == drift(f"succeeded here and was {state} at the provider")
        after = club.paid(made)
        assert (after.status, after.paid_at, after.confirmed_at) == (before.status, before.paid_at, None)
        (finding,) = club.world.rows(findings)
        assert (finding.kind, finding.facts["payment"]) == ("payment not at the provider", number)
        club.pass_time(hours=2)
        again = club.run(JOB)
        assert (again.exit_code, again.document["drift"], len(club.world.rows(findings))) == (
            Exit.DONE,
            [],
            1,
        )

    def test_another_amount_is_reported(self, club: Club) -> None:
        user = club.buyer()
        number = club.pay(user, 40_000, ago=timedelta(minutes=30))
        club.begun(user, number, status="succeeded", paid_at=ago(minutes=30))
        assert club.run(JOB).exit_code == Exit.ITEMS_FAILED
        assert [each.kind for each in club.world.rows(findings)] == ["payment mismatch"]

    @pytest.mark.parametrize(
        "fact",
        [
            {"paid_at": ago(minutes=9)},
            {"paid_at": ago(days=8)},
            {"provider_payment_id": None},
            {"confirmed_at": ago(minutes=1)},
            {"next_look_at": ahead(seconds=1)},
        ],
        ids=str,
    )
    def test_another_is_not_asked_about(self, club: Club, fact: dict[str, Any]) -> None:
        given = {"status": "succeeded", "paid_at": ago(hours=2)} | fact
        club.begun(club.buyer(), club.unknown(), **given)
        assert club.run(JOB).counts == {}
        assert "retrieve" not in club.sandbox.requests()

    def test_a_provider_that_cannot_be_reached_is_asked_by_the_next_run(self, club: Club) -> None:
        club.begun(club.buyer(), club.held(), status="succeeded", paid_at=ago(hours=2))
        club.sandbox.fault("http_500_before", "retrieve", times=10_000)
        assert club.run(JOB).exit_code == Exit.UNREACHABLE
        assert club.world.rows(findings) == []
        club.sandbox.clear_faults()
        club.pass_time(minutes=2)
        assert club.run(JOB).exit_code == Exit.ITEMS_FAILED


class TestGivenBack:
    """What succeeded here, and was given back at the provider by hand, is no payment any more."""

    def member(self, club: Club, span: timedelta, back: int | None) -> tuple[int, int]:
        """Have a subscription whose last payment was given back; return both. back: None for all of it."""
        made = club.member()
        number, payment = club.pay(club.of(made).user_id, ago=span), club.periods(made)[-1].payment_id
        told = {"provider_payment_id": number, "paid_at": club.now - span, "confirmed_at": None}
        club.world.change(payments, payment, **told)
        club.sandbox.dashboard.refund(club.provider, number, back)
        return made, payment

    @pytest.mark.parametrize("back", [None, 10_000], ids=["all of it", "a part"])
    @pytest.mark.parametrize("listed", [True, False])
    def test_it_needs_someone_and_nobody_is_charged_again(
        self, club: Club, listed: bool, back: int | None
    ) -> None:
        made, payment = self.member(club, timedelta(minutes=30) if listed else timedelta(days=2), back)
        shown = club.run(JOB, dry_run=True).document["counts"]
        done = club.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"payment mismatch": 1})
        assert shown["payment mismatch"] == 1
        (finding,) = club.world.rows(findings)
        assert (finding.kind, finding.facts["payment"]) == (
            "payment mismatch",
            club.paid(payment).provider_payment_id,
        )
        assert "given back at the provider" in finding.reason
        assert finding.amount_minor == (back or 50_000)
        row = club.paid(payment)
        assert (row.status, row.refunded_at is None) == ("succeeded", back is not None)
        waits = (None, None) if back is None else ("subscription", made)
        assert (finding.subject, finding.subject_id) == waits
        assert club.run("autopayments").counts == {}
        assert [each.key for each in club.world.rows(money_operations)] == []
        club.pass_time(hours=25)
        assert (club.run(JOB).exit_code, len(club.world.rows(findings))) == (Exit.DONE, 1)
        assert club.run("autopayments").counts == {}

    def test_what_follows_in_a_part_is_noted_too(self, club: Club) -> None:
        made, payment = self.member(club, timedelta(minutes=30), 10_000)
        club.run(JOB)
        club.sandbox.dashboard.refund(club.provider, club.paid(payment).provider_payment_id)
        club.pass_time(hours=25)
        assert club.run(JOB).exit_code == Exit.DONE
        assert club.paid(payment).refunded_at is not None
        number = club.world.rows(findings)[0].id
        club.world.change(findings, number, status="resolved", resolved_at=club.now, resolution="seen")
        assert (club.run("autopayments").counts, len(club.periods(made))) == ({}, 1)

    def test_once_someone_has_decided_about_a_part_it_is_charged(self, club: Club) -> None:
        made, _ = self.member(club, timedelta(minutes=30), 10_000)
        club.run(JOB)
        number = club.world.rows(findings)[0].id
        club.world.change(findings, number, status="resolved", resolved_at=club.now, resolution="seen")
        assert (club.run("autopayments").counts, len(club.periods(made))) == ({"renewed": 1}, 2)

    def test_what_is_known_to_be_given_back_is_confirmed(self, club: Club) -> None:
        _, payment = self.member(club, timedelta(minutes=30), None)
        club.world.change(payments, payment, refunded_at=ago(minutes=20))
        assert club.run(JOB).exit_code == Exit.DONE
        row = club.paid(payment)
        assert (row.confirmed_at is not None, row.refunded_at) == (True, ago(minutes=20))
        assert club.world.rows(findings) == []


class TestDryRun:
    def test_it_tells_what_the_real_run_then_does(self, club: Club) -> None:
        club.pay(club.buyer())
        club.pay(club.buyer(), metadata={"user_id": "99999"})
        paid = {"status": "succeeded", "paid_at": ago(hours=2), "looks": PATIENT - 1}
        club.begun(club.buyer(), club.unknown(), **paid)
        before = club.world.everything()
        shown = club.run(JOB, dry_run=True)
        assert shown.exit_code == Exit.DONE
        assert club.world.everything() == before
        tables = sorted(each["table"] for each in shown.document["rows"])
        added = ["payments", "subscription_periods", "subscriptions"]
        assert tables == ["findings", "findings", *added]
        done = club.run(JOB)
        counts = shown.document["counts"]
        assert {name: counts[name] for name in done.counts} == done.counts
        assert sorted(map(str, shown.document["drift"])) == sorted(map(str, done.document["drift"]))
        assert len(done.document["drift"]) == 3

    def test_in_text_too(self, club: Club) -> None:
        club.pay(club.buyer())
        sentence = "1 payment of 500.00 RUB succeeded at the provider and was missing here.\n"
        for dry_run in (True, False):
            assert sentence in club.run(JOB, dry_run=dry_run, as_json=False).out

    def test_when_told_to_be_quiet_it_says_nothing_of_what_it_mended(self, club: Club) -> None:
        club.pay(club.buyer())
        assert club.run(JOB, as_json=False, verbosity=-1).out == ""
        assert club.world.last_run().drift == drift(MISSING)

    def test_one_that_is_stopped_says_so(self, club: Club) -> None:
        club.pay(club.buyer())
        club.begun(club.buyer(), club.held(), status="succeeded", paid_at=ago(hours=2))
        club.world.stop.now(Exit.TERMINATED)
        assert club.run(JOB, dry_run=True).exit_code == Exit.TERMINATED

    def test_without_any_provider_it_says_so(self, club: Club) -> None:
        club.sandbox.fault("http_401", "list", times=10_000)
        assert club.run(JOB, dry_run=True).exit_code == Exit.MISCONFIGURED


def test_plans_may_no_longer_be_sold(club: Club) -> None:
    """Who paid for one gets it."""
    club.world.change(plans, club.plan, active=False)
    user = club.buyer()
    club.pay(user)
    assert club.run(JOB).counts == {"added": 1}
