"""What holds of every money operation on its way back, by orders at both providers that take cards.

From the journal to the provider and again: not sent, sent again, not wanted any more, followed by another.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.providers.switchboard import key_lives
from jobctl.tables.findings import findings
from jobctl.tables.frame import installation as installations
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders, sessions
from tests.payments import AUTHORIZER, CANCELLER, PROCESSOR, SETTLER, Market
from tests.servers import HookServer, Reply
from tests.world import NOW, ago, ahead

BOTH = pytest.mark.parametrize("provider", ["stripe", "yookassa"])
FAR = {"starts_at": ahead(hours=40), "ends_at": ahead(hours=41)}


def asked(market: Market, call: str) -> int:
    return int(market.sandbox.requests().get(call, {"requests": 0})["requests"])


def charged_late(market: Market) -> int:
    """Add an order without a hold, of a session that took place."""
    return market.order(market.past_session())


BEGUN: dict[str, tuple[str, Callable[[Market], int]]] = {
    "authorize": (AUTHORIZER, lambda market: market.order()),
    "charge": (PROCESSOR, charged_late),
}
CALLS = pytest.mark.parametrize("call", BEGUN)


class TestSentAgain:
    @BOTH
    def test_the_first_sending_stays_and_after_the_life_of_its_key_it_is_only_looked_up(
        self, market: Market, provider: str
    ) -> None:
        """However often it was sent in between: the provider counts from when it first saw the key."""
        market.provider = provider
        order = market.order(market.session(**FAR))
        market.sandbox.fault("lost_answer", "authorize", times=99)
        assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
        (first,) = market.operations(order)
        for times in (2, 3, 4):
            market.pass_time(hours=7)
            market.run(SETTLER)
            (operation,) = market.operations(order)
            assert (operation.first_sent_at, asked(market, "authorize")) == (first.first_sent_at, times)
        end = first.first_sent_at + key_lives(provider)
        market.pass_time(seconds=(end - market.now).total_seconds())
        assert market.run(SETTLER).counts == {"held": 1}
        assert asked(market, "authorize") == 4
        market.agree()

    @BOTH
    @CALLS
    def test_what_has_an_unknown_outcome_and_nobody_wants_is_looked_up_and_never_sent(
        self, market: Market, provider: str, call: str
    ) -> None:
        market.provider = provider
        job, add = BEGUN[call]
        order = add(market)
        market.sandbox.fault("dropped", call)
        assert market.run(job).exit_code == Exit.UNKNOWN_OUTCOME
        market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
        for _ in range(3):
            market.pass_time(minutes=10)
            market.run(SETTLER)
        assert (asked(market, call), market.sandbox.ledger()) == (1, [])
        (operation,) = market.operations(order)
        assert (operation.status, operation.code) == ("rejected", "no_effect")


def journalled(market: Market, call: str) -> int:
    """Leave a request in the journal that was not sent, as a run does that has to stop before it."""
    job, add = BEGUN[call]
    order = add(market)
    market.sandbox.fault("http_429", call, seconds=3600)
    market.run(job)
    market.sandbox.clear_faults()
    (operation,) = market.operations(order)
    unsent: dict[str, Any] = dict.fromkeys(("first_sent_at", "answer_by", "settled_at", "code", "reason"))
    market.world.change(money_operations, operation.id, status="started", concluded_at=None, **unsent)
    return order


def cancel_session(market: Market, order: int) -> None:
    market.world.change(sessions, market.of(orders, order).session_id, status="cancelled", cancelled_at=NOW)


def cancel_order(market: Market, order: int) -> None:
    market.world.change(orders, order, status="cancelled", cancelled_at=NOW)


def go_on_to_the_next_hold(market: Market, order: int) -> None:
    market.world.change(orders, order, holds=1)


def take_the_card(market: Market, order: int) -> None:
    market.of_another(order)


def delete_the_customer(market: Market, order: int) -> None:
    market.delete_customer(order)


CHANGES = (cancel_session, cancel_order, go_on_to_the_next_hold, take_the_card, delete_the_customer)


class TestNotSentYet:
    @BOTH
    @CALLS
    def test_what_was_journalled_is_sent_by_the_next_run(
        self, market: Market, provider: str, call: str
    ) -> None:
        market.provider = provider
        order = journalled(market, call)
        market.pass_time(minutes=5)
        market.run(SETTLER)
        assert asked(market, call) == 2
        (operation,) = market.operations(order)
        assert (operation.status, operation.first_sent_at >= market.now) == ("succeeded", True)

    @CALLS
    @pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__)
    def test_it_is_never_sent_once_nobody_wants_it(self, market: Market, call: str, change: Any) -> None:
        """Its order or session is cancelled, another hold came before it, or it would be another's card."""
        order = journalled(market, call)
        change(market, order)
        for _ in range(3):
            market.pass_time(minutes=10)
            market.run(SETTLER)
        (operation,) = market.operations(order)
        assert (operation.status, operation.code, asked(market, call)) == ("rejected", "not_wanted", 1)
        assert market.sandbox.ledger() == []


