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
from tests.market import Market
from tests.world import NOW, ago

JOB = "escrow-release"


def completed(market: Market, **values: Any) -> tuple[int, int]:
    """Add a completed request with its payment in escrow, and both wallets; return payment and creator."""
    payment = market.paid(**values)
    creator = market.asked(market.moved(payment).request_id).creator_id
    market.wallet(creator)
    market.wallet(None)
    return payment, creator


def test_the_creator_gets_it_less_the_platforms_fee(market: Market) -> None:
    payment, creator = completed(market)
    done = market.world.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"released": 1})
    row = market.moved(payment)
    assert (row.escrow_status, row.released_at, row.release_reason) == ("released", NOW, "request completed")
    assert row.fee_basis_points == 1_000
    assert market.balances() == {creator: 9_000, None: 1_000}
    (posting,) = market.world.rows(ledger_postings)
    assert (posting.wallet_transaction_id, posting.kind, posting.currency) == (payment, "release", "NGN")
    entries = market.world.rows(ledger_entries)
    assert sorted((each.line, each.account, each.amount_minor) for each in entries) == [
        (1, "escrow", -10_000),
        (2, "wallet", 9_000),
        (3, "wallet", 1_000),
    ]
    assert market.world.run(JOB).counts == {}
    assert market.balances() == {creator: 9_000, None: 1_000}


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
def test_another_is_not_released(market: Market, table: Any, fact: dict[str, Any]) -> None:
    payment, _ = completed(market)
    market.world.change(table, market.moved(payment).request_id if table is requests else payment, **fact)
    assert market.world.run(JOB).counts == {}
    assert market.world.rows(ledger_postings) == []


def test_one_whose_dispute_is_resolved_is(market: Market) -> None:
    completed(market, dispute="resolved")
    assert market.world.run(JOB).counts == {"released": 1}


@pytest.mark.parametrize("whose", ["creator", "platform"])
@pytest.mark.parametrize("wallet", [None, {"status": "closed"}, {"currency": "USD"}], ids=str)
def test_without_a_wallet_it_stays_and_needs_someone(
    market: Market, whose: str, wallet: dict[str, Any] | None
) -> None:
    payment = market.paid()
    creator = market.asked(market.moved(payment).request_id).creator_id
    for owner, name in ((creator, "creator"), (None, "platform")):
        if name != whose:
            market.wallet(owner)
        elif wallet is not None:
            market.wallet(owner, **wallet)
    for _ in range(2):
        done = market.world.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"without a wallet": 1})
    assert [each.row_id for each in market.world.rows(run_errors)] == [payment, payment]
    assert (market.moved(payment).escrow_status, market.world.rows(ledger_postings)) == ("pending", [])


def test_the_next_run_after_there_is_one_releases_it(market: Market) -> None:
    payment = market.paid()
    creator = market.asked(market.moved(payment).request_id).creator_id
    market.world.change(users, creator, verified_at=ago(days=1))
    assert market.world.run(JOB).exit_code == Exit.ITEMS_FAILED
    made = market.world.run("wallet-creation").counts
    assert made == {"given a first wallet": 1, "given one for their escrow": 1, "made for the platform": 1}
    assert market.world.run(JOB).counts == {"released": 1}
    assert {each.currency: each.balance_minor for each in market.world.rows(wallets) if each.user_id} == {
        "NGN": 9_000,
        "USD": 0,
    }


def test_a_frozen_wallet_accepts_it(market: Market) -> None:
    _, creator = completed(market)
    (wallet, _) = market.world.rows(wallets)
    market.world.change(wallets, wallet.id, status="frozen")
    assert market.world.run(JOB).counts == {"released": 1}
    assert market.balances()[creator] == 9_000


def test_many_of_one_creator_are_summed_up(market: Market) -> None:
    _, creator = completed(market)
    for amount in (5_000, 7_000):
        market.paid(creator_id=creator, amount_minor=amount)
    assert market.world.run(JOB).counts == {"released": 3}
    assert market.balances() == {creator: 19_800, None: 2_200}


def test_since_bounds_the_completion(market: Market) -> None:
    completed(market)
    assert market.world.run(JOB, since=NOW - timedelta(hours=2)).counts == {}
    assert market.world.run(JOB, since=NOW - timedelta(hours=4)).counts == {"released": 1}


def test_a_dry_run_shows_what_comes_to_the_wallets(market: Market) -> None:
    _, creator = completed(market)
    market.paid(creator_id=creator, amount_minor=5_000)
    before = market.world.everything()
    shown = market.world.run(JOB, dry_run=True).document["rows"]
    assert market.world.everything() == before
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
def test_half_a_unit_goes_to_the_even_one(market: Market, amount: int, points: int, share: int) -> None:
    payment, creator = completed(market, amount_minor=amount)
    market.world.change(wallet_transactions, payment, fee_basis_points=points)
    market.world.run(JOB)
    assert market.balances() == {creator: amount - share, None: share}


def test_every_fee_is_rounded_half_to_even(market: Market) -> None:
    dice = random.Random(7)
    payment, creator = completed(market)
    payments = [payment, *(market.paid(creator_id=creator) for _ in range(60))]
    for each in payments:
        amount = dice.choice([dice.randrange(1, 1_000), dice.randrange(1, 10**14)])
        points = dice.choice([dice.randrange(10_001), 500, 2_500, 5_000])
        market.world.change(wallet_transactions, each, amount_minor=amount, fee_basis_points=points)
    market.world.run(JOB)
    entries = market.world.rows(ledger_entries)
    shares = {each.wallet_transaction_id: each.amount_minor for each in entries if each.line == 3}
    for each in map(market.moved, payments):
        exact = Decimal(each.amount_minor) * each.fee_basis_points / 10_000
        assert shares[each.id] == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))
    market.balances()
