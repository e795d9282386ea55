"""Which lots expire, what is taken for them, and what is left to a person."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from jobctl import db
from jobctl.errors import Exit
from jobctl.parsing import Months
from jobctl.steps import pages
from jobctl.steps import set as set_step
from jobctl.tables.credits import credit_balances, credit_transactions
from jobctl.tables.findings import findings
from tests import postgres
from tests.credits import Office
from tests.world import NOW, ago, ahead

JOB = "credit-expiry"
NOTHING = {"expired_transactions": 0, "total_expired": 0}


def came_to(transactions: int, total: int, professionals: int = 1, left: int = 0) -> dict[str, int]:
    counts = {"expired_transactions": transactions, "total_expired": total, "professionals": professionals}
    return counts | ({"left to a person": left} if left else {})


def expiries(office: Office, professional: int | None = None) -> list[tuple[Any, ...]]:
    rows = office.transactions("expiry", professional)
    return [(e.lot_id, e.amount, e.paid_before, e.paid_after, e.free_before, e.free_after) for e in rows]


class TestOneLot:
    @pytest.mark.parametrize(
        ("expires_at", "expires"),
        [(ago(days=1), True), (NOW, True), (ahead(seconds=1), False)],
        ids=["past", "now", "coming"],
    )
    def test_its_time_is_up(self, office: Office, expires_at: datetime, *, expires: bool) -> None:
        pro = office.professional(balance=(7, 10))
        office.lot(pro, 40, expires_at)
        done = office.run(JOB)
        assert done.exit_code == Exit.DONE
        assert done.counts == (came_to(1, 40) if expires else NOTHING)
        assert office.has(pro) == ((7, 10) if expires else (7, 50))

    def test_what_is_left_of_it_expires_and_is_written_down(self, office: Office) -> None:
        pro = office.professional(balance=(7, 0))
        lot = office.lot(pro, 40, ago(days=1), remaining_amount=15)
        assert office.run(JOB).counts == came_to(1, 15)
        assert (office.left(lot), office.has(pro)) == (0, (7, 25))
        assert expiries(office) == [(lot, -15, 40, 25, 7, 7)]
        assert {e.created_at for e in office.transactions("expiry")} == {NOW}

    @pytest.mark.parametrize("values", [{"remaining_amount": 0}, {"remaining_amount": None}], ids=str)
    def test_what_has_nothing_left_is_none(self, office: Office, values: dict[str, Any]) -> None:
        office.lot(office.professional(), 40, ago(days=1), **values)
        assert office.run(JOB).counts == NOTHING

    def test_a_rerun_does_nothing(self, office: Office) -> None:
        office.lot(office.professional(), 40, ago(days=1))
        office.run(JOB)
        before = office.world.everything()["credit_transactions"]
        assert office.run(JOB).counts == NOTHING
        assert office.world.everything()["credit_transactions"] == before

    def test_since(self, office: Office) -> None:
        pro = office.professional()
        old, new = office.lot(pro, 1, ago(days=9)), office.lot(pro, 2, ago(days=1))
        undated = office.lot(pro, 4, created_at=ago(days=300))
        assert office.run(JOB, since=ago(days=2)).counts == came_to(1, 2)
        assert [office.left(each) for each in (old, new, undated)] == [1, 0, 4]

    def test_limit(self, office: Office) -> None:
        """It is of professionals; of each all that has expired goes at once."""
        pros = [office.professional() for _ in range(3)]
        lots = [office.lot(pros[n % 3], n, ago(days=n)) for n in (1, 2, 3, 4)]
        assert office.run(JOB, limit=2).counts == came_to(3, 8, 2)
        assert [office.left(each) for each in lots] == [0, 2, 0, 0]
        office.agree()


class TestLifetime:
    """A lot without a date expires six calendar months after it was bought."""

    @pytest.mark.parametrize(
        ("bought", "expires"),
        [
            ("2025-09-02T12:00", "2026-03-02T12:00"),
            ("2025-08-28T12:00", "2026-02-28T12:00"),
            ("2025-08-29T12:00", "2026-02-28T12:00"),
            ("2025-08-31T12:00", "2026-02-28T12:00"),
            ("2023-08-31T12:00", "2024-02-29T12:00"),
            ("2023-08-29T12:00", "2024-02-29T12:00"),
            ("2025-03-31T00:00", "2025-09-30T00:00"),
            ("2025-10-31T23:59", "2026-04-30T23:59"),
            ("2025-12-31T12:00", "2026-06-30T12:00"),
            ("2024-02-29T12:00", "2024-08-29T12:00"),
        ],
    )
    def test_to_the_day(self, office: Office, bought: str, expires: str) -> None:
        at, end = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (bought, expires))
        office.lot(office.professional(), 40, created_at=at)
        office.now = end - timedelta(microseconds=1)
        assert office.run(JOB).counts == NOTHING
        office.now = end
        assert office.run(JOB).counts == came_to(1, 40)

    def test_months_are_those_of_utc(self, office: Office) -> None:
        """Not those of wherever the database is: there it is March already."""
        bought = datetime(2025, 8, 31, 23, 30, tzinfo=UTC)
        office.lot(office.professional(), 40, created_at=bought)
        office.now = datetime(2026, 2, 28, 23, 30, tzinfo=UTC)
        assert office.run(JOB).counts == came_to(1, 40)

    def test_it_is_a_setting(self, office: Office) -> None:
        office.world.configure(credit_lifetime=Months(1))
        office.lot(office.professional(), 40, created_at=datetime(2026, 1, 31, 12, tzinfo=UTC))
        office.now = datetime(2026, 2, 28, 12, tzinfo=UTC)
        assert office.run(JOB).counts["total_expired"] == 40

    def test_a_date_goes_first(self, office: Office) -> None:
        office.lot(office.professional(), 40, ahead(days=1), created_at=ago(days=400))
        assert office.run(JOB).counts == NOTHING


class TestManyLots:
    def test_each_has_its_transaction_and_balances_run_on(self, office: Office) -> None:
        """Those that expire first go first, those of the same instant in the order of their numbers."""
        pro = office.professional(balance=(5, 100))
        last, first, same = (office.lot(pro, n, ago(days=d)) for n, d in ((10, 1), (20, 3), (40, 1)))
        undated = office.lot(pro, 7, created_at=ago(days=300))
        kept = office.lot(pro, 9, ahead(days=1))
        assert office.run(JOB).counts == came_to(4, 77)
        assert expiries(office, pro) == [
            (undated, -7, 186, 179, 5, 5),
            (first, -20, 179, 159, 5, 5),
            (last, -10, 159, 149, 5, 5),
            (same, -40, 149, 109, 5, 5),
        ]
        assert (office.has(pro), office.left(kept)) == ((5, 109), 9)

    def test_of_many_professionals_each_has_a_balance_of_their_own(self, office: Office) -> None:
        pros = [office.professional() for _ in range(4)]
        for n in range(3):
            for m, each in enumerate(pros):
                office.lot(each, 10 * n + m + 1, ago(days=1) if n != m else ahead(days=1))
        office.run(JOB)
        office.agree()
        assert [office.has(each)[1] for each in pros] == [1, 12, 23, 0]

    def test_page_by_page(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pages.Place, "size", 2)
        monkeypatch.setattr(set_step, "PAGE", 2)
        pros = [office.professional() for _ in range(5)]
        for n in range(12):
            office.lot(pros[n % 5], n + 1, ago(days=n % 3 + 1))
        assert office.run(JOB).counts == came_to(12, 78, 5)
        office.agree()

    def test_one_that_the_database_refuses_stops_no_other(self, office: Office) -> None:
        pros = [office.professional() for _ in range(3)]
        lots = [office.lot(each, 10, ago(days=1)) for each in pros]
        office.world.refuse(credit_transactions, "lot_id", lots[1])
        done = office.run(JOB)
        assert (done.exit_code, done.counts["expired_transactions"]) == (Exit.ITEMS_FAILED, 2)
        assert [office.left(each) for each in lots] == [0, 10, 0]
        office.world.allow(credit_transactions)
        assert office.run(JOB).counts == came_to(1, 10)
        office.agree()


class TestTooSmall:
    """A balance smaller than its expiring lots: something is wrong, and not for a job to decide."""

    def short(self, office: Office) -> tuple[int, list[int]]:
        pro = office.professional()
        lots = [office.lot(pro, 30, ago(days=1)), office.lot(pro, 20, ago(days=2)), office.lot(pro, 5)]
        office.world.change(credit_balances, office.balance(pro).id, paid_credits=40)
        return pro, lots

    def test_nothing_is_touched_and_a_person_is_told_once(self, office: Office) -> None:
        pro, lots = self.short(office)
        other = office.professional()
        office.lot(other, 8, ago(days=1))
        done = office.run(JOB)
        assert done.exit_code == Exit.ITEMS_FAILED
        assert done.counts == came_to(1, 8, left=1)
        assert (done.document["errors"], done.document["findings"]) == (1, 1)
        assert ([office.left(each) for each in lots], office.has(pro)) == ([30, 20, 5], (0, 40))
        (found,) = office.world.rows(findings)
        assert (found.kind, found.status, found.run_id) == (
            "balance smaller than its expiring credits",
            "open",
            office.world.last_run().id,
        )
        assert f"professional {pro} has 40 paid credits, and 50 have expired" in found.reason
        assert [each.row_id for each in office.world.errors()] == [found.id]
        again = office.run(JOB)
        assert (again.exit_code, again.counts) == (Exit.DONE, NOTHING)
        assert (len(office.world.rows(findings)), expiries(office, pro)) == (1, [])

    def test_once_corrected_they_expire(self, office: Office) -> None:
        pro, _ = self.short(office)
        office.run(JOB)
        office.world.change(credit_balances, office.balance(pro).id, paid_credits=55)
        assert office.run(JOB).counts == came_to(2, 50)
        assert office.has(pro) == (0, 5)

    def test_neither_a_smaller_part_nor_another_kind_goes_first(self, office: Office) -> None:
        """All that expires counts, with a date or without, whatever --since and --limit say."""
        pro = office.professional()
        office.lot(pro, 30, ago(days=1))
        office.lot(pro, 20, created_at=ago(days=300))
        office.world.change(credit_balances, office.balance(pro).id, paid_credits=40)
        assert office.run(JOB, since=ago(days=2)).counts["expired_transactions"] == 0
        assert office.run(JOB, limit=1).counts["expired_transactions"] == 0
        assert office.has(pro) == (0, 40)

    def test_without_a_balance_it_is_smaller_too(self, office: Office) -> None:
        pro = office.professional()
        office.lot(pro, 30, ago(days=1))
        with office.world.engine.begin() as connection:
            connection.execute(credit_balances.delete())
        assert office.run(JOB).exit_code == Exit.ITEMS_FAILED
        assert "has 0 paid credits" in office.world.rows(findings)[0].reason

    def test_a_dry_run_tells_of_it(self, office: Office) -> None:
        pro, _ = self.short(office)
        before = office.world.everything()
        shown = office.run(JOB, dry_run=True).document["rows"]
        assert office.world.everything() == before
        (found,) = (each["after"] for each in shown if each["table"] == "findings")
        assert f"professional {pro} has 40" in found["reason"]
        office.run(JOB)
        assert office.run(JOB, dry_run=True).document["rows"] == []


def test_a_dry_run_shows_what_is_done(office: Office) -> None:
    pro = office.professional(balance=(0, 3))
    lots = [office.lot(pro, n, ago(days=n)) for n in (40, 20)] + [
        office.lot(pro, 7, created_at=ago(days=300))
    ]
    document = office.run(JOB, dry_run=True).document
    assert document["counts"] == came_to(3, 67) | {"changed with it": 3}
    (sums,) = (e for e in document["rows"] if e["table"] == "credit_balances" and e["after"])
    assert (sums["before"], sums["after"]) == ({"paid_credits": 70}, {"paid_credits": 3})
    gone = [e for e in document["rows"] if e["table"] == "credit_transactions"]
    assert {e["row_id"]: e["before"]["remaining_amount"] for e in gone} == dict(
        zip(lots, (40, 20, 7), strict=True)
    )
    office.run(JOB)
    assert office.has(pro) == (0, 3)


def test_lots_that_no_number_holds_keep_nobody_elses(office: Office) -> None:
    pro, other = office.professional(), office.professional()
    for left in (0, 2**62):
        office.lot(pro, 2**62, ago(days=1))
        office.world.change(credit_balances, office.balance(pro).id, paid_credits=left)
    office.lot(other, 8, ago(days=1))
    done = office.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, came_to(1, 8, left=1))
    assert office.has(other) == (0, 0)
    assert office.has(pro) == (0, 2**62)


@pytest.mark.only("postgresql")
class TestRivals:
    def test_a_balance_that_is_corrected_meanwhile_is_not_complained_of(self, office: Office) -> None:
        pro = office.professional()
        office.lot(pro, 40, ago(days=1))
        office.world.change(credit_balances, office.balance(pro).id, paid_credits=30)
        with office.world.engine.connect() as rival, rival.begin():
            rival.execute(update(credit_balances).values(paid_credits=45))
            process = office.world.process(JOB, "--json")
            postgres.await_waiting(str(office.world.settings.database_url), 1)
            rival.commit()
            process.communicate(timeout=60)
        assert process.returncode == Exit.DONE
        assert office.world.rows(findings) == []

    def test_who_spends_meanwhile_spends_first(self, office: Office) -> None:
        """The application holds the balance, then the lot; what it leaves expires."""
        pro = office.professional()
        lot, url = office.lot(pro, 40, ago(days=1)), str(office.world.settings.database_url)
        with office.world.engine.connect() as rival, rival.begin():
            rival.execute(update(credit_balances).values(paid_credits=10))
            process = office.world.process(JOB, "--json")
            postgres.await_waiting(url, 1)
            left = update(credit_transactions).where(credit_transactions.c.id == lot)
            rival.execute(left.values(remaining_amount=10))
            rival.commit()
            process.communicate(timeout=60)
        assert process.returncode == Exit.DONE
        assert (expiries(office), office.has(pro)) == ([(lot, -10, 10, 0, 0, 0)], (0, 0))

    def test_a_lot_in_others_hands_keeps_nobody_else_waiting(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(db, "BRIEFLY", timedelta(milliseconds=50))
        monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=200))
        lots = [office.lot(office.professional(), 10, ago(days=1)) for _ in range(5)]
        with office.world.engine.connect() as rival, rival.begin():
            held = credit_transactions.c.id == lots[2]
            rival.execute(update(credit_transactions).where(held).values(remaining_amount=10))
            done = office.run(JOB)
            rival.rollback()
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, came_to(4, 40, 4) | {"failed": 1})
        assert "somebody else" in office.world.errors()[0].error
        assert office.run(JOB).counts == came_to(1, 10)
        office.agree()

    def test_two_at_once_expire_each_once(self, office: Office) -> None:
        pros = [office.professional(balance=(1, 5)) for _ in range(10)]
        for n in range(60):
            office.lot(pros[n % 10], n + 1, ago(days=n % 4 + 1))
        both = [office.world.process(JOB, "--share", "--json") for _ in range(2)]
        for each in both:
            each.communicate(timeout=60)
        assert {each.returncode for each in both} == {Exit.DONE}
        assert len(office.transactions("expiry")) == 60
        assert {office.has(each) for each in pros} == {(1, 5)}