def open_and_absent(market: Market) -> int:
    """Have a hold that seemed absent and is there, and a second one, of which nobody knows; both unwanted."""
    market.sandbox.conditions("stripe", lag=7200)
    order = market.order(market.session(**FAR))
    market.sandbox.fault("http_500_after", "authorize")
    market.run(AUTHORIZER)
    for _ in range(2):
        market.pass_time(minutes=6)
        market.run(SETTLER)
    assert market.kinds(order) == [("authorize", "rejected")]
    market.sandbox.fault("lost_answer", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    cancel_session(market, order)
    market.sandbox.conditions("stripe", lag=0)
    market.pass_time(hours=1)
    return order


def test_what_undoes_a_payment_waits_for_what_is_open_and_is_journalled_in_the_end(market: Market) -> None:
    """One operation of a subject is open at a time; a release or refund that must follow is not lost."""
    order = open_and_absent(market)
    first, _ = market.operations(order)
    done = market.run(SETTLER, only=first.id)
    assert (done.exit_code, done.counts) == (Exit.UNKNOWN_OUTCOME, {"failed": 1})
    assert [each.kind for each in market.operations(order)] == ["authorize", "authorize"]
    for _ in range(3):
        market.pass_time(minutes=5)
        market.run(SETTLER)
    assert [each.kind for each in market.sandbox.ledger()] == ["hold", "hold", "release", "release"]
    market.agree()


def test_nobody_asks_before_the_instant_until_which_an_answer_may_come(market: Market) -> None:
    order = market.order()
    market.sandbox.fault("lost_answer", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    (operation,) = market.operations(order)
    market.pass_time(minutes=10)
    market.world.change(money_operations, operation.id, answer_by=market.now + timedelta(microseconds=1))
    assert (market.run(SETTLER).counts, asked(market, "authorize")) == ({}, 1)
    market.world.change(money_operations, operation.id, answer_by=market.now)
    assert market.run(SETTLER).counts == {"held": 1}


@CALLS
def test_what_was_journalled_is_not_sent_while_a_person_decides(market: Market, call: str) -> None:
    order = journalled(market, call)
    waits = {"subject": "order", "subject_id": order, "kind": "money mismatch", "once_key": "mismatch.1"}
    found = market.world.add(findings, waits | {"reason": "45.00 or 10.00", "facts": {}, "found_at": NOW})
    for _ in range(2):
        market.pass_time(minutes=10)
        market.run(SETTLER)
    assert asked(market, call) == 1
    market.world.change(findings, found, status="resolved", resolved_at=market.now, resolution="45.00")
    market.run(SETTLER)
    assert asked(market, call) == 2


def extended(market: Market, **values: Any) -> tuple[int, int]:
    """Add an order that could not be paid in time, with one of an extension."""
    session = market.session()
    failed: dict[str, Any] = {"payment_status": "authorization_failed"}
    parent = market.order(session, **failed, payment_failed_at=NOW - timedelta(days=2))
    return parent, market.order(session, parent_order_id=parent, **values)


def test_neighbours_whose_status_forbids_the_change_are_left_as_they_are(market: Market) -> None:
    """The whole row, and nothing is told of them: one that was cancelled earlier keeps the time of that."""
    _, extension = extended(market, status="cancelled", cancelled_at=NOW - timedelta(days=3))
    before = market.of(orders, extension)
    assert market.run(CANCELLER).counts == {"cancelled": 1}
    assert market.of(orders, extension) == before
    assert extension not in {each.row_id for each in market.world.trail() if each.table_name == "orders"}


@pytest.mark.parametrize("changed", [{"payment_id": None, "holds": 0}, {"payment_id": None}, {}], ids=str)
def test_an_order_that_is_set_back_by_hand_is_not_charged_again(
    market: Market, changed: dict[str, Any]
) -> None:
    """What was taken for it and not given back is known by the journal, whatever its row says."""
    order = market.held(market.past_session())
    assert market.run(PROCESSOR).counts == {"captured": 1}
    market.world.change(orders, order, payment_status="not_started", **changed)
    ledger = market.sandbox.ledger()
    (shown,) = market.run(PROCESSOR, dry_run=True).document["rows"]
    done = market.run(PROCESSOR)
    assert (shown["outcome"], done.exit_code, done.counts) == ("failed", Exit.ITEMS_FAILED, {"failed": 1})
    assert market.sandbox.ledger() == ledger
    assert "operations list --subject" in market.world.errors()[0].error


def test_an_order_that_is_held_anew_after_it_was_paid_is_neither(market: Market) -> None:
    order = market.held(market.past_session())
    market.run(PROCESSOR)
    session = market.of(orders, order).session_id
    market.world.change(sessions, session, **FAR, status="not_started", attendance=None, ended_at=None)
    market.world.change(orders, order, payment_status="not_started", payment_id=None)
    ledger = market.sandbox.ledger()
    done = market.run(AUTHORIZER)
    assert (done.exit_code, done.counts, market.sandbox.ledger()) == (
        Exit.ITEMS_FAILED,
        {"failed": 1},
        ledger,
    )


def test_what_is_charged_instead_of_a_hold_that_ended_is_what_was_held(market: Market) -> None:
    order = market.held(market.past_session())
    amount = market.of(orders, order).amount_minor
    market.world.change(orders, order, amount_minor=99_900, hold_ends_at=ago(hours=1))
    ledger = market.sandbox.ledger()
    done = market.run(PROCESSOR)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1})
    assert market.sandbox.ledger() == ledger
    market.world.change(orders, order, amount_minor=amount)
    assert market.run(PROCESSOR).counts["captured"] == 1


