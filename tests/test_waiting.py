"""Money that waits too long is told by `jobctl health`, kind by kind; what waits less is in order."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import requests, wallet_transactions
from jobctl.tables.sessions import orders, sessions
from jobctl.tables.subscriptions import payments, plans
from tests.world import World, command

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(autouse=True)
def _only_money(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the rows of jobs alone, which `health` judges by their schedules."""
    monkeypatch.setenv("HEALTH_WAITING", "session-attendance-analyzer=1y,payment-cleanup=1y")


Make = Callable[[World, datetime], int]


def a_session(world: World, over: datetime, **values: Any) -> int:
    times = {"starts_at": over - timedelta(hours=1), "ends_at": over, "created_at": over}
    return world.add(sessions, {"expert_id": 1, "consumer_id": 2, **times, **values})


def a_hold(world: World, over: datetime, **values: Any) -> int:
    session = a_session(world, over, attendance="all_present", status="ended")
    money = {"amount_minor": 4500, "currency": "USD", "status": "complete", "payment_status": "authorized"}
    return world.add(orders, {"session_id": session, "customer_id": 2, "created_at": over, **money, **values})


def escrow(world: World, since: datetime, **request: Any) -> int:
    money = {"amount_minor": 10_000, "currency": "NGN", "created_at": since}
    asked = world.add(requests, {"user_id": 1, "creator_id": 2, **money, "paid_at": since, **request})
    paid = {"status": "completed", "escrow_status": "pending", "paid_at": since}
    return world.add(
        wallet_transactions, {"request_id": asked, "user_id": 1, "provider": "paystack", **money, **paid}
    )


def completed(world: World, since: datetime, **values: Any) -> int:
    return escrow(world, since, status="completed", completed_at=since, **values)


def declined(world: World, since: datetime) -> int:
    return escrow(world, since, status="declined", declined_at=since)


def in_progress(world: World, since: datetime) -> int:
    return escrow(world, since, status="in_progress")


def disputed(world: World, since: datetime) -> int:
    return completed(world, since, dispute="open")


def unverified(world: World, since: datetime) -> int:
    made = escrow(world, since, status="pending", paid_at=None)
    world.change(wallet_transactions, made, status="pending", paid_at=None)
    return made


def a_payment(world: World, since: datetime, **values: Any) -> int:
    plan = world.add(plans, {"name": "Gold", "unit": "month", "created_at": since})
    given = {"user_id": 1, "plan_id": plan, "provider": "stripe", "amount_minor": 1, "currency": "USD"}
    return world.add(payments, {**given, "created_at": since, **values})


def an_operation(world: World, since: datetime, **values: Any) -> int:
    given = {"key": "x.charge.order-1.hold-1.1", "kind": "charge", "subject": "order", "subject_id": 1}
    given |= {"cycle": "hold-1", "attempt": 1, "provider": "stripe", "account": "test", "request": {}}
    return world.add(money_operations, {**given, "run_id": 1, "created_at": since, **values})


def a_finding(world: World, since: datetime, **values: Any) -> int:
    given = {"kind": "payment mismatch", "once_key": "x", "reason": "no", "facts": {}, "found_at": since}
    return world.add(findings, {**given, "subject": "order", "subject_id": 1, **values})


def age(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def said() -> list[str]:
    done = command("health", "--json")
    found = [each["said"] for each in done.document["checks"] if each["check"] == "waiting"]
    assert done.exit_code == (Exit.UNEXPECTED if found else Exit.DONE)
    return found


KINDS = [
    (a_hold, 2),
    (a_session, 1),
    (completed, 2),
    (declined, 1),
    (in_progress, 30),
    (disputed, 30),
    (unverified, 5),
    (a_payment, 9),
    (an_operation, 1),
    (a_finding, 2),
]


@pytest.mark.parametrize(("make", "days"), KINDS, ids=lambda each: getattr(each, "__name__", str(each)))
def test_what_waits_too_long_is_told_with_its_number(world: World, make: Make, days: int) -> None:
    make(world, age(days - 0.01))
    assert said() == []
    late = make_another(world, make, age(days + 0.01))
    (told,) = said()
    assert told.startswith("1 ")
    assert f" {late} (since {age(days + 0.01):%Y-%m-%d})" in told
    assert command("health", "wallet-creation", "--json").document["checks"][-1]["check"] == "job"


def make_another(world: World, make: Make, since: datetime) -> int:
    if make is an_operation:
        return an_operation(world, since, key="x.charge.order-2.hold-1.1", subject_id=2)
    return a_finding(world, since, once_key="y") if make is a_finding else make(world, since)


@pytest.mark.parametrize(
    "make",
    [
        lambda world: a_hold(world, age(99), payment_status="captured"),
        lambda world: a_session(world, age(99), status="cancelled"),
        lambda world: a_payment(world, age(99), status="expired"),
        lambda world: an_operation(world, age(99), status="succeeded", settled_at=age(98)),
        lambda world: a_finding(world, age(99), status="resolved", resolved_at=age(98)),
        lambda world: a_finding(world, age(99), subject=None, subject_id=None),
    ],
)
def test_what_is_decided_does_not_wait(world: World, make: Callable[[World], int]) -> None:
    make(world)
    assert said() == []


def test_of_many_the_oldest_are_named(world: World) -> None:
    made = [a_session(world, age(days)) for days in (5, 9, 7, 6, 8)]
    (told,) = said()
    assert told.startswith("5 ")
    assert " ".join(str(made[n]) for n in (1, 4, 2)) + " …" in told
