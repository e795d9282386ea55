"""Who gets a wallet, and in which currency."""

from datetime import timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.tables.marketplace import wallets
from jobctl.tables.notifications import users
from tests.market import Market
from tests.world import NOW, ago

JOB = "wallet-creation"
FIRST, ESCROW, PLATFORM = "given a first wallet", "given one for their escrow", "made for the platform"


def owners(market: Market) -> set[tuple[int | None, str]]:
    return {(each.user_id, each.currency) for each in market.world.rows(wallets)}


def creator(market: Market, **values: Any) -> int:
    return market.world.user(**{"verified_at": ago(days=1), **values})


def test_a_verified_user_gets_one(market: Market) -> None:
    user = creator(market)
    done = market.world.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.DONE, {FIRST: 1})
    (wallet,) = market.world.rows(wallets)
    assert (wallet.user_id, wallet.currency, wallet.balance_minor, wallet.status) == (
        user,
        "USD",
        0,
        "active",
    )
    assert (wallet.kind, wallet.created_at) == ("user", NOW)
    (added,) = market.world.trail()
    assert (added.table_name, added.row_id, added.before, added.after["user_id"]) == (
        "wallets",
        wallet.id,
        {},
        user,
    )
    assert market.world.run(JOB).counts == {}


@pytest.mark.parametrize("fact", [{"verified_at": None}, {"deleted_at": ago(hours=1)}], ids=str)
def test_another_gets_none(market: Market, fact: dict[str, Any]) -> None:
    market.paid(creator_id=creator(market, **fact))
    assert market.world.run(JOB).counts == {PLATFORM: 1}
    assert owners(market) == {(None, "NGN")}


@pytest.mark.parametrize("values", [{}, {"status": "closed"}, {"status": "frozen"}], ids=str)
def test_who_has_one_gets_no_second(market: Market, values: dict[str, Any]) -> None:
    """Though it is closed: somebody has decided that."""
    user = creator(market)
    market.wallet(user, **values)
    market.paid(creator_id=user)
    assert market.world.run(JOB).counts == {PLATFORM: 1}


def test_an_escrow_that_waits_gets_one_in_its_currency(market: Market) -> None:
    user = creator(market)
    for currency in ("NGN", "NGN", "KES"):
        market.paid(creator_id=user, currency=currency)
    done = market.world.run(JOB)
    assert done.counts == {FIRST: 1, ESCROW: 2, PLATFORM: 2}
    assert owners(market) == {(user, "USD"), (user, "NGN"), (user, "KES"), (None, "NGN"), (None, "KES")}
    assert market.world.run(JOB).counts == {}


def test_what_is_released_or_not_paid_needs_none(market: Market) -> None:
    user = creator(market)
    market.wallet(user, currency="USD")
    market.transaction(market.request(creator_id=user))
    market.transaction(market.request(creator_id=user), status="completed", escrow_status="void")
    assert market.world.run(JOB).counts == {}


def test_the_currency_is_a_setting(market: Market) -> None:
    market.world.configure(default_wallet_currency="NGN")
    user = creator(market)
    market.paid(creator_id=user)
    assert market.world.run(JOB).counts == {FIRST: 1, PLATFORM: 1}
    assert owners(market) == {(user, "NGN"), (None, "NGN")}


def test_many_get_theirs_at_once(market: Market) -> None:
    for user in market.world.messages(5):
        market.world.change(users, user, verified_at=ago(days=1))
    assert market.world.run(JOB).counts == {FIRST: 5}
    assert len({each.row_id for each in market.world.trail()}) == 5


def test_since_bounds_the_verification(market: Market) -> None:
    creator(market)
    assert market.world.run(JOB, since=NOW - timedelta(hours=1)).counts == {}
    assert market.world.run(JOB, since=NOW - timedelta(days=2)).counts == {FIRST: 1}


def test_a_dry_run_shows_the_wallets(market: Market) -> None:
    user = creator(market)
    before = market.world.everything()
    shown = market.world.run(JOB, dry_run=True).document["rows"]
    assert market.world.everything() == before
    (new,) = [each["after"] for each in shown if each["table"] == "wallets"]
    assert (new["user_id"], new["currency"]) == (user, "USD")
