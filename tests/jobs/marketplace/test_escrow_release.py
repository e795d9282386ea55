"""What is released from escrow, to whom, and how much."""

import random
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.tables.frame import run_errors
from jobctl.tables.marketplace import ledger_entries, ledger_postings, requests, wallet_transactions, wallets
from jobctl.tables.notifications import users
from tests.bazaar import Bazaar
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
