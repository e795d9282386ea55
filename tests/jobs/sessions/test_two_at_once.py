"""Two runs at once, of which one settles what the other one has asked about, or finds nothing to do."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.tables.journal import money_operations
from tests.jobs.sessions.test_rules import BOTH, FAR, asked
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.sandbox.client import until
from tests.world import NOW, Done


def meanwhile(market: Market, job: str, call: str, change: Callable[[], object], **options: Any) -> Done:
    """Run a job, and do something while its request is under way, to which the answer comes then."""
    market.world.configure(stripe_timeout=timedelta(minutes=1), yookassa_timeout=timedelta(minutes=1))
    market.sandbox.fault("delay", call, seconds=600)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(market.run, job, share=True, **options)
        until(lambda: not [each for each in market.sandbox.faults() if each["kind"] == "delay"])
        change()
        market.sandbox.wake()
        return done.result(60)


@BOTH
def test_each_operation_is_asked_about_once(market: Market, provider: str) -> None:
    """While one run looks what became of it, another one leaves it alone, and claimed, and does the rest."""
    market.provider = provider
    first, second = (market.order(market.session(**FAR)) for _ in range(2))
    market.sandbox.fault("lost_answer", "authorize", times=2)
    market.run(AUTHORIZER)
    market.pass_time(hours=25)

    def too() -> None:
        claim = market.operations(first)[0].claimed_by
        assert market.run(SETTLER, share=True).counts == {"held": 1}
        assert market.run(AUTHORIZER, share=True).counts == {}
        assert (market.operations(first)[0].claimed_by, market.status(second)) == (claim, "authorized")

    assert meanwhile(market, SETTLER, "list", too, limit=1).counts == {"held": 1}
    assert asked(market, "list") == 2
    market.agree()


@pytest.mark.parametrize("late", ["unknown", "pending"])
def test_an_answer_that_tells_nothing_changes_nothing_of_what_is_known_by_then(
    market: Market, late: str
) -> None:
    """Another run has settled it meanwhile: neither its reason nor its number is written over."""
    market.provider = "yookassa"
    card = "pm_yk_pending_succeeds" if late == "pending" else "pm_card_visa"
    order = market.order(market.past_session(), card)
    known = {"status": "succeeded", "payment_id": "p-1", "settled_at": NOW, "answer_by": None}

    def settle() -> None:
        (operation,) = market.operations(order)
        market.world.change(money_operations, operation.id, **known, claimed_by=None)

    if late == "unknown":
        market.sandbox.fault("lost_answer", "charge")
    done = meanwhile(market, PROCESSOR, "charge", settle)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"known already": 1})
    (operation,) = market.operations(order)
    told = {name: getattr(operation, name) for name in (*known, "reason", "asked", "claimed_by")}
    assert told == known | {"reason": None, "asked": 0, "claimed_by": None}
