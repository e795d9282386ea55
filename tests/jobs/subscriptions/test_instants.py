"""The first instant at which a payment by hand keeps a renewal back no more, and the one before it."""

from datetime import timedelta

import pytest

from jobctl.tables.subscriptions import payments
from tests.subscribers import Club
from tests.world import NOW

AUTOPAYMENTS, MATCHER = "autopayments", "matching-pending-payments"
TICK = timedelta(microseconds=1)
WHEN = pytest.mark.parametrize("short_of", [timedelta(), TICK], ids=["then", "before"])


@WHEN
def test_one_that_never_came_to_its_provider_does_for_an_hour(club: Club, short_of: timedelta) -> None:
    made = club.member()
    club.begun(club.of(made).user_id, None, created_at=NOW - timedelta(hours=1) + short_of)
    assert club.run(AUTOPAYMENTS).counts == ({} if short_of else {"renewed": 1})


@WHEN
def test_that_it_was_undecided_is_good_for_a_quarter_of_an_hour(club: Club, short_of: timedelta) -> None:
    made = club.member()
    payment = club.begun(club.of(made).user_id, club.held(), created_at=NOW - timedelta(hours=2))
    seen = NOW - timedelta(minutes=15) + short_of
    club.world.change(payments, payment, seen_pending_at=seen)
    assert club.run(AUTOPAYMENTS).counts == ({"renewed": 1} if short_of else {})


@WHEN
def test_where_a_charge_waits_for_it_its_provider_is_asked_every_five_minutes(
    club: Club, short_of: timedelta
) -> None:
    made = club.member()
    payment = club.begun(club.of(made).user_id, club.held(), created_at=NOW - timedelta(hours=2))
    put_off = {"seen_pending_at": NOW - timedelta(minutes=5) + short_of, "next_look_at": NOW + TICK}
    club.world.change(payments, payment, **put_off)
    assert club.run(MATCHER).counts == ({} if short_of else {"still pending": 1})
