"""What is decided by what lies beside a row counts as it is once the row is ours, whoever wrote it meanwhile.

And what is said of rows that somebody else keeps, and of requests that were sent as the database went away.
"""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Table, insert, select, text, update

from jobctl import db
from jobctl.errors import Exit
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import requests, wallet_transactions
from jobctl.tables.sessions import attendees, orders, payment_methods, sessions
from jobctl.tables.subscriptions import payments, subscriptions
from tests.bazaar import Bazaar
from tests.payments import AUTHORIZER, CANCELLER, PROCESSOR, Market
from tests.rival import once_read, while_held
from tests.subscribers import Club
from tests.world import NOW, World, ago

pytestmark = pytest.mark.only("postgresql")
AUTOPAYMENTS, EXPIRER, CLEANUP = "autopayments", "expire-subscriptions", "payment-cleanup"
ANALYZER = "session-attendance-analyzer"


def begun(kind: str, subject: str, subject_id: int) -> dict[str, Any]:
    """Return an operation that is under way."""
    key = {"key": f"x.{kind}.{subject}-{subject_id}.1", "kind": kind, "subject": subject}
    of = {"subject_id": subject_id, "cycle": "hold-1", "attempt": 1, "provider": "stripe", "account": "test"}
    return {**key, **of, "request": {}, "run_id": 1, "created_at": NOW, "status": "started"}


def test_a_subscription_that_is_being_charged_does_not_expire(club: Club) -> None:
    made = club.member(ended_at=ago(days=5), next_charge_at=None)

    def charge(connection: Connection) -> None:
        connection.execute(select(subscriptions).with_for_update())
        connection.execute(insert(money_operations).values(begun("charge", "subscription", made)))

    assert while_held(club.world, charge, lambda: club.run(EXPIRER)).counts == {}
    assert club.of(made).status == "active"


def test_a_session_of_which_an_order_is_being_held_is_not_cancelled(market: Market) -> None:
    session = market.session()
    parent = market.order(session, payment_status="authorization_failed", payment_failed_at=ago(days=2))
    sibling = market.order(session, parent_order_id=parent)
    hold = insert(money_operations).values(begun("authorize", "order", sibling))
    assert once_read(market.world, [hold], lambda: market.run(CANCELLER)).counts == {}
    assert market.of(sessions, session).status == "not_started"


def test_a_hold_that_is_renewed_while_its_session_is_cancelled_is_released_afterwards(market: Market) -> None:
    """Both ask about one order: the session is cancelled all the same, and the hold let go later."""
    session = market.session()
    parent = market.order(session, payment_status="authorization_failed", payment_failed_at=ago(days=2))
    sibling = market.held(session, parent_order_id=parent)

    def renew(connection: Connection) -> None:
        connection.execute(select(orders).where(orders.c.id == sibling).with_for_update())
        connection.execute(insert(money_operations).values(begun("authorize", "order", sibling)))

    done = while_held(market.world, renew, lambda: market.run(CANCELLER))
    assert (done.exit_code, done.counts) == (Exit.DONE, {"cancelled": 1})
    assert market.kinds(sibling) == [("authorize", "succeeded"), ("authorize", "started")]
    renewal = market.operations(sibling)[-1].id
    market.world.change(money_operations, renewal, status="rejected", settled_at=NOW)
    assert market.run(PROCESSOR).counts == {"released": 1}
    market.agree()


def test_a_subscription_of_which_a_charge_begins_does_not_expire(club: Club) -> None:
    made = club.member(ended_at=ago(days=5), next_charge_at=None)
    charge = insert(money_operations).values(begun("charge", "subscription", made))
    assert once_read(club.world, [charge], lambda: club.run(EXPIRER)).counts == {}
    assert club.of(made).status == "active"


def test_a_payment_of_which_a_charge_begins_does_not_expire(club: Club) -> None:
    operation = begun("charge", "subscription", 1)
    made = club.begun(club.buyer(), None, reference=operation["key"], created_at=ago(days=30))
    charge = insert(money_operations).values(operation)
    assert once_read(club.world, [charge], lambda: club.run("expire-payments")).counts == {}
    assert club.paid(made).status == "pending"


@pytest.mark.parametrize("moment", ["before it is free", "once it was read"])
def test_a_request_that_is_being_paid_is_not_declined(bazaar: Bazaar, moment: str) -> None:
    made = bazaar.request()
    row = bazaar.asked(made)
    payment = {"request_id": made, "user_id": row.user_id, "provider": "paystack", "reference": "new"}
    payment |= {"amount_minor": 10_000, "currency": "NGN", "escrow_status": "pending", "created_at": NOW}
    paying = insert(wallet_transactions).values(payment)

    def pay(connection: Connection) -> None:
        connection.execute(select(requests).with_for_update())
        connection.execute(paying)

    if moment == "before it is free":
        done = while_held(bazaar.world, pay, lambda: bazaar.run(CLEANUP))
    else:
        done = once_read(bazaar.world, [paying], lambda: bazaar.run(CLEANUP))
    assert done.counts == {}
    assert bazaar.asked(made).status == "pending"


