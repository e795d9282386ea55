"""What is released from escrow, to whom, and how much."""

import json
import random
import time
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from sqlalchemy import select, update

from jobctl import db
from jobctl.errors import Exit
from jobctl.tables.frame import run_errors
from jobctl.tables.marketplace import ledger_entries, ledger_postings, requests, wallet_transactions, wallets
from jobctl.tables.notifications import users
from tests import postgres
from tests.bazaar import Bazaar
from tests.rival import met_last
from tests.world import NOW, ago

JOB = "escrow-release"


def completed(bazaar: Bazaar, **values: Any) -> tuple[int, int]:
    """Add a completed request with its payment in escrow, and both wallets; return payment and creator."""
    payment = bazaar.paid(**values)
    creator = bazaar.asked(bazaar.moved(payment).request_id).creator_id
    bazaar.wallet(creator)
    bazaar.wallet(None)
    return payment, creator


def test_the_creator_gets_it_less_the_platforms_fee(bazaar: Bazaar) -> None:
    payment, creator = completed(bazaar)
    done = bazaar.world.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"released": 1})
    row = bazaar.moved(payment)
    assert (row.escrow_status, row.released_at, row.release_reason) == ("released", NOW, "request completed")
    assert row.fee_basis_points == 1_000
    assert bazaar.balances() == {creator: 9_000, None: 1_000}
    (posting,) = bazaar.world.rows(ledger_postings)
    assert (posting.wallet_transaction_id, posting.kind, posting.currency) == (payment, "release", "NGN")
    entries = bazaar.world.rows(ledger_entries)
    assert sorted((each.line, each.account, each.amount_minor) for each in entries) == [
        (1, "escrow", -10_000),
        (2, "wallet", 9_000),
        (3, "wallet", 1_000),
    ]
    assert bazaar.world.run(JOB).counts == {}
    assert bazaar.balances() == {creator: 9_000, None: 1_000}


def test_what_somebody_sets_back_by_hand_is_not_released_again(bazaar: Bazaar) -> None:
    """Its posting is there; what has none is released as ever."""
    payment, creator = completed(bazaar)
    bazaar.world.run(JOB)
    back = {"escrow_status": "pending", "released_at": None, "release_reason": None}
    bazaar.world.change(wallet_transactions, payment, **back)
    _, other = completed_of_another(bazaar)
    done = bazaar.world.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"released": 1, "failed": 1})
    assert bazaar.world.failed(done) == [payment]
    assert bazaar.balances() == {creator: 9_000, other: 9_000, None: 2_000}


@pytest.mark.parametrize(
    ("table", "fact"),
    [
        (requests, {"status": "in_progress"}),
        (requests, {"dispute": "open"}),
        (wallet_transactions, {"escrow_status": "refunded"}),
        (wallet_transactions, {"escrow_status": "void"}),
        (wallet_transactions, {"escrow_status": None}),
        (wallet_transactions, {"status": "pending"}),
        (wallet_transactions, {"status": "unverified"}),
        (wallet_transactions, {"status": "failed"}),
    ],
    ids=str,
)
def test_another_is_not_released(bazaar: Bazaar, table: Any, fact: dict[str, Any]) -> None:
    payment, _ = completed(bazaar)
    bazaar.world.change(table, bazaar.moved(payment).request_id if table is requests else payment, **fact)
    assert bazaar.world.run(JOB).counts == {}
    assert bazaar.world.rows(ledger_postings) == []


def test_one_whose_dispute_is_resolved_is(bazaar: Bazaar) -> None:
    completed(bazaar, dispute="resolved")
    assert bazaar.world.run(JOB).counts == {"released": 1}


