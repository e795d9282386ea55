"""What is given back of another payment leaves its subject as it is, of every subject and provider."""

from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders
from jobctl.tables.subscriptions import payments
from tests.bazaar import Bazaar
from tests.payments import PROCESSOR, SETTLER, Market
from tests.subscribers import Club
from tests.world import NOW, World


def given_back(world: World, subject: str, subject_id: int, provider: str, **values: Any) -> None:
    """Add a refund that succeeded, of a payment that its subject doesn't go by, and that is to be settled."""
    given: dict[str, Any] = {"key": "x.refund.1", "kind": "refund", "subject": subject, "attempt": 1}
    given |= {"subject_id": subject_id, "cycle": "again-1", "provider": provider, "account": "test"}
    given |= {"request": {}, "payment_id": "another", "run_id": 1, "created_at": NOW, "status": "succeeded"}
    world.add(money_operations, given | values)


@pytest.mark.parametrize("provider", ["stripe", "yookassa"])
def test_an_order(market: Market, provider: str) -> None:
    market.provider = provider
    order = market.held(market.past_session())
    assert market.run(PROCESSOR).counts == {"captured": 1}
    before, (account, *_) = market.of(orders, order), {each.account for each in market.operations(order)}
    money = {"amount_minor": 4500, "currency": "USD"}
    given_back(market.world, "order", order, provider, account=account, **money)
    assert market.run(SETTLER).exit_code == Exit.DONE
    assert (market.of(orders, order), market.unsettled()) == (before, [])


def test_a_renewal(club: Club) -> None:
    made = club.member()
    club.run("autopayments")
    (account,) = {each.account for each in club.world.rows(money_operations)}
    before = club.world.rows(payments)
    money = {"amount_minor": 50_000, "currency": "RUB"}
    given_back(club.world, "subscription", made, club.provider, account=account, **money)
    assert club.run(SETTLER).counts == {"refunded": 1}
    assert club.world.rows(payments) == before


def test_a_payment_in_escrow(bazaar: Bazaar) -> None:
    payment = bazaar.paid()
    before = bazaar.moved(payment)
    money = {"amount_minor": 10_000, "currency": "NGN"}
    given_back(bazaar.world, "transaction", payment, "paystack", **money)
    assert bazaar.run(SETTLER).counts == {"refunded": 1}
    assert (bazaar.moved(payment), bazaar.world.told()) == (before, [])
