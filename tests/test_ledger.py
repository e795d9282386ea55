"""The database itself keeps the ledger: sets that don't balance, and changes, are refused."""

from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from jobctl.tables.marketplace import ledger_entries, ledger_postings
from tests.bazaar import Bazaar
from tests.world import NOW


def posting(transaction: int, **values: Any) -> dict[str, Any]:
    given = {"wallet_transaction_id": transaction, "kind": "release", "currency": "NGN", "created_at": NOW}
    return given | values


def entries(transaction: int, *amounts: int, first: int = 1) -> list[dict[str, Any]]:
    return [
        {
            "wallet_transaction_id": transaction,
            "kind": "release",
            "line": line,
            "account": "escrow",
            "amount_minor": amount,
        }
        for line, amount in enumerate(amounts, first)
    ]


def posted(connection: Connection, transaction: int, *amounts: int) -> None:
    connection.execute(insert(ledger_postings).values(posting(transaction)))
    connection.execute(insert(ledger_entries).values(entries(transaction, *amounts)))


def commit(bazaar: Bazaar, *statements: Any) -> None:
    with bazaar.world.engine.begin() as connection:
        for each in statements:
            connection.execute(each)


def test_a_set_that_sums_to_zero_is_taken(bazaar: Bazaar) -> None:
    transaction = bazaar.paid()
    with bazaar.world.engine.begin() as connection:
        posted(connection, transaction, -10_000, 9_000, 1_000)
    assert [each.amount_minor for each in bazaar.world.rows(ledger_entries)] == [-10_000, 9_000, 1_000]


def test_so_is_one_that_is_entered_one_by_one(bazaar: Bazaar) -> None:
    transaction = bazaar.paid()
    with bazaar.world.engine.begin() as connection:
        connection.execute(insert(ledger_postings).values(posting(transaction)))
        for each in entries(transaction, -10_000, 9_000, 1_000):
            connection.execute(insert(ledger_entries).values(each))
    assert len(bazaar.world.rows(ledger_entries)) == 3


@pytest.mark.parametrize("amounts", [(-10_000, 9_000, 999), (5,), (-10_000, 10_000, 1)], ids=str)
def test_one_that_does_not_is_refused(bazaar: Bazaar, amounts: tuple[int, ...]) -> None:
    transaction = bazaar.paid()
    with pytest.raises(IntegrityError), bazaar.world.engine.begin() as connection:
        posted(connection, transaction, *amounts)
    assert bazaar.world.rows(ledger_postings) == []


def test_two_that_balance_together_are_refused(bazaar: Bazaar) -> None:
    first, second = bazaar.paid(), bazaar.paid()
    both = [posting(first), posting(second)], [*entries(first, -5), *entries(second, 5)]
    with pytest.raises(IntegrityError):
        commit(bazaar, insert(ledger_postings).values(both[0]), insert(ledger_entries).values(both[1]))


def test_an_entry_of_no_posting_is_refused(bazaar: Bazaar) -> None:
    transaction = bazaar.paid()
    with pytest.raises(IntegrityError), bazaar.world.engine.begin() as connection:
        connection.execute(insert(ledger_entries).values(entries(transaction, 0)))


@pytest.mark.parametrize(
    "change",
    [
        update(ledger_entries).values(amount_minor=0),
        delete(ledger_entries),
        delete(ledger_postings),
        update(ledger_postings).values(currency="USD"),
        update(ledger_postings).values(balance_minor=1),
        insert(ledger_entries).values(entries(1, 5, first=4)),
        # Another set for what was posted already.
        insert(ledger_postings).values(posting(1)),
        # A sum that would hide what is missing.
        insert(ledger_postings).values(posting(2, balance_minor=5)),
    ],
    ids=str,
)
def test_what_is_in_it_stays(bazaar: Bazaar, change: Any) -> None:
    first, _ = bazaar.paid(), bazaar.paid()
    with bazaar.world.engine.begin() as connection:
        posted(connection, first, -10_000, 9_000, 1_000)
    before = bazaar.world.everything()
    with pytest.raises(DBAPIError), bazaar.world.engine.begin() as connection:
        connection.execute(change)
    assert bazaar.world.everything() == before


def test_its_sums_are_nobody_elses(bazaar: Bazaar) -> None:
    transaction = bazaar.paid()
    entered = (
        insert(ledger_postings).values(posting(transaction)),
        insert(ledger_entries).values(entries(transaction, 5)),
    )
    with pytest.raises(DBAPIError):
        commit(bazaar, *entered, update(ledger_postings).values(balance_minor=0))


@pytest.mark.only("postgresql")  # SQLite has no TRUNCATE
def test_nor_is_it_emptied(bazaar: Bazaar) -> None:
    with pytest.raises(DBAPIError), bazaar.world.engine.begin() as connection:
        connection.execute(text("TRUNCATE ledger_entries"))
