"""When an unpaid session is cancelled, and all that is cancelled, told and released with it."""

from typing import Any

import pytest
from sqlalchemy import update

from jobctl.errors import Exit
from jobctl.tables.sessions import orders, sessions
from tests import postgres
from tests.payments import AUTHORIZER, CANCELLER, SETTLER, Market
from tests.world import NOW, ago, ahead


def failed(market: Market, session: int | None = None, **values: Any) -> int:
    """Add an order whose hold was declined a day ago."""
    given = {"payment_status": "authorization_failed", "payment_failed_at": ago(hours=24)}
    return market.order(session, **{**given, **values})


class TestDue:
    def test_the_session_and_its_orders_are_cancelled_and_both_are_told(self, market: Market) -> None:
        session = market.session()
        parent = failed(market, session)
        extension = market.order(session, parent_order_id=parent)
        assert market.run(CANCELLER).counts == {"cancelled": 1}
        row = market.of(sessions, session)
        assert (row.status, row.cancelled_at, row.cancellation_reason) == ("cancelled", NOW, "unpaid")
        assert [market.of(orders, each).status for each in (parent, extension)] == ["cancelled"] * 2
        assert {each[:3] for each in market.told()} == {
            ("session-cancelled-unpaid", each, channel)
            for each in (row.expert_id, row.consumer_id)
            for channel in ("email", "tray")
        }
        assert {(each.table_name, each.row_id) for each in market.world.trail()} == {
            ("sessions", session),
            ("orders", parent),
            ("orders", extension),
        }

    @pytest.mark.parametrize(
        "fact",
        [
            {"payment_status": "not_started"},
            {"payment_status": "authorized"},
            {"status": "cancelled"},
            {"status": "draft"},
            {"payment_failed_at": ago(hours=23)},
        ],
        ids=str,
    )
    def test_another_order_cancels_nothing(self, market: Market, fact: dict[str, Any]) -> None:
        failed(market, **fact)
        assert market.run(CANCELLER).counts == {}

    def test_one_that_starts_soon_has_less_time(self, market: Market) -> None:
        soon = market.session(starts_at=ahead(minutes=60))
        failed(market, soon, payment_failed_at=ago(minutes=1))
        assert market.run(CANCELLER).counts == {"cancelled": 1}

    def test_a_captured_sibling_forbids_it(self, market: Market) -> None:
        session = market.session()
        parent = failed(market, session)
        market.order(session, parent_order_id=parent, payment_status="captured")
        assert market.run(CANCELLER).counts == {}

    def test_so_does_an_open_operation_on_any_order_of_it(self, market: Market) -> None:
        session = market.session()
        parent = failed(market, session)
        market.order(session, parent_order_id=parent)
        market.sandbox.fault("lost_answer", "authorize")
        assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
        assert market.run(CANCELLER).counts == {}

    def test_a_hold_on_a_sibling_is_released(self, market: Market) -> None:
        session = market.session()
        parent = failed(market, session)
        sibling = market.held(session, parent_order_id=parent)
        assert market.run(CANCELLER).counts == {"cancelled": 1}
        assert market.kinds(sibling)[-1] == ("release", "started")
        market.pass_time(minutes=5)
        assert market.run(SETTLER, since=ahead(minutes=1)).counts == {}
        assert market.run(SETTLER, since=ago(minutes=1)).counts == {"released": 1}
        market.agree()

    def test_a_card_given_in_time_saves_the_session(self, market: Market) -> None:
        order = failed(market)
        market.world.change(orders, order, payment_status="not_started", payment_failed_at=None)
        assert market.run(CANCELLER).counts == {}


@pytest.mark.only("postgresql")
def test_a_session_that_begins_meanwhile_is_not_cancelled(market: Market) -> None:
    """The application has begun to write that it has begun, when the run looks."""
    session = market.session()
    order = failed(market, session)
    with market.world.engine.connect() as application, application.begin():
        application.execute(update(sessions).where(sessions.c.id == session).values(status="in_progress"))
        process = market.world.process(CANCELLER, "--json")
        postgres.await_waiting(str(market.world.settings.database_url), 1)
        application.commit()
        process.communicate(timeout=60)
    assert market.of(sessions, session).status == "in_progress"
    assert market.of(orders, order).status == "complete"


class TestExtensions:
    def test_one_goes_alone(self, market: Market) -> None:
        session = market.session()
        parent = market.held(session)
        extension = failed(market, session, parent_order_id=parent)
        assert market.run(CANCELLER).counts == {"extensions cancelled": 1}
        assert market.of(sessions, session).status == "not_started"
        assert [market.of(orders, each).status for each in (parent, extension)] == ["complete", "cancelled"]
        assert market.told() == set()

    def test_one_agreed_in_the_session_has_its_time_too(self, market: Market) -> None:
        session = market.session(starts_at=ago(minutes=30), status="in_progress")
        parent = market.held(session)
        extension = failed(market, session, parent_order_id=parent, payment_failed_at=ago(hours=23))
        assert market.run(CANCELLER).counts == {}
        market.pass_time(hours=1)
        done = market.run(CANCELLER)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"extensions given up": 1})
        assert market.status(extension) == "capture_failed"


@pytest.mark.parametrize(
    "fact", [{"status": "in_progress"}, {"starts_at": NOW}, {"status": "ended"}], ids=str
)
def test_what_has_begun_is_not_cancelled_but_told_to_a_person(market: Market, fact: dict[str, Any]) -> None:
    session = market.session(**fact)
    order = failed(market, session, payment_failed_at=ago(minutes=1))
    done = market.run(CANCELLER)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"given up": 1})
    assert market.status(order) == "capture_failed"
    assert market.of(sessions, session).status != "cancelled"
    assert [(each.table_name, each.row_id) for each in market.world.errors()] == [("orders", order)]


def test_since_bounds_by_the_failure(market: Market) -> None:
    failed(market, payment_failed_at=ago(days=3))
    new = failed(market, payment_failed_at=ago(days=1))
    assert market.run(CANCELLER, since=ago(days=2)).counts == {"cancelled": 1}
    assert market.of(orders, new).status == "cancelled"


def test_a_dry_run_shows_all_that_follows(market: Market) -> None:
    session = market.session()
    parent = failed(market, session)
    sibling = market.held(session, parent_order_id=parent)
    before = market.world.everything()
    document = market.run(CANCELLER, dry_run=True).document
    assert market.world.everything() == before
    done = market.run(CANCELLER)
    assert {name: document["counts"][name] for name in done.counts} == done.counts
    changed = {(each.table_name, each.row_id) for each in market.world.trail() if each.run_id > 1}
    shown = {(each["table"], each["row_id"]) for each in document["rows"] if each["after"]}
    assert shown == changed == {("sessions", session), ("orders", parent), ("orders", sibling)}
    keys = {each["request"].get("key") for each in document["rows"]} - {None}
    assert keys == {market.operations()[-1].key}
