"""A run whose claim was taken over writes nothing over the row, and frees no claim of the other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import update

from jobctl import db
from jobctl.errors import Exit
from jobctl.locks import Locks
from jobctl.tables.marketplace import wallet_transactions
from tests.bazaar import Bazaar
from tests.jobs.marketplace.test_rules import CLEANUP, pending, request_of
from tests.rival import while_held
from tests.sandbox.client import until
from tests.world import Done

TAKEN = update(wallet_transactions).values(claimed_by=900)


def delay(bazaar: Bazaar, times: int = 1) -> None:
    """Have so many questions answered once that is woken."""
    bazaar.world.configure(paystack_timeout=timedelta(minutes=1))
    bazaar.sandbox.fault("delay", "retrieve", times=times, seconds=600)


def while_asking(bazaar: Bazaar, change: Callable[[], object], times: int = 1) -> Done:
    """Run the job; change something while so many of its questions are under way, whose answers come then."""
    delay(bazaar, times)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(bazaar.run, CLEANUP, concurrency=2)
        until(lambda: not bazaar.sandbox.faults())
        change()
        bazaar.sandbox.wake()
        return done.result(60)


def test_what_it_was_told_is_not_written_over_it(bazaar: Bazaar, locks: Locks) -> None:
    payment = pending(bazaar)
    bazaar.at_paystack(payment, "success")
    locks.hold_run(900)
    done = while_asking(bazaar, lambda: bazaar.world.change(wallet_transactions, payment, claimed_by=900))
    assert done.counts == {"changed meanwhile": 1}
    row = bazaar.moved(payment)
    assert (row.status, row.claimed_by, row.looks, row.next_look_at) == ("pending", 900, 0, None)
    assert (request_of(bazaar, payment).status, bazaar.world.told()) == ("pending", [])


def test_what_it_never_asked_about_stays_claimed(bazaar: Bazaar, locks: Locks) -> None:
    """It is stopped, and gives back what it has claimed, as far as that is its own still."""
    payments = [pending(bazaar, hours=30 - n) for n in range(3)]
    for each in payments:
        bazaar.at_paystack(each, "abandoned")
    locks.hold_run(900)

    def take_over() -> None:
        assert bazaar.moved(payments[2]).claimed_by is not None
        bazaar.world.change(wallet_transactions, payments[2], claimed_by=900)
        bazaar.world.stop.now(Exit.TERMINATED)

    assert while_asking(bazaar, take_over, times=2).exit_code == Exit.TERMINATED
    assert [bazaar.moved(each).claimed_by for each in payments] == [None, None, 900]


@pytest.mark.only("postgresql")
def test_nor_where_that_is_committed_while_the_answer_is_written(bazaar: Bazaar, locks: Locks) -> None:
    payment = pending(bazaar)
    bazaar.at_paystack(payment, "success")
    locks.hold_run(900)
    delay(bazaar)
    once, then = (lambda: not bazaar.sandbox.faults()), bazaar.sandbox.wake
    done = while_held(bazaar.world, TAKEN, lambda: bazaar.run(CLEANUP), once=once, then=then)
    assert done.counts == {"changed meanwhile": 1}
    row = bazaar.moved(payment)
    assert (row.status, row.claimed_by, request_of(bazaar, payment).status) == ("pending", 900, "pending")


@pytest.mark.only("postgresql")
def test_what_another_run_is_about_to_claim_is_asked_about_by_that_one(
    bazaar: Bazaar, locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is passed over, and waited for in vain here."""
    monkeypatch.setattr(db, "PATIENCE", timedelta(seconds=1))
    payment = pending(bazaar)
    bazaar.at_paystack(payment, "success")
    locks.hold_run(900)
    assert while_held(bazaar.world, TAKEN, lambda: bazaar.run(CLEANUP)).exit_code == Exit.ITEMS_FAILED
    assert (bazaar.moved(payment).claimed_by, bazaar.sandbox.requests().get("retrieve")) == (900, None)