@pytest.mark.parametrize("whose", ["creator", "platform"])
@pytest.mark.parametrize("wallet", [None, {"status": "closed"}, {"currency": "USD"}], ids=str)
def test_without_a_wallet_it_stays_and_needs_someone(
    bazaar: Bazaar, whose: str, wallet: dict[str, Any] | None
) -> None:
    payment = bazaar.paid()
    creator = bazaar.asked(bazaar.moved(payment).request_id).creator_id
    for owner, name in ((creator, "creator"), (None, "platform")):
        if name != whose:
            bazaar.wallet(owner)
        elif wallet is not None:
            bazaar.wallet(owner, **wallet)
    for _ in range(2):
        done = bazaar.world.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"without a wallet": 1})
    assert [each.row_id for each in bazaar.world.rows(run_errors)] == [payment, payment]
    assert (bazaar.moved(payment).escrow_status, bazaar.world.rows(ledger_postings)) == ("pending", [])


def test_the_next_run_after_there_is_one_releases_it(bazaar: Bazaar) -> None:
    payment = bazaar.paid()
    creator = bazaar.asked(bazaar.moved(payment).request_id).creator_id
    bazaar.world.change(users, creator, verified_at=ago(days=1))
    assert bazaar.world.run(JOB).exit_code == Exit.ITEMS_FAILED
    made = bazaar.world.run("wallet-creation").counts
    assert made == {"given a first wallet": 1, "given one for their escrow": 1, "made for the platform": 1}
    assert bazaar.world.run(JOB).counts == {"released": 1}
    assert {each.currency: each.balance_minor for each in bazaar.world.rows(wallets) if each.user_id} == {
        "NGN": 9_000,
        "USD": 0,
    }


def test_a_frozen_wallet_accepts_it(bazaar: Bazaar) -> None:
    _, creator = completed(bazaar)
    (wallet, _) = bazaar.world.rows(wallets)
    bazaar.world.change(wallets, wallet.id, status="frozen")
    assert bazaar.world.run(JOB).counts == {"released": 1}
    assert bazaar.balances()[creator] == 9_000


def test_many_of_one_creator_are_summed_up(bazaar: Bazaar) -> None:
    _, creator = completed(bazaar)
    for amount in (5_000, 7_000):
        bazaar.paid(creator_id=creator, amount_minor=amount)
    assert bazaar.world.run(JOB).counts == {"released": 3}
    assert bazaar.balances() == {creator: 19_800, None: 2_200}


def test_since_bounds_the_completion(bazaar: Bazaar) -> None:
    completed(bazaar)
    assert bazaar.world.run(JOB, since=NOW - timedelta(hours=2)).counts == {}
    assert bazaar.world.run(JOB, since=NOW - timedelta(hours=4)).counts == {"released": 1}


def test_a_dry_run_shows_what_comes_to_the_wallets(bazaar: Bazaar) -> None:
    _, creator = completed(bazaar)
    bazaar.paid(creator_id=creator, amount_minor=5_000)
    before = bazaar.world.everything()
    shown = bazaar.world.run(JOB, dry_run=True).document["rows"]
    assert bazaar.world.everything() == before
    grown = [each for each in shown if each["table"] == "wallets"]
    assert [(each["before"]["balance_minor"], each["after"]["balance_minor"]) for each in grown] == [
        (0, 13_500),
        (0, 1_500),
    ]


@pytest.mark.parametrize(
    ("amount", "points", "share"),
    [
        (105, 1_000, 10),
        (115, 1_000, 12),
        (125, 1_000, 12),
        (1, 5_000, 0),
        (3, 5_000, 2),
        (10**14, 1, 10**10),
    ],
)
def test_half_a_unit_goes_to_the_even_one(bazaar: Bazaar, amount: int, points: int, share: int) -> None:
    payment, creator = completed(bazaar, amount_minor=amount)
    bazaar.world.change(wallet_transactions, payment, fee_basis_points=points)
    bazaar.world.run(JOB)
    assert bazaar.balances() == {creator: amount - share, None: share}


