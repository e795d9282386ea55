"""An amount that the application changes while money moves is told by an invariant, of every subject."""

from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.tables.marketplace import wallet_transactions
from jobctl.tables.sessions import orders
from jobctl.tables.subscriptions import payments
from tests.bazaar import Bazaar
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.subscribers import Club
from tests.world import ago, command

pytestmark = pytest.mark.usefixtures("environment")
BOTH = pytest.mark.parametrize("provider", ["stripe", "yookassa"])
SCENES: dict[str, Any] = {
    "authorize": (AUTHORIZER, lambda market: market.order()),
    "capture": (PROCESSOR, lambda market: market.held(market.past_session())),
    "charge": (PROCESSOR, lambda market: market.order(market.past_session())),
}


def broken() -> dict[str, list[int]]:
    done = command("invariants", "--json")
    rules = done.document["rules"]
    assert done.exit_code == (
        Exit.INVARIANT_BROKEN if any(not each["holds"] for each in rules) else Exit.DONE
    )
    return {each["name"]: [row["id"] for row in each["rows"]] for each in rules if not each["holds"]}


@BOTH
@pytest.mark.parametrize("call", SCENES)
@pytest.mark.parametrize("wrong", [{"amount_minor": 4000}, {"currency": "EUR"}], ids=str)
def test_an_order(market: Market, provider: str, call: str, wrong: dict[str, Any]) -> None:
    market.provider = provider
    job, add = SCENES[call]
    order = add(market)
    market.sandbox.fault("lost_answer", call)
    assert market.run(job).exit_code == Exit.UNKNOWN_OUTCOME
    market.world.change(orders, order, **wrong)
    market.pass_time(minutes=5)
    market.run(SETTLER)
    assert broken()["orders-are-of-what-was-taken"] == [order]


def test_a_renewal(club: Club) -> None:
    made = club.member()
    club.sandbox.fault("lost_answer", "charge")
    assert club.run("autopayments").exit_code == Exit.UNKNOWN_OUTCOME
    (payment,) = club.renewals(made)
    club.world.change(payments, payment.id, amount_minor=40_000)
    club.pass_time(minutes=5)
    club.run(SETTLER)
    assert broken()["payments-are-of-what-was-charged"] == [payment.id]


def test_a_refund_of_escrow(bazaar: Bazaar) -> None:
    payment = bazaar.transaction(bazaar.request(created_at=ago(days=3)))
    bazaar.at_paystack(payment, "success")
    owed = {"status": "completed", "escrow_status": "void", "paid_at": ago(days=2)}
    bazaar.world.change(wallet_transactions, payment, **owed)
    bazaar.sandbox.fault("lost_answer", "refund")
    assert bazaar.run("payment-cleanup").exit_code == Exit.UNKNOWN_OUTCOME
    bazaar.world.change(wallet_transactions, payment, amount_minor=9_000)
    for _ in range(3):
        bazaar.pass_time(minutes=10)
        bazaar.run(SETTLER)
    assert bazaar.moved(payment).escrow_status == "refunded"
    assert "refunds-are-of-what-was-paid" in broken()
