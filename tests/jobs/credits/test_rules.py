"""Credits that are spent while they expire, and people who are deleted while they are told of them."""

import pytest
from sqlalchemy import update

from jobctl.errors import Exit
from jobctl.tables.credits import credit_balances, credit_transactions
from jobctl.tables.notifications import users
from tests.credits import Office
from tests.rival import once_read, while_held
from tests.world import NOW, ago, ahead

pytestmark = pytest.mark.only("postgresql")
EXPIRY, WARNING, RESET = "credit-expiry", "credit-expiry-warning", "monthly-credits-reset"


@pytest.mark.parametrize("moment", ["before the balance is free", "once the balance was read"])
def test_what_is_spent_while_it_expires_is_neither_taken_twice_nor_left(office: Office, moment: str) -> None:
    """Also where the balance would be large enough for the lot as it was."""
    pro = office.professional()
    lot, _ = office.lot(pro, 40, ago(days=1)), office.lot(pro, 60)
    spend = update(credit_balances).values(paid_credits=70)
    left = update(credit_transactions).where(credit_transactions.c.id == lot).values(remaining_amount=10)
    if moment == "once the balance was read":
        done = once_read(office.world, [spend, left], lambda: office.run(EXPIRY))
    else:
        done = while_held(office.world, spend, lambda: office.run(EXPIRY), more=left)
    expired = {"expired_transactions": 1, "total_expired": 10, "professionals": 1}
    assert (done.exit_code, done.counts) == (Exit.DONE, expired)
    (expiry,) = office.transactions("expiry")
    assert (expiry.lot_id, expiry.amount, expiry.paid_before, expiry.paid_after) == (lot, -10, 70, 60)
    assert (office.has(pro), office.left(lot)) == ((0, 60), 0)


def test_who_is_deleted_while_they_are_warned_is_not(office: Office) -> None:
    pro = office.professional()
    office.lot(pro, 40, ahead(days=1))
    gone = update(users).values(deleted_at=NOW)
    assert while_held(office.world, gone, lambda: office.run(WARNING)).counts == {}
    assert office.told("credits-expiring") == []


def test_who_is_deleted_before_their_first_credits_gets_none(office: Office) -> None:
    office.professional(balance=None)
    gone = update(users).values(deleted_at=NOW)
    assert while_held(office.world, gone, lambda: office.run(RESET)).counts == {}
    assert office.world.rows(credit_balances) == []
