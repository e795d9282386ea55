"""A hold or charge of which the provider has something else is not asked for anew until a person says so."""

import pytest

from jobctl.errors import Exit
from jobctl.tables.findings import findings
from tests.payments import AUTHORIZER, Market
from tests.subscribers import Club
from tests.world import NOW, World, command

pytestmark = pytest.mark.usefixtures("environment")
CHARGER = "autopayments"


def resolve(world: World, *options: str) -> None:
    """Resolve the only finding, and leave the rows as they are."""
    (found,) = world.rows(findings)
    done = command("findings", "resolve", str(found.id), "--reason", "seen", *options)
    assert done.exit_code == Exit.DONE


@pytest.mark.parametrize("provider", ["stripe", "yookassa"])
def test_an_order_is_not_held_for_twice(market: Market, provider: str) -> None:
    market.provider = provider
    order = market.order()
    market.sandbox.fault("other_amount", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.ITEMS_FAILED
    (hold,) = market.sandbox.ledger()
    resolve(market.world)
    assert market.run(AUTHORIZER, dry_run=True).document["counts"] == {"failed": 1}
    for _ in range(2):
        assert market.run(AUTHORIZER).exit_code == Exit.ITEMS_FAILED
    assert market.sandbox.ledger() == [hold]
    market.sandbox.dashboard.cancel(provider, hold.intent)
    resolve(market.world, "--nothing-there")
    assert market.run(AUTHORIZER).counts == {"held": 1}
    assert market.status(order) == "authorized"
    market.agree()


def test_a_period_is_not_charged_twice(club: Club) -> None:
    made = club.member()
    club.sandbox.fault("other_amount", "charge")
    assert club.run(CHARGER).exit_code == Exit.ITEMS_FAILED
    (charge,) = club.sandbox.ledger()
    resolve(club.world)
    for _ in range(2):
        club.pass_time(hours=2)
        assert club.run(CHARGER).exit_code == Exit.ITEMS_FAILED
    assert club.sandbox.ledger() == [charge]
    club.sandbox.dashboard.refund(club.provider, charge.intent)
    resolve(club.world, "--nothing-there")
    assert club.run(CHARGER).counts == {"renewed": 1}
    assert [each.kind for each in club.sandbox.ledger()] == ["charge", "refund", "charge"]
    assert club.of(made).ended_at > club.now


def test_a_renewal_of_another_hold_is_its_own(market: Market) -> None:
    """Nothing but the same hold is kept back: the next one has another number."""
    first, second = market.order(), market.order()
    market.sandbox.fault("other_amount", "authorize", contains=f"order-{first}.")
    assert market.run(AUTHORIZER).counts["held"] == 1
    resolve(market.world)
    third = market.order()
    assert market.run(AUTHORIZER).counts["held"] == 1
    assert [market.status(each) for each in (first, second, third)] == [
        "not_started",
        "authorized",
        "authorized",
    ]


def test_of_another_finding_it_is_refused(world: World) -> None:
    given = {"kind": "orphan payment", "once_key": "orphan payment.x", "reason": "x", "facts": {}}
    made = world.add(findings, {**given, "found_at": NOW})
    done = command("findings", "resolve", str(made), "--reason", "x", "--nothing-there")
    assert done.exit_code == Exit.USAGE
    assert world.rows(findings)[0].status == "open"