@pytest.mark.parametrize("told", [10, int(NOW.timestamp()) - 5, int(NOW.timestamp()) + 60, True])
def test_a_hold_that_is_told_to_end_at_once_is_not_placed_again_and_again(market: Market, told: Any) -> None:
    order = market.order(market.session(**FAR))
    row = market.of(orders, order)
    (installation,) = market.world.rows(installations)
    key = f"{installation.id}.authorize.order-{order}.hold-1.1"
    card = {"card": {"capture_before": told}}
    held = {"id": "pi_1", "status": "requires_capture", "currency": row.currency.lower(), "livemode": False}
    held |= {
        "amount": row.amount_minor,
        "amount_capturable": row.amount_minor,
        "metadata": {"jobctl_key": key},
    }
    held |= {"latest_charge": {"payment_method_details": card}}
    with HookServer() as server:
        server.default = Reply(200, {"Content-Type": "application/json"}, json.dumps(held).encode())
        market.world.configure(stripe_api_base=server.url)
        assert market.run(AUTHORIZER).counts == {"held": 1}
        asked = len(server.requests)
        for _ in range(3):
            market.pass_time(hours=1)
            assert market.run(AUTHORIZER).counts == {}
        assert len(server.requests) == asked
    assert market.of(orders, order).hold_ends_at is None