def test_every_fee_is_rounded_half_to_even(bazaar: Bazaar) -> None:
    dice = random.Random(7)
    payment, creator = completed(bazaar)
    payments = [payment, *(bazaar.paid(creator_id=creator) for _ in range(60))]
    for each in payments:
        amount = dice.choice([dice.randrange(1, 1_000), dice.randrange(1, 10**14)])
        points = dice.choice([dice.randrange(10_001), 500, 2_500, 5_000])
        bazaar.world.change(wallet_transactions, each, amount_minor=amount, fee_basis_points=points)
    bazaar.world.run(JOB)
    entries = bazaar.world.rows(ledger_entries)
    shares = {each.wallet_transaction_id: each.amount_minor for each in entries if each.line == 3}
    for each in map(bazaar.moved, payments):
        exact = Decimal(each.amount_minor) * each.fee_basis_points / 10_000
        assert shares[each.id] == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))
    bazaar.balances()


def test_a_balance_that_no_number_holds_is_refused_alone(bazaar: Bazaar) -> None:
    """SQLite would go on with a number that has lost its last digits."""
    payment, creator = completed(bazaar)
    completed_too, _ = completed_of_another(bazaar)
    (wallet,) = (each for each in bazaar.world.rows(wallets) if each.user_id == creator)
    bazaar.world.change(wallets, wallet.id, balance_minor=2**63 - 9_000)
    done = bazaar.world.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"released": 1, "failed": 1})
    assert [each.row_id for each in bazaar.world.rows(run_errors)] == [payment]
    assert bazaar.moved(payment).escrow_status == "pending"
    assert bazaar.moved(completed_too).escrow_status == "released"
    assert bazaar.world.one(wallets, wallet.id).balance_minor == 2**63 - 9_000
    bazaar.world.change(wallets, wallet.id, balance_minor=2**63 - 9_001)
    assert bazaar.world.run(JOB).counts == {"released": 1}
    assert bazaar.world.one(wallets, wallet.id).balance_minor == 2**63 - 1


def test_nor_does_the_platforms_wallet_lose_digits(bazaar: Bazaar) -> None:
    """All payments need it: none is released, each is named, and the next run does it once it can."""
    payment, creator = completed(bazaar)
    (wallet,) = (each for each in bazaar.world.rows(wallets) if each.user_id is None)
    bazaar.world.change(wallets, wallet.id, balance_minor=2**63 - 1_000)
    done = bazaar.world.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1})
    assert bazaar.world.failed(done) == [payment]
    balances = {each.user_id: each.balance_minor for each in bazaar.world.rows(wallets)}
    assert balances == {creator: 0, None: 2**63 - 1_000}
    bazaar.world.change(wallets, wallet.id, balance_minor=0)
    assert bazaar.world.run(JOB).counts == {"released": 1}
    bazaar.balances()


def completed_of_another(bazaar: Bazaar) -> tuple[int, int]:
    payment = bazaar.paid()
    creator = bazaar.asked(bazaar.moved(payment).request_id).creator_id
    bazaar.wallet(creator)
    return payment, creator


