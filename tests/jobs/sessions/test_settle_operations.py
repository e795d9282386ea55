"""What becomes of operations that a fault left open, by settle-operations and the jobs themselves."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from jobctl.errors import Exit
from jobctl.tables.sessions import orders, sessions
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market

Scene = tuple[list[int], str, str]  # orders, the job that works on them, and the status they end with


def to_authorize(market: Market) -> Scene:
    return [market.order() for _ in range(2)], AUTHORIZER, "authorized"


def to_capture(market: Market) -> Scene:
    return [market.held(market.past_session()) for _ in range(2)], PROCESSOR, "captured"


def to_release(market: Market) -> Scene:
    return [market.held(market.past_session("none_showed")) for _ in range(2)], PROCESSOR, "released"


def to_charge(market: Market) -> Scene:
    return [market.order(market.past_session()) for _ in range(2)], PROCESSOR, "captured"


def to_refund(market: Market) -> Scene:
    """Have sessions cancelled while nobody knows yet whether they were paid."""
    ids, _, end = to_capture(market)
    market.sandbox.fault("lost_answer", "capture", times=2)
    assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME
    for each in ids:
        market.world.change(sessions, market.of(orders, each).session_id, status="cancelled")
    market.pass_time(minutes=5)
    return ids, SETTLER, end


SCENES: dict[str, Callable[[Market], Scene]] = {
    "authorize": to_authorize,
    "capture": to_capture,
    "release": to_release,
    "charge": to_charge,
    "refund": to_refund,
}
# What the first run exits with: whether something is unknown, refused by the account, or only put off.
FAULTS = {
    "dropped": Exit.UNKNOWN_OUTCOME,
    "late": Exit.UNKNOWN_OUTCOME,
    "delay": Exit.UNKNOWN_OUTCOME,
    "lost_answer": Exit.UNKNOWN_OUTCOME,
    "garbage": Exit.UNKNOWN_OUTCOME,
    "empty": Exit.UNKNOWN_OUTCOME,
    "http_409": Exit.UNKNOWN_OUTCOME,
    "http_500_before": Exit.UNKNOWN_OUTCOME,
    "http_500_after": Exit.UNKNOWN_OUTCOME,
    "http_401": Exit.MISCONFIGURED,
    "http_403": Exit.MISCONFIGURED,
    "http_429": Exit.DONE,
}


@pytest.mark.parametrize("call", SCENES)
@pytest.mark.parametrize("fault", FAULTS)
def test_ledger_and_database_agree_after_any_fault(market: Market, fault: str, call: str) -> None:
    """Nothing is held or taken twice, nothing is stuck; the exit code tells while something is unknown."""
    ids, job, end = SCENES[call](market)
    market.sandbox.fault(fault, call, times=99, seconds=600 if fault == "delay" else None)
    market.world.configure(stripe_timeout=timedelta(seconds=0.2 if fault == "delay" else 5))
    assert market.run(job).exit_code == FAULTS[fault]
    market.sandbox.clear_faults()
    market.world.configure(stripe_timeout=timedelta(seconds=5))
    codes = []
    for minutes in (1, 4, 5, 60):
        market.pass_time(minutes=minutes)
        codes += [market.run(SETTLER).exit_code, market.run(job).exit_code]
    assert codes[-2:] == [Exit.DONE, Exit.DONE]
    assert [market.status(each) for each in ids] == [end, end]
    market.agree()


def test_before_its_answer_is_overdue_nobody_asks(market: Market) -> None:
    order = market.order()
    market.sandbox.fault("lost_answer", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    before = market.sandbox.requests()
    market.pass_time(seconds=30)
    assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    assert market.sandbox.requests() == before
    assert market.status(order) == "not_started"
