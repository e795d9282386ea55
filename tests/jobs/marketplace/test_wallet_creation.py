"""Who gets a wallet, and in which currency."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from jobctl.errors import Exit
from jobctl.tables.marketplace import wallets
from jobctl.tables.notifications import users
from tests import postgres
from tests.bazaar import Bazaar
from tests.rival import while_held
from tests.world import NOW, ago

JOB = "wallet-creation"
FIRST, ESCROW, PLATFORM = "given a first wallet", "given one for their escrow", "made for the platform"


def owners(bazaar: Bazaar) -> set[tuple[int | None, str]]:
    return {(each.user_id, each.currency) for each in bazaar.world.rows(wallets)}


def creator(bazaar: Bazaar, **values: Any) -> int:
    return bazaar.world.user(**{"verified_at": ago(days=1), **values})


def test_a_verified_user_gets_one(bazaar: Bazaar) -> None:
    user = creator(bazaar)
    done = bazaar.world.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.DONE, {FIRST: 1})
    (wallet,) = bazaar.world.rows(wallets)
    assert (wallet.user_id, wallet.currency, wallet.balance_minor, wallet.status) == (
        user,
        "USD",
        0,
        "active",
    )
    assert (wallet.kind, wallet.created_at) == ("user", NOW)
    (added,) = bazaar.world.trail()
    assert (added.table_name, added.row_id, added.before, added.after["user_id"]) == (
        "wallets",
        wallet.id,
        {},
        user,
    )
    assert bazaar.world.run(JOB).counts == {}


@pytest.mark.parametrize("fact", [{"verified_at": None}, {"deleted_at": ago(hours=1)}], ids=str)
def test_another_gets_none(bazaar: Bazaar, fact: dict[str, Any]) -> None:
    bazaar.paid(creator_id=creator(bazaar, **fact))
    assert bazaar.world.run(JOB).counts == {PLATFORM: 1}
    assert owners(bazaar) == {(None, "NGN")}


@pytest.mark.parametrize("values", [{}, {"status": "closed"}, {"status": "frozen"}], ids=str)
def test_who_has_one_gets_no_second(bazaar: Bazaar, values: dict[str, Any]) -> None:
    """Though it is closed: somebody has decided that."""
    user = creator(bazaar)
    bazaar.wallet(user, **values)
    bazaar.paid(creator_id=user)
    assert bazaar.world.run(JOB).counts == {PLATFORM: 1}


def test_an_escrow_that_waits_gets_one_in_its_currency(bazaar: Bazaar) -> None:
    user = creator(bazaar)
    for currency in ("NGN", "NGN", "KES"):
        bazaar.paid(creator_id=user, currency=currency)
    done = bazaar.world.run(JOB)
    assert done.counts == {FIRST: 1, ESCROW: 2, PLATFORM: 2}
    assert owners(bazaar) == {(user, "USD"), (user, "NGN"), (user, "KES"), (None, "NGN"), (None, "KES")}
    assert bazaar.world.run(JOB).counts == {}


def test_what_is_released_or_not_paid_needs_none(bazaar: Bazaar) -> None:
    user = creator(bazaar)
    bazaar.wallet(user, currency="USD")
    bazaar.transaction(bazaar.request(creator_id=user))
    bazaar.transaction(bazaar.request(creator_id=user), status="completed", escrow_status="void")
    assert bazaar.world.run(JOB).counts == {}


def test_the_currency_is_a_setting(bazaar: Bazaar) -> None:
    bazaar.world.configure(default_wallet_currency="NGN")
    user = creator(bazaar)
    bazaar.paid(creator_id=user)
    shown = bazaar.world.run(JOB, dry_run=True).document["counts"]
    counts = bazaar.world.run(JOB).counts
    assert counts == {FIRST: 1, PLATFORM: 1}
    assert {name: number for name, number in shown.items() if name in (FIRST, ESCROW, PLATFORM)} == counts
    assert owners(bazaar) == {(user, "NGN"), (None, "NGN")}


def test_many_get_theirs_at_once(bazaar: Bazaar) -> None:
    for user in bazaar.world.messages(5):
        bazaar.world.change(users, user, verified_at=ago(days=1))
    assert bazaar.world.run(JOB).counts == {FIRST: 5}
    assert len({each.row_id for each in bazaar.world.trail()}) == 5


def test_since_bounds_the_verification(bazaar: Bazaar) -> None:
    creator(bazaar)
    assert bazaar.world.run(JOB, since=NOW - timedelta(hours=1)).counts == {}
    assert bazaar.world.run(JOB, since=NOW - timedelta(days=2)).counts == {FIRST: 1}


def test_a_dry_run_shows_the_wallets(bazaar: Bazaar) -> None:
    user = creator(bazaar)
    before = bazaar.world.everything()
    shown = bazaar.world.run(JOB, dry_run=True).document["rows"]
    assert bazaar.world.everything() == before
    (new,) = [each["after"] for each in shown if each["table"] == "wallets"]
    assert (new["user_id"], new["currency"]) == (user, "USD")


@pytest.mark.only("postgresql")
def test_who_is_deleted_meanwhile_gets_none(bazaar: Bazaar) -> None:
    user = creator(bazaar)
    bazaar.wallet(user, currency="USD")
    bazaar.paid(creator_id=user)
    with bazaar.world.engine.connect() as rival, rival.begin():
        rival.execute(update(users).where(users.c.id == user).values(deleted_at=NOW))
        process = bazaar.world.process(JOB)
        postgres.await_waiting(str(bazaar.world.settings.database_url), 1)
        rival.commit()
        process.communicate(timeout=60)
    assert process.returncode == Exit.DONE
    assert owners(bazaar) == {(user, "USD"), (None, "NGN")}


@pytest.mark.only("postgresql")
@pytest.mark.parametrize("whose", [FIRST, ESCROW, PLATFORM])
def test_one_that_the_application_makes_meanwhile_is_the_only_one(bazaar: Bazaar, whose: str) -> None:
    user = creator(bazaar)
    if whose != FIRST:
        bazaar.wallet(user, currency="USD")
        bazaar.paid(creator_id=user)
    if whose == PLATFORM:
        bazaar.wallet(user, currency="NGN")
    currency = "USD" if whose == FIRST else "NGN"
    mine = {"kind": "platform"} if whose == PLATFORM else {"user_id": user}
    made = insert(wallets).values(**mine, currency=currency, created_at=NOW)
    done = while_held(bazaar.world, made, lambda: bazaar.world.run(JOB))
    assert (done.exit_code, whose in done.counts) == (Exit.DONE, False)
    owner = None if whose == PLATFORM else user
    assert [each.currency for each in bazaar.world.rows(wallets) if each.user_id == owner].count(
        currency
    ) == 1