@pytest.mark.only("postgresql")
class TestRivals:
    @pytest.mark.parametrize("whose", ["creator", "platform"])
    def test_a_wallet_that_is_closed_meanwhile_gets_nothing(self, bazaar: Bazaar, whose: str) -> None:
        payment, creator = completed(bazaar)
        owner = wallets.c.user_id == creator if whose == "creator" else wallets.c.kind == "platform"
        with bazaar.world.engine.connect() as rival, rival.begin():
            rival.execute(update(wallets).where(owner).values(status="closed"))
            process = bazaar.world.process(JOB, "--json")
            postgres.await_waiting(str(bazaar.world.settings.database_url), 1)
            rival.commit()
            out, _ = process.communicate(timeout=60)
        assert (process.returncode, json.loads(out)["counts"]) == (Exit.ITEMS_FAILED, {"without a wallet": 1})
        assert bazaar.balances() == {creator: 0, None: 0}
        assert bazaar.moved(payment).escrow_status == "pending"
        assert bazaar.world.rows(ledger_postings) == []

    def test_wallets_are_locked_in_the_order_of_their_numbers(self, bazaar: Bazaar) -> None:
        """So that nobody who does the same and the run wait for each other."""
        _, first = completed(bazaar)
        _, second = completed_of_another(bazaar)
        owned = {each.user_id: each.id for each in bazaar.world.rows(wallets)}
        low, high = owned[first], owned[second]
        met_last(bazaar.world, wallets, low)
        choose = select(wallets.c.id).with_for_update()
        with bazaar.world.engine.connect() as rival, rival.begin():
            rival.execute(choose.where(wallets.c.id == low))
            process = bazaar.world.process(JOB, "--json")
            postgres.await_waiting(str(bazaar.world.settings.database_url), 1)
            rival.execute(choose.where(wallets.c.id == high).with_for_update(nowait=True))
            rival.commit()
            out, _ = process.communicate(timeout=60)
        assert (process.returncode, json.loads(out)["counts"]) == (Exit.DONE, {"released": 2})

    def test_a_wallet_that_is_opened_meanwhile_is_not_complained_of(self, bazaar: Bazaar) -> None:
        _, creator = completed(bazaar)
        owner = wallets.c.user_id == creator
        with bazaar.world.engine.begin() as connection:
            connection.execute(update(wallets).where(owner).values(status="closed"))
        with bazaar.world.engine.connect() as rival, rival.begin():
            rival.execute(update(wallets).where(owner).values(status="active"))
            process = bazaar.world.process(JOB, "--json")
            postgres.await_waiting(str(bazaar.world.settings.database_url), 1)
            rival.commit()
            process.communicate(timeout=60)
        assert process.returncode == Exit.DONE
        assert bazaar.world.rows(run_errors) == []

    def test_one_wallet_that_all_need_is_waited_for_once(
        self, bazaar: Bazaar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What needs another wallet is released meanwhile; the rest is named."""
        monkeypatch.setattr(db, "BRIEFLY", timedelta(milliseconds=100))
        monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=300))
        _, creator = completed(bazaar)
        for _ in range(19):
            bazaar.paid(creator_id=creator)
        completed_of_another(bazaar)
        with bazaar.world.engine.connect() as rival, rival.begin():
            held = select(wallets).where(wallets.c.user_id == creator).with_for_update()
            rival.execute(held)
            began = time.monotonic()
            done = bazaar.world.run(JOB)
            took = time.monotonic() - began
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"released": 1, "failed": 20})
        assert len(bazaar.world.rows(run_errors)) == 20
        assert took < 5, "twenty waits of 300 ms, one after the other, and those of their halves"
        assert bazaar.world.run(JOB).counts == {"released": 20}
        bazaar.balances()

    def test_once_it_is_free_all_go_on(self, bazaar: Bazaar) -> None:
        """Though it was waited for in vain at first."""
        _, creator = completed(bazaar)
        for _ in range(19):
            bazaar.paid(creator_id=creator)
        with bazaar.world.engine.connect() as rival, rival.begin():
            rival.execute(update(wallets).where(wallets.c.user_id == creator).values(status="frozen"))
            process = bazaar.world.process(JOB, "--json")
            url = str(bazaar.world.settings.database_url)
            postgres.await_waiting(url, 1)  # briefly
            postgres.await_waiting(url, 0)
            postgres.await_waiting(url, 1)
            rival.commit()
            out, _ = process.communicate(timeout=60)
        assert (process.returncode, json.loads(out)["counts"]) == (Exit.DONE, {"released": 20})
        assert bazaar.balances()[creator] == 180_000

    def test_two_at_once_release_each_once(self, bazaar: Bazaar) -> None:
        _, creator = completed(bazaar)
        for _ in range(40):
            bazaar.paid(creator_id=creator)
        both = [bazaar.world.process(JOB, "--share", "--json") for _ in range(2)]
        for each in both:
            each.communicate(timeout=60)
        assert [each.returncode for each in both] == [Exit.DONE, Exit.DONE]
        assert bazaar.balances() == {creator: 41 * 9_000, None: 41 * 1_000}
