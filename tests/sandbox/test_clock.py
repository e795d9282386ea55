"""The sandbox's time: real time, set and moved forward."""

from datetime import UTC, datetime, timedelta

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import Client, ok, soon
from tests.world import NOW


def test_it_begins_as_everybodys() -> None:
    with Sandbox() as sandbox:
        assert abs(sandbox.now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_set_it_goes_on_from_there(sandbox: Sandbox) -> None:
    first, second = sandbox.now(), sandbox.now()
    assert NOW <= first <= second < NOW + timedelta(minutes=1)


def test_moved_forward(sandbox: Sandbox) -> None:
    sandbox.advance(3600)
    sandbox.advance(0.5)
    assert timedelta(seconds=3600.5) <= sandbox.now() - NOW < timedelta(seconds=3660)


def test_what_is_created_is_of_its_time(stripe: Client, sandbox: Sandbox) -> None:
    intent = ok(stripe.charge())
    sandbox.advance(3600)
    refund = ok(stripe.refund(intent["id"]))
    assert soon(intent["created"], NOW)
    assert soon(refund["created"], NOW + timedelta(hours=1))
    assert soon(int(sandbox.ledger()[1].at.timestamp()), NOW + timedelta(hours=1))


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_it_only_moves_forward(sandbox: Sandbox, seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        sandbox.advance(seconds)
    assert soon(int(sandbox.now().timestamp()), NOW)