@pytest.mark.parametrize(("job", "status"), [(AUTHORIZER, "authorized"), (PROCESSOR, "captured")])
def test_an_order_that_gets_a_card_of_its_customers_own_is_not_refused(
    market: Market, job: str, status: str
) -> None:
    order = market.order(market.session() if job == AUTHORIZER else market.past_session())
    market.of_another(order)
    row = market.of(orders, order)
    own = update(payment_methods).where(payment_methods.c.id == row.payment_method_id)
    own = own.values(user_id=row.customer_id)
    once_read(market.world, [own], lambda: market.run(job))
    assert market.status(order) == status


def test_who_comes_while_it_is_looked_who_came_has_come(market: Market) -> None:
    session = market.past_session(None, ended_at=ago(minutes=1))
    row = market.of(sessions, session)
    market.join(session, row.expert_id)

    def join(connection: Connection) -> None:
        connection.execute(select(sessions).with_for_update())
        joined = {"session_id": session, "user_id": row.consumer_id, "joined_at": NOW}
        connection.execute(insert(attendees).values(joined))

    while_held(market.world, join, lambda: market.run(ANALYZER))
    assert market.of(sessions, session).attendance == "all_present"


class TestKept:
    """A row that stays locked is waited for, then named, and stands in for no other."""

    @pytest.fixture(autouse=True)
    def _hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=200))

    def kept(self, world: World, table: Table, row: int, run: Any) -> None:
        with world.engine.connect() as application:
            application.execute(select(table).where(table.c.id == row).with_for_update())
            done = run()
            application.rollback()
        assert (done.exit_code, done.counts["failed"]) == (Exit.ITEMS_FAILED, 1)
        assert world.failed(done) == [row]

    def test_a_subscription(self, club: Club) -> None:
        bad, _ = club.member(), club.member()
        self.kept(club.world, subscriptions, bad, lambda: club.run(AUTOPAYMENTS))
        assert len(club.sandbox.ledger()) == 1
        assert club.run(AUTOPAYMENTS).counts == {"renewed": 1}
        club.agree()

    @pytest.mark.parametrize("provider", ["stripe", "yookassa"])
    @pytest.mark.parametrize("attendance", ["all_present", "none_showed"])
    def test_an_order(self, market: Market, provider: str, attendance: str) -> None:
        market.provider = provider
        bad, _ = (market.held(market.past_session(attendance)) for _ in range(2))
        self.kept(market.world, orders, bad, lambda: market.run(PROCESSOR))
        assert sum(market.run(PROCESSOR).counts.values()) == 1
        market.agree()

    def test_a_payment_in_escrow_that_is_to_be_given_back(self, bazaar: Bazaar) -> None:
        bad, good = (bazaar.transaction(bazaar.request(created_at=ago(days=3))) for _ in range(2))
        owed = {"status": "completed", "escrow_status": "void", "paid_at": ago(days=2)}
        for each in (bad, good):
            bazaar.at_paystack(each, "success")
            bazaar.world.change(wallet_transactions, each, **owed)
        self.kept(bazaar.world, wallet_transactions, bad, lambda: bazaar.run(CLEANUP))
        assert bazaar.run(CLEANUP).counts == {"pending": 1}


def ends_our_session(world: World, table: Table, column: str) -> None:
    ends = "BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END"
    changing = f"BEFORE UPDATE OF {column} ON {table} FOR EACH ROW EXECUTE FUNCTION gone()"
    with world.engine.begin() as connection:
        connection.execute(text(f"CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ {ends} $$"))
        connection.execute(text(f"CREATE TRIGGER gone {changing}"))


class TestGone:
    """What was sent is said, though the database is away by then, and is no second time asked for."""

    @pytest.mark.parametrize("provider", ["stripe", "yookassa"])
    def test_holds(self, market: Market, provider: str) -> None:
        market.provider = provider
        for _ in range(3):
            market.order()
        ends_our_session(market.world, orders, "payment_status")
        done = market.run(AUTHORIZER)
        assert (done.exit_code, done.counts) == (Exit.UNREACHABLE, {"left under way": 3})
        assert len(market.sandbox.ledger()) == 3

    def test_renewals(self, club: Club) -> None:
        for _ in range(3):
            club.member()
        ends_our_session(club.world, payments, "status")
        done = club.run(AUTOPAYMENTS)
        assert (done.exit_code, done.counts) == (Exit.UNREACHABLE, {"left under way": 3})
        assert len(club.sandbox.ledger()) == 3
