"""Who gets a hold, and what becomes of the order when it is placed, declined or not needed any more."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from jobctl.errors import Exit
from jobctl.tables.journal import money_operations
from jobctl.tables.notifications import notifications, users
from jobctl.tables.sessions import orders, payment_methods, sessions
from tests.payments import AUTHORIZER, SETTLER, Market
from tests.rival import once_chosen
from tests.world import NOW, ago, ahead


class TestDue:
    def test_an_order_of_a_coming_session_is_held(self, market: Market) -> None:
        order = market.order()
        assert market.run(AUTHORIZER).counts == {"held": 1}
        row = market.of(orders, order)
        (hold,) = market.sandbox.ledger()
        assert (row.payment_status, row.payment_id, row.holds) == ("authorized", hold.intent, 1)
        assert (hold.amount, hold.currency) == (4500, "usd")
        assert row.hold_ends_at > ahead(days=4)
        market.agree()

    @pytest.mark.parametrize(
        "fact",
        [
            {"status": "draft"},
            {"status": "cancelled"},
            {"payment_status": "captured"},
            {"payment_status": "authorization_failed"},
            {"payment_status": "authorized", "hold_ends_at": ahead(days=5)},
        ],
        ids=str,
    )
    def test_another_order_is_not(self, market: Market, fact: dict[str, Any]) -> None:
        market.order(**fact)
        assert market.run(AUTHORIZER).counts == {}
        assert market.sandbox.requests() == {}

    @pytest.mark.parametrize(
        "fact",
        [
            {"status": "cancelled"},
            {"status": "ended", "ended_at": ago(minutes=1)},
            {"starts_at": ahead(hours=49), "ends_at": ahead(hours=50)},
            {"starts_at": ago(hours=2), "ends_at": NOW},
        ],
        ids=str,
    )
    def test_nor_is_one_of_another_session(self, market: Market, fact: dict[str, Any]) -> None:
        market.order(market.session(**fact))
        assert market.run(AUTHORIZER).counts == {}

    def test_an_extension_is_held_while_the_session_goes_on(self, market: Market) -> None:
        session = market.session(status="in_progress", starts_at=ago(minutes=30), ends_at=ahead(minutes=30))
        market.order(session, parent_order_id=market.held(session))
        assert market.run(AUTHORIZER).counts == {"held": 1}
        market.agree()

    def test_a_hold_that_ends_too_early_is_placed_anew_and_the_old_one_released(self, market: Market) -> None:
        order = market.held(market.session())
        first = market.of(orders, order).payment_id
        market.world.change(orders, order, hold_ends_at=ahead(hours=30))
        assert market.run(AUTHORIZER).counts == {"held anew": 1, "released": 1}
        kinds = [(each.kind, each.intent == first) for each in market.sandbox.ledger()]
        assert kinds == [("hold", True), ("hold", False), ("release", True)]
        assert market.of(orders, order).holds == 2
        market.agree()


class TestAnswers:
    @pytest.mark.parametrize(
        ("card", "code"),
        [
            ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
            ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
            ("pm_card_authenticationRequired", "authentication_required"),
            (None, "no_payment_method"),
        ],
    )
    def test_a_card_that_cannot_be_used(self, market: Market, card: str | None, code: str) -> None:
        order = market.order(card=card)
        done = market.run(AUTHORIZER)
        row = market.of(orders, order)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"declined": 1})
        assert (row.payment_status, row.payment_failure) == ("authorization_failed", code)
        assert row.payment_failed_at >= NOW
        assert {each[:4] for each in market.told()} == {
            ("payment-card-declined", row.customer_id, channel, "transactional")
            for channel in ("email", "tray")
        }
        market.agree()

    def test_a_method_needs_a_customer_where_the_provider_has_customers(self, market: Market) -> None:
        order = market.order()
        market.change_method(market.of(orders, order).payment_method_id, provider_customer="")
        done = market.run(AUTHORIZER)
        assert (done.exit_code, market.sandbox.requests()) == (Exit.ITEMS_FAILED, {})
        assert market.status(order) == "not_started"
        market.change_method(
            market.of(orders, order).payment_method_id, provider="yookassa", provider_method="pm_yk_ok"
        )
        assert market.run(AUTHORIZER).counts == {"held": 1}
        market.agree()

    @pytest.mark.parametrize(
        ("starts_at", "extension", "until"),
        [
            (ahead(days=1, hours=12), False, ahead(days=1)),
            (ahead(hours=20), False, ahead(hours=19)),
            (ahead(hours=20), True, ahead(hours=19)),
            (ahead(minutes=30), False, None),
            (ago(minutes=30), True, None),
        ],
    )
    def test_the_customer_is_told_what_is_true_of_the_time_left(
        self, market: Market, starts_at: datetime, extension: bool, until: datetime | None
    ) -> None:
        session = market.session(
            starts_at=starts_at, status="in_progress" if starts_at < NOW else "not_started"
        )
        market.order(session, card="pm_card_chargeDeclined", parent_order_id=99 if extension else None)
        market.run(AUTHORIZER)
        for each in market.world.rows(notifications):
            told = each.context["until"] and datetime.fromisoformat(each.context["until"])
            assert each.context["part"] == ("extension" if extension else "session")
            assert told is None if until is None else until <= told < until + timedelta(minutes=5)
        assert len(market.world.rows(notifications)) == len(("email", "tray"))

    def test_a_declined_renewal_keeps_the_old_hold_and_rests_for_a_day(self, market: Market) -> None:
        order = market.held(market.session())
        market.world.change(orders, order, hold_ends_at=ahead(hours=30))
        bad = market.card("pm_card_chargeDeclined", of=market.of(orders, order).customer_id)
        market.world.change(orders, order, payment_method_id=bad)
        assert market.run(AUTHORIZER).counts == {"renewal declined": 1}
        assert {each.context["until"] for each in market.world.rows(notifications)} == {None}
        assert market.run(AUTHORIZER).counts == {}
        assert market.status(order) == "authorized"
        market.agree()

    def test_of_a_session_cancelled_meanwhile_the_hold_is_released(self, market: Market) -> None:
        order = market.order()
        market.sandbox.fault("lost_answer", "authorize")
        assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
        market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
        market.pass_time(minutes=5)
        assert market.run(AUTHORIZER).exit_code == Exit.DONE
        assert market.kinds(order) == [("authorize", "succeeded"), ("release", "succeeded")]
        assert market.status(order) == "released"
        market.agree()

    def test_an_unknown_provider_is_the_orders_own_failure(self, market: Market) -> None:
        bad, good = market.order(), market.order()
        method = market.of(orders, bad).payment_method_id
        market.change_method(method, provider="barter")
        done = market.run(AUTHORIZER)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1, "held": 1})
        assert [each.row_id for each in market.world.errors()] == [bad]
        assert market.status(good) == "authorized"

    def test_without_a_key_nothing_is_sent(self, market: Market) -> None:
        market.order()
        market.world.configure(stripe_secret_key=None)
        done = market.run(AUTHORIZER)
        assert (done.exit_code, done.counts) == (Exit.MISCONFIGURED, {"put back": 1})
        assert market.operations() == []


WRONG: dict[str, Callable[[Market, int], None]] = {
    "another's card": Market.of_another,
    "a customer who was deleted": Market.delete_customer,
    "a customer who does not exist": lambda market, order: market.world.change(
        orders, order, customer_id=4711
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
class TestWhoseCard:
    def test_nothing_is_held_and_a_person_is_told_once(
        self, market: Market, wrong: Callable[[Market, int], None]
    ) -> None:
        bad, good = market.order(), market.order()
        wrong(market, bad)
        done = market.run(AUTHORIZER)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"refused": 1, "held": 1})
        row = market.of(orders, bad)
        assert (row.payment_status, row.payment_failure) == ("authorization_failed", "not_the_customers")
        assert [each.row_id for each in market.world.errors()] == [bad]
        assert market.run(AUTHORIZER).counts == {}
        assert market.status(good) == "authorized"
        market.agree()

    def test_a_hold_stays_and_is_not_renewed(
        self, market: Market, wrong: Callable[[Market, int], None]
    ) -> None:
        order = market.held(market.session())
        market.world.change(orders, order, hold_ends_at=ahead(hours=30))
        wrong(market, order)
        done = market.run(AUTHORIZER)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"renewals refused": 1})
        assert (market.run(AUTHORIZER).counts, market.status(order)) == ({}, "authorized")
        market.agree()

    def test_what_was_not_sent_is_not_sent_any_more(
        self, market: Market, wrong: Callable[[Market, int], None]
    ) -> None:
        order = market.order()
        market.run(AUTHORIZER)
        with market.world.engine.begin() as connection:
            never = {"status": "started", "first_sent_at": None, "settled_at": None, "payment_id": None}
            connection.execute(update(money_operations).values(**never))
            before = {"payment_status": "not_started", "holds": 0, "payment_id": None}
            connection.execute(update(orders).values(**before))
        wrong(market, order)
        market.run(SETTLER)
        assert [(each.status, each.code) for each in market.operations()] == [("rejected", "not_wanted")]
        assert len(market.sandbox.ledger()) == 1

    def test_a_hold_that_was_asked_for_before_stands(
        self, market: Market, wrong: Callable[[Market, int], None]
    ) -> None:
        order = market.order()
        market.sandbox.fault("lost_answer", "authorize")
        assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
        wrong(market, order)
        market.pass_time(minutes=5)
        assert market.run(SETTLER).counts == {"held": 1}
        market.agree()


@pytest.mark.parametrize(
    "starts_at", [ahead(days=1, hours=12), ahead(hours=20), ahead(minutes=30), ago(minutes=30)]
)
def test_who_has_anothers_card_is_told_as_one_whose_card_declines(
    market: Market, starts_at: datetime
) -> None:
    def told() -> list[Any]:
        rows = [each for each in market.world.rows(notifications) if each.user_id == consumer]
        return sorted((each.channel, each.category, each.context) for each in rows)

    status = "in_progress" if starts_at < NOW else "not_started"
    session = market.session(starts_at=starts_at, status=status)
    consumer = market.of(sessions, session).consumer_id
    order = market.order(session, card=None)
    market.run(AUTHORIZER)
    without = told()
    market.world.change(orders, order, payment_status="not_started")
    market.world.change(orders, order, payment_method_id=market.card(of=market.world.user()))
    with market.world.engine.begin() as connection:
        connection.execute(delete(notifications))
    market.run(AUTHORIZER)
    assert len(told()) == len(without) == len(("email", "tray"))
    assert [to_the_minute(each) for each in without] == [to_the_minute(each) for each in told()]


def to_the_minute(told: Any) -> Any:
    """Leave out of what was told by how much the one was worked out later than the other."""
    channel, category, context = told
    times = {name: context[name] and context[name][:16] for name in ("starts_at", "until")}
    return channel, category, {**context, **times}


class TestDryRun:
    def test_without_a_key_it_promises_nothing(self, market: Market) -> None:
        market.order()
        market.world.configure(stripe_secret_key=None)
        done = market.run(AUTHORIZER, dry_run=True)
        assert [each["outcome"] for each in done.document["rows"]] == ["put back"]
        assert "STRIPE_SECRET_KEY" in done.document["rows"][0]["request"]["reason"]

    def test_it_shows_the_requests_that_the_run_sends(self, market: Market) -> None:
        first, second = market.order(), market.order(currency="JPY", amount_minor=900)
        before = market.world.everything()
        document = market.run(AUTHORIZER, dry_run=True).document
        assert market.world.everything() == before
        assert market.sandbox.requests() == {}
        assert {(each["kind"], each["currency"], each["amount_minor"]) for each in document["amounts"]} == {
            ("authorize", "USD", 4500),
            ("authorize", "JPY", 900),
        }
        market.run(AUTHORIZER)
        sent = {each.subject_id: (each.key, each.request["fields"]) for each in market.operations()}
        assert set(sent) == {first, second}
        assert sent == {
            each["row_id"]: (
                each["request"]["key"],
                [list(pair) for pair in each["request"]["fields"].items()],
            )
            for each in document["rows"]
        }


@pytest.mark.only("postgresql")
@pytest.mark.parametrize("what", ["customer", "card"])
def test_what_a_rival_changes_while_rows_are_chosen_counts(market: Market, what: str) -> None:
    order = market.order()
    row, other = market.of(orders, order), market.world.user()
    changes = {
        "customer": update(users).where(users.c.id == row.customer_id).values(deleted_at=NOW),
        "card": update(payment_methods)
        .where(payment_methods.c.id == row.payment_method_id)
        .values(user_id=other),
    }
    with once_chosen(market.world, changes[what], f"FOR UPDATE OF {orders} SKIP LOCKED"):
        assert market.run(AUTHORIZER).counts == {}
    assert (market.operations(), market.sandbox.ledger()) == ([], [])
