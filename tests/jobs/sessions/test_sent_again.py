"""A request of unknown outcome that was sent again: its last answer says how to go on."""

import pytest

from jobctl.errors import Exit
from tests.payments import AUTHORIZER, SETTLER, Market


@pytest.mark.parametrize("then", ["http_500_before", "key_known"])
def test_what_the_key_says_for_ever_is_asked_for_once(market: Market, then: str) -> None:
    """A stored server error, or a key that is known for something else, is repeated until the key ends."""
    order = market.order()
    market.sandbox.fault("dropped", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    market.pass_time(minutes=5)
    market.sandbox.fault(then, "authorize")
    assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
    sent = market.sandbox.requests()["authorize"]["requests"]
    for _ in range(4):
        market.pass_time(hours=2)
        done = market.run(SETTLER)
    assert market.sandbox.requests()["authorize"]["requests"] == sent
    assert (done.exit_code, market.unsettled()) == (Exit.DONE, [])
    assert market.run(AUTHORIZER).counts == {"held": 1}
    assert market.status(order) == "authorized"
    market.agree()
