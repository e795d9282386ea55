"""Who gets the free credits of a month, how many, and how often."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import ColumnElement, insert, update
from sqlalchemy.exc import IntegrityError

from jobctl import db
from jobctl.errors import Exit, UsageError
from jobctl.tables.credits import credit_balances, credit_transactions, professionals
from jobctl.tables.notifications import notifications
from tests import postgres
from tests.credits import Office
from tests.world import NOW, ago

JOB = "monthly-credits-reset"
MARCH = "2026-03"


def moves(office: Office, professional: int) -> list[tuple[Any, ...]]:
    return [
        (e.period, e.amount, e.free_before, e.free_after, e.paid_before, e.paid_after)
        for e in office.transactions("monthly_reset", professional)
    ]


class TestAmounts:
    @pytest.mark.parametrize(("free", "adjustment"), [(30, 70), (120, -20), (0, 100), (100, 0)])
    def test_free_credits_become_the_months(self, office: Office, free: int, adjustment: int) -> None:
        pro = office.professional(balance=(free, 55))
        done = office.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"reset": 1})
        assert office.has(pro) == (100, 55)
        assert office.balance(pro).last_reset_at == NOW
        assert moves(office, pro) == [(MARCH, adjustment, free, 100, 55, 55)]

    def test_without_a_balance_there_is_one_afterwards(self, office: Office) -> None:
        pro = office.professional(balance=None)
        assert office.run(JOB).counts == {"reset": 1}
        assert (office.has(pro), moves(office, pro)) == ((100, 0), [(MARCH, 100, 0, 100, 0, 0)])
        assert office.balance(pro).last_reset_at == NOW
        office.agree()

    def test_the_number_is_a_setting(self, office: Office) -> None:
        office.world.configure(monthly_free_credits=0)
        some, none = office.professional(balance=(7, 7)), office.professional(balance=None)
        office.run(JOB)
        assert (office.has(some), office.has(none)) == ((0, 7), (0, 0))

    def test_paid_lots_are_left_alone(self, office: Office) -> None:
        pro = office.professional(balance=(0, 0))
        lot = office.lot(pro, 40, ago(days=1))
        office.run(JOB)
        assert (office.left(lot), office.has(pro)) == (40, (100, 40))
        office.agree()


class TestWho:
    @pytest.mark.parametrize(
        ("status", "gets"),
        [("basic", 1), ("comprehensive", 1), ("none", 0), ("pending", 0), ("rejected", 0)],
    )
    @pytest.mark.parametrize("balance", [(3, 0), None], ids=["with", "without"])
    def test_verified_ones(
        self, office: Office, status: str, gets: int, balance: tuple[int, int] | None
    ) -> None:
        office.professional(status, balance)
        assert office.run(JOB).counts.get("reset", 0) == gets

    @pytest.mark.parametrize("balance", [(3, 0), None], ids=["with", "without"])
    def test_not_those_who_are_gone(self, office: Office, balance: tuple[int, int] | None) -> None:
        office.professional(balance=balance, deleted_at=ago(days=1))
        assert office.run(JOB).counts == {}

    def test_they_are_told_once_unless_they_do_not_want_to_hear_it(self, office: Office) -> None:
        reader, deaf = office.professional(), office.professional(balance=None)
        office.world.opt_out(office.world.rows(credit_balances)[0].professional_id, "tray", "other")
        office.world.opt_out(2, "tray", "credits")
        office.run(JOB)
        (told,) = office.told("credits-reset")
        assert (told.user_id, told.category, told.context) == (1, "credits", {"free_credits": 100})
        assert {reader, deaf} == {1, 2}


class TestOnce:
    def test_a_rerun_does_nothing(self, office: Office) -> None:
        pro = office.professional()
        office.run(JOB)
        spent(office, pro, 60)
        assert office.run(JOB).counts == {}
        assert office.has(pro) == (40, 0)
        assert len(office.told("credits-reset")) == 1

    def test_next_month_it_is_done_again(self, office: Office) -> None:
        pro = office.professional()
        office.run(JOB)
        spent(office, pro, 60)
        office.now = datetime(2026, 4, 1, 0, 1, tzinfo=UTC)
        assert office.run(JOB).counts == {"reset": 1}
        assert [each[:2] for each in moves(office, pro)] == [(MARCH, 100), ("2026-04", 60)]
        office.agree()

    @pytest.mark.parametrize(
        ("now", "of"),
        [
            (datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), "2026-02"),
            (datetime(2026, 3, 1, tzinfo=UTC), "2026-03"),
            (datetime(2024, 2, 29, 12, tzinfo=UTC), "2024-02"),
            (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2026-12"),
        ],
        ids=str,
    )
    def test_the_month_is_that_of_utc(self, office: Office, now: datetime, of: str) -> None:
        pro, office.now = office.professional(), now
        office.run(JOB)
        assert [each[0] for each in moves(office, pro)] == [of]

    def test_the_database_takes_no_second_one(self, office: Office) -> None:
        pro = office.professional()
        office.run(JOB)
        row = office.transactions("monthly_reset", pro)[0]._asdict()
        with pytest.raises(IntegrityError), office.world.engine.begin() as connection:
            connection.execute(insert(credit_transactions).values({**row, "id": 99}))

    def test_one_that_the_database_refuses_stops_no_other(self, office: Office) -> None:
        """And a rerun finishes it once it can be done."""
        good = [office.professional() for _ in range(3)]
        bad = office.professional()
        office.world.refuse(credit_transactions, "professional_id", bad)
        done = office.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"reset": 3, "failed": 1})
        assert [office.has(each) for each in (*good, bad)] == [(100, 0)] * 3 + [(0, 0)]
        office.world.allow(credit_transactions)
        assert office.run(JOB).counts == {"reset": 1}
        office.agree()


class TestByOthers:
    """A reset in the month counts, whatever did it and wrote down no transaction."""

    @pytest.mark.parametrize(
        ("last", "counts"),
        [
            (ago(hours=1), {}),
            (datetime(2026, 3, 1, tzinfo=UTC), {}),
            (datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC), {"reset": 1}),
            (None, {"reset": 1}),
        ],
        ids=str,
    )
    def test_one_in_this_month_is_not_done_again(
        self, office: Office, last: datetime | None, counts: dict[str, int]
    ) -> None:
        pro = office.professional(balance=(40, 0))
        office.world.change(credit_balances, office.balance(pro).id, last_reset_at=last)
        assert office.run(JOB).counts == counts
        assert office.has(pro) == ((100 if counts else 40), 0)

    def test_nor_is_a_month_before_it_made_up_for(self, office: Office) -> None:
        pro = office.professional(balance=(40, 0))
        office.world.change(credit_balances, office.balance(pro).id, last_reset_at=ago(hours=1))
        assert office.run(JOB, since=datetime(2026, 2, 1, tzinfo=UTC)).counts == {}

    def test_next_month_it_is_done(self, office: Office) -> None:
        pro = office.professional(balance=(40, 0))
        office.world.change(credit_balances, office.balance(pro).id, last_reset_at=ago(hours=1))
        office.now = datetime(2026, 4, 1, 0, 1, tzinfo=UTC)
        assert office.run(JOB).counts == {"reset": 1}


class TestDaily:
    def test_a_start_of_the_month_that_was_missed_is_made_up_for(self, office: Office) -> None:
        pro, office.now = office.professional(), datetime(2026, 2, 1, 0, 1, tzinfo=UTC)
        office.run(JOB)
        office.now = datetime(2026, 3, 4, 0, 1, tzinfo=UTC)
        assert [office.run(JOB).counts for _ in range(2)] == [{"reset": 1}, {}]
        assert [each[0] for each in moves(office, pro)] == ["2026-02", MARCH]

    @pytest.mark.parametrize("balance", [(7, 3), None], ids=["with", "without"])
    def test_who_is_verified_in_the_month_has_the_months_credits_from_then_on(
        self, office: Office, balance: tuple[int, int] | None
    ) -> None:
        pro = office.professional("pending", balance)
        assert office.run(JOB).counts == {}
        office.world.change(professionals, pro, verification_status="basic")
        office.now += timedelta(days=1)
        assert office.run(JOB).counts == {"reset": 1}
        assert (office.has(pro)[0], moves(office, pro)[0][0]) == (100, MARCH)
        spent(office, pro, 60)
        office.now += timedelta(days=1)
        assert (office.run(JOB).counts, office.has(pro)[0]) == ({}, 40)


class TestSince:
    def month(self, number: int) -> datetime:
        return datetime(2026, number, 1, tzinfo=UTC)

    def test_a_missed_month_is_made_up_for(self, office: Office) -> None:
        pro = office.professional(balance=(5, 0))
        assert office.run(JOB, since=self.month(2)).counts == {"reset": 1}
        assert office.run(JOB).counts == {"reset": 1}
        assert [each[:2] for each in moves(office, pro)] == [("2026-02", 95), (MARCH, 0)]

    def test_but_not_after_a_later_one(self, office: Office) -> None:
        """What was spent since would be given anew."""
        pro = office.professional()
        office.run(JOB)
        spent(office, pro, 60)
        assert office.run(JOB, since=self.month(2)).counts == {}
        assert office.has(pro) == (40, 0)

    @pytest.mark.parametrize(
        "since",
        [ago(days=0), datetime(2026, 2, 2, tzinfo=UTC), datetime(2026, 3, 1, 0, 1, tzinfo=UTC)],
        ids=str,
    )
    def test_another_day_is_none(self, office: Office, since: datetime) -> None:
        office.professional()
        done = office.run(JOB, since=since)
        assert (done.exit_code, done.counts) == (Exit.USAGE, {})
        with pytest.raises(UsageError, match="first day"):
            office.run(JOB, since=since, dry_run=True)
        assert office.transactions("monthly_reset") == []


class TestDryRun:
    def test_it_shows_what_is_done(self, office: Office) -> None:
        office.professional(balance=(30, 5))
        new = office.professional(balance=None)
        before = office.world.everything()
        shown = office.run(JOB, dry_run=True).document["rows"]
        assert office.world.everything() == before
        office.run(JOB)
        changed = [each for each in shown if each["table"] == "credit_balances"]
        assert [(each["before"].get("free_credits"), each["after"]["free_credits"]) for each in changed] == [
            (None, 100),
            (30, 100),
        ]
        assert changed[0]["after"]["professional_id"] == new
        assert len([e for e in shown if e["table"] == "notifications"]) == len(
            office.world.rows(notifications)
        )


@pytest.mark.only("postgresql")
def test_who_is_just_spending_is_waited_for(office: Office) -> None:
    """Passed over, they would have to wait for a month."""
    pros = [office.professional(balance=(10, 0)) for _ in range(3)]
    with office.world.engine.connect() as rival, rival.begin():
        rival.execute(update(credit_balances).where(balance_of(pros[1])).values(free_credits=4))
        process = office.world.process(JOB, "--json")
        postgres.await_waiting(str(office.world.settings.database_url), 1)
        rival.commit()
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["counts"]) == (Exit.DONE, {"reset": 3})
    assert [moves(office, each)[0][1:4] for each in pros] == [(90, 10, 100), (96, 4, 100), (90, 10, 100)]


@pytest.mark.only("postgresql")
def test_who_is_rejected_meanwhile_gets_nothing(office: Office) -> None:
    """The professional's row is the one that is locked, not the balance."""
    pros = [office.professional(balance=(10, 0)) for _ in range(3)]
    with office.world.engine.connect() as rival, rival.begin():
        theirs = update(professionals).where(professionals.c.id == pros[1])
        rival.execute(theirs.values(verification_status="rejected"))
        process = office.world.process(JOB, "--json")
        postgres.await_waiting(str(office.world.settings.database_url), 1)
        rival.commit()
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["counts"]) == (Exit.DONE, {"reset": 2})
    assert moves(office, pros[1]) == []


