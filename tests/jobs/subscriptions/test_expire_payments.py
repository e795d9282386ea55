"""Which payments are given up: a world in which one is too old, then one changed fact per test."""

from datetime import timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from tests.subscribers import Subscribers
from tests.world import NOW, ago, command

EXPIRER = "expire-payments"
OLD = {"created_at": ago(days=7, seconds=1)}
KNOWN = OLD | {"provider_payment_id": "22-1"}


class TestConditions:
    @pytest.mark.parametrize(
        "fact", [OLD, KNOWN | {"seen_pending_at": ago(seconds=1)}, KNOWN | {"seen_pending_at": NOW}], ids=str
    )
    def test_one_that_never_came_to_anything_expires(
        self, subscribers: Subscribers, fact: dict[str, Any]
    ) -> None:
        made = subscribers.payment(**fact)
        done = subscribers.world.run(EXPIRER)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"expired": 1})
        assert (subscribers.paid(made).status, subscribers.paid(made).expired_at) == ("expired", NOW)
        assert [(each.table_name, each.row_id) for each in subscribers.world.trail()] == [("payments", made)]
        assert subscribers.world.run(EXPIRER).counts == {}

    @pytest.mark.parametrize(
        "fact",
        [
            {"created_at": ago(days=7)},
            OLD | {"status": "succeeded", "paid_at": NOW},
            OLD | {"status": "cancelled"},
            KNOWN,
            KNOWN | {"seen_pending_at": ago(seconds=2)},
        ],
        ids=str,
    )
    def test_another_does_not(self, subscribers: Subscribers, fact: dict[str, Any]) -> None:
        """One that the provider knows has to be seen undecided after all that time."""
        subscribers.payment(**fact)
        assert subscribers.world.run(EXPIRER).counts == {}

    @pytest.mark.parametrize(("status", "count"), [("unknown", 0), ("started", 0), ("rejected", 1)])
    def test_nor_does_one_of_which_nobody_knows(
        self, subscribers: Subscribers, status: str, count: int
    ) -> None:
        asked = subscribers.operation(1, status)
        subscribers.payment(**OLD, reference=asked)
        assert subscribers.world.run(EXPIRER).counts == ({"expired": 1} if count else {})


class TestOptions:
    def test_since_bounds_the_creation(self, subscribers: Subscribers) -> None:
        old, new = (subscribers.payment(created_at=ago(days=days)) for days in (40, 10))
        assert subscribers.world.run(EXPIRER, since=ago(days=20)).counts == {"expired": 1}
        assert [subscribers.paid(each).status for each in (old, new)] == ["pending", "expired"]

    def test_its_setting(self, subscribers: Subscribers) -> None:
        subscribers.world.configure(payment_pending_max_age=timedelta(days=30))
        young = subscribers.payment(created_at=ago(days=29), provider_payment_id="1", seen_pending_at=NOW)
        old = subscribers.payment(created_at=ago(days=31), provider_payment_id="2", seen_pending_at=NOW)
        assert subscribers.world.run(EXPIRER).counts == {"expired": 1}
        assert [subscribers.paid(each).status for each in (young, old)] == ["pending", "expired"]

    @pytest.mark.usefixtures("environment")
    def test_by_the_command_line(self, subscribers: Subscribers) -> None:
        made = subscribers.payment(**OLD)
        assert command(EXPIRER, "--json").counts == {"expired": 1}
        assert subscribers.paid(made).status == "expired"


def test_a_dry_run_shows_what_the_run_does(subscribers: Subscribers) -> None:
    for days in (6, 8, 9):
        subscribers.payment(created_at=ago(days=days))
    shown, done = subscribers.world.foretold(EXPIRER)
    assert shown == done
    assert [each[1] for each in shown] == [2, 3]
