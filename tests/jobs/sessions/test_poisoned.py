"""Orders that something is wrong with, among many that are sound: none stops another, all are named."""

from collections.abc import Mapping

from jobctl.errors import Exit
from jobctl.tables.sessions import orders
from tests.payments import AUTHORIZER, PROCESSOR, Market
from tests.poisons import CAPTURES, HOLDS, Poison, named, over, spoilt, standing

ORDERS = 40


def only_the_bad_are_named(market: Market, job: str, ways: Mapping[str, Poison], status: str) -> None:
    ids = [each.id for each in market.world.rows(orders)]
    with spoilt(market, ways, ids, 1) as by_way:
        done = market.run(job)
    bad = {each for some in by_way.values() for each in some}
    assert len(bad) == len(ways)
    assert done.exit_code == Exit.ITEMS_FAILED
    assert named(market, done) == bad
    assert set(standing(market, status)) == set(ids) - bad


def test_holds(market: Market) -> None:
    for _ in range(ORDERS):
        market.order()
    only_the_bad_are_named(market, AUTHORIZER, HOLDS, "authorized")


def test_captures(market: Market) -> None:
    for _ in range(ORDERS):
        market.order()
    assert market.run(AUTHORIZER).counts == {"held": ORDERS}
    over(market)
    only_the_bad_are_named(market, PROCESSOR, CAPTURES, "captured")