@pytest.mark.only("postgresql")
def test_who_does_not_stop_spending_fails_alone(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=50))
    monkeypatch.setattr(db, "BRIEFLY", timedelta(milliseconds=20))
    pros = [office.professional(balance=(10, 0)) for _ in range(5)]
    with office.world.engine.connect() as rival, rival.begin():
        for each in pros[1:3]:
            rival.execute(update(credit_balances).where(balance_of(each)).values(free_credits=4))
        done = office.run(JOB)
        rival.rollback()
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"reset": 3, "failed": 2})
    assert sorted(each.row_id for each in office.world.errors()) == [office.balance(e).id for e in pros[1:3]]
    assert office.run(JOB).counts == {"reset": 2}


def balance_of(professional: int) -> ColumnElement[bool]:
    return credit_balances.c.professional_id == professional


@pytest.mark.only("postgresql")
def test_two_at_once_reset_each_once(office: Office) -> None:
    for n in range(40):
        office.professional(balance=None if n % 4 == 0 else (n, 0))
    both = [office.world.process(JOB, "--share", "--json") for _ in range(2)]
    for each in both:
        each.communicate(timeout=60)
    assert {each.returncode for each in both} == {Exit.DONE}
    assert len(office.transactions("monthly_reset")) == 40
    office.agree()


def spent(office: Office, professional: int, amount: int) -> None:
    """Spend free credits, as the application does."""
    has = office.balance(professional)
    office.world.change(credit_balances, has.id, free_credits=has.free_credits - amount)
    gone = {
        "professional_id": professional,
        "type": "spend",
        "credit_type": "free",
        "amount": -amount,
        "free_before": has.free_credits,
        "free_after": has.free_credits - amount,
        "paid_before": has.paid_credits,
        "paid_after": has.paid_credits,
        "created_at": NOW,
    }
    office.world.add(credit_transactions, gone)
