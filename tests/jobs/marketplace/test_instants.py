"""The first instant of what payment-cleanup decides by the time that has passed, and the one before it."""

from datetime import timedelta
from typing import Any

import pytest

from jobctl.job import At
from jobctl.jobs.marketplace import refunding
from jobctl.money import Money
from jobctl.providers.protocol import Paid
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import provider_silences, wallet_transactions
from tests.bazaar import Bazaar
from tests.world import NOW, ago, ahead

JOB = "payment-cleanup"
TICK = timedelta(microseconds=1)
WHEN = pytest.mark.parametrize("short_of", [timedelta(), TICK], ids=["then", "before"])


def begun(bazaar: Bazaar, age: timedelta, **values: Any) -> int:
    return bazaar.transaction(bazaar.request(created_at=NOW - age), **values)


@WHEN
def test_a_payment_is_verified_a_day_after_it_was_begun(bazaar: Bazaar, short_of: timedelta) -> None:
    payment = begun(bazaar, timedelta(hours=24) - short_of)
    bazaar.at_paystack(payment, "success")
    assert bazaar.run(JOB).counts == ({} if short_of else {"completed": 1})


@WHEN
@pytest.mark.parametrize("status", ["abandoned", None])
def test_what_is_undecided_times_out_after_two_days(
    bazaar: Bazaar, short_of: timedelta, status: str | None
) -> None:
    """So does what its provider doesn't have, where it has another one of the same account."""
    known = begun(bazaar, timedelta(hours=30))
    bazaar.at_paystack(known, "success")
    bazaar.run(JOB)
    payment = begun(bazaar, timedelta(hours=48) - short_of, account="test")
    if status is not None:
        bazaar.at_paystack(payment, status)
    assert ("timed out" in bazaar.run(JOB).counts) == (not short_of)


@WHEN
def test_a_request_without_a_payment_is_declined_after_two_days(bazaar: Bazaar, short_of: timedelta) -> None:
    bazaar.request(created_at=ago(hours=48) + short_of)
    assert bazaar.run(JOB).counts == ({} if short_of else {"declined": 1})


@WHEN
def test_what_was_not_found_for_three_days_is_left_to_a_person(bazaar: Bazaar, short_of: timedelta) -> None:
    payment = begun(bazaar, timedelta(days=9), next_look_at=ahead(hours=1), looks=2)
    bazaar.world.change(wallet_transactions, payment, missed_at=ago(days=3) + short_of)
    assert bazaar.run(JOB).counts == ({} if short_of else {"unverified": 1})


@WHEN
def test_that_is_not_sooner_than_three_days_after_it_was_due(bazaar: Bazaar, short_of: timedelta) -> None:
    """However long its provider has been silent by then."""
    bazaar.world.add(provider_silences, {"provider": "paystack", "since": ago(days=9)})
    begun(bazaar, timedelta(days=4) - short_of, next_look_at=ahead(hours=1), looks=2)
    assert bazaar.run(JOB).counts == ({} if short_of else {"unverified": 1})


@WHEN
def test_a_refund_that_is_undecided_is_a_persons_after_three_days(
    bazaar: Bazaar, short_of: timedelta
) -> None:
    payment = begun(bazaar, timedelta(days=2))
    bazaar.at_paystack(payment, "success")
    bazaar.world.change(wallet_transactions, payment, status="completed", escrow_status="void", paid_at=NOW)
    bazaar.sandbox.conditions("paystack", refund_first="needs-attention")
    assert bazaar.run(JOB).counts == {"pending": 1}
    (operation,) = bazaar.world.rows(money_operations)
    bazaar.world.change(money_operations, operation.id, first_sent_at=ago(days=3) + short_of)
    assert bazaar.run(JOB).counts.get("refund undecided") == (None if short_of else 1)


@WHEN
def test_a_refund_that_was_refused_is_asked_for_again_after_a_day(
    bazaar: Bazaar, short_of: timedelta
) -> None:
    payment = begun(bazaar, timedelta(days=2))
    bazaar.at_paystack(payment, "success")
    owed = {"status": "completed", "escrow_status": "void", "paid_at": ago(days=2)}
    bazaar.world.change(wallet_transactions, payment, **owed, refund_refused_at=ago(days=1) + short_of)
    assert bazaar.run(JOB).counts == ({} if short_of else {"pending": 1})


def test_what_a_list_has_as_given_back_is_no_news() -> None:
    """Though Paystack is asked for what succeeded alone."""
    back = Paid("paystack", "ref-1", Money(10_000, "NGN"), NOW, refunded=True)
    asked: list[object] = []

    def read(query: Any) -> list[Any]:
        asked.append(query)
        return []

    assert (refunding.news(At(NOW), [back], read), asked) == ([], [])
