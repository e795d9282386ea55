"""Whose subscription ends: a world in which the grace period has run out, then one changed fact per test."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.tables.subscriptions import subscriptions
from tests.subscribers import Subscribers
from tests.world import NOW, ago, ahead, command

EXPIRER = "expire-subscriptions"


class TestConditions:
    def test_an_unpaid_one_expires_and_its_subscriber_is_told(self, subscribers: Subscribers) -> None:
        made = subscribers.subscription(ended_at=ago(days=3))
        done = subscribers.world.run(EXPIRER)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"expired": 1})
        row = subscribers.of(made)
        assert (row.status, row.expired_at, row.ended_at) == ("expired", NOW, ago(days=3))
        assert subscribers.world.told() == [
            (row.user_id, channel, "subscription-expired") for channel in ("email", "tray")
        ]
        assert subscribers.world.run(EXPIRER).counts == {}

    @pytest.mark.parametrize(
        "fact",
        [
            {"ended_at": ago(days=3) + timedelta(microseconds=1)},
            {"status": "cancelled"},
            {"next_charge_at": ago(hours=1)},
            {"next_charge_at": ahead(days=1)},
        ],
        ids=str,
    )
    def test_another_does_not(self, subscribers: Subscribers, fact: dict[str, Any]) -> None:
        subscribers.subscription(**{"ended_at": ago(days=3), **fact})
        assert subscribers.world.run(EXPIRER).counts == {}
        assert subscribers.world.told() == []

    def test_one_that_was_cancelled_waits_for_no_charge(self, subscribers: Subscribers) -> None:
        subscribers.subscription(ended_at=ago(days=3), next_charge_at=ago(hours=1), cancelled_at=ago(days=9))
        assert subscribers.world.run(EXPIRER).counts == {"expired": 1}

    @pytest.mark.parametrize(("days", "count"), [(timedelta(days=4), 1), (timedelta(days=3, hours=23), 0)])
    def test_one_that_nobody_charged_in_time_does(
        self, subscribers: Subscribers, days: timedelta, count: int
    ) -> None:
        """The last try is on the third day; what comes after the fourth was never served."""
        made = subscribers.subscription(ended_at=NOW - days, next_charge_at=ago(days=3))
        assert subscribers.world.run(EXPIRER).counts == ({"expired": 1} if count else {})
        assert (subscribers.of(made).next_charge_at is None) == bool(count)

    @pytest.mark.parametrize(
        ("status", "count"),
        [("started", 0), ("pending", 0), ("unknown", 0), ("declined", 1), ("rejected", 1)],
    )
    def test_while_the_bank_still_decides_it_does_not(
        self, subscribers: Subscribers, status: str, count: int
    ) -> None:
        subscribers.operation(subscribers.subscription(ended_at=ago(days=30)), status)
        assert subscribers.world.run(EXPIRER).counts == ({"expired": 1} if count else {})


class TestOptions:
    def test_since_bounds_the_end(self, subscribers: Subscribers) -> None:
        old, new = (subscribers.subscription(ended_at=ago(days=days)) for days in (40, 10))
        assert subscribers.world.run(EXPIRER, since=ago(days=20)).counts == {"expired": 1}
        assert [subscribers.of(each).status for each in (old, new)] == ["active", "expired"]

    @pytest.mark.parametrize(
        ("grace", "days", "ended_at", "count"),
        [
            ("1d", (0,), ago(days=1), 1),
            ("10d", (0,), ago(days=9), 0),
            ("1d", (0, 7), ago(days=7), 0),
            ("1d", (0, 7), ago(days=8), 1),
        ],
    )
    def test_its_settings(
        self, subscribers: Subscribers, grace: str, days: tuple[int, ...], ended_at: datetime, count: int
    ) -> None:
        span = timedelta(days=int(grace.removesuffix("d")))
        subscribers.world.configure(subscription_grace=span, autopayment_retry_days=days)
        subscribers.subscription(ended_at=ended_at, next_charge_at=ago(days=1))
        assert subscribers.world.run(EXPIRER).counts == ({"expired": 1} if count else {})

    @pytest.mark.usefixtures("environment")
    def test_by_the_command_line(self, subscribers: Subscribers) -> None:
        made = subscribers.subscription(ended_at=ago(days=30))
        assert command(EXPIRER, "--json").counts == {"expired": 1}
        assert subscribers.of(made).status == "expired"


def test_a_dry_run_shows_what_the_run_does(subscribers: Subscribers) -> None:
    for days in (2, 3, 5, 30):
        subscribers.subscription(ended_at=ago(days=days))
    subscribers.world.change(subscriptions, 3, next_charge_at=ago(days=4))
    shown, done = subscribers.world.foretold(EXPIRER)
    assert shown == done
    assert len(shown) == len(("subscription", "email", "tray")) * 3


def test_one_that_the_database_refuses_stops_no_other(subscribers: Subscribers) -> None:
    bad, good = (subscribers.subscription(ended_at=ago(days=5)) for _ in range(2))
    subscribers.world.refuse(subscriptions, "id", bad)
    done = subscribers.world.run(EXPIRER)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"expired": 1, "failed": 1})
    assert [subscribers.of(each).status for each in (bad, good)] == ["active", "expired"]
