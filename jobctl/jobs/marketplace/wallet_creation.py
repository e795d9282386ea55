"""Give verified users the wallets that they lack.

Each gets one in DEFAULT_WALLET_CURRENCY, and one in every currency in which an escrow of theirs waits. So
does the platform, whose fee waits with it.
"""

from sqlalchemy import ColumnElement, FromClause, and_, exists, or_, select

from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.tables.marketplace import requests, wallet_transactions, wallets
from jobctl.tables.notifications import users
from jobctl.tables.types import inline

held = wallet_transactions.c
with_creators = wallet_transactions.join(requests, requests.c.id == held.request_id).join(
    users, users.c.id == requests.c.creator_id
)
earlier, askers = wallet_transactions.alias("earlier"), requests.alias("askers")


def waiting(rows: FromClause) -> list[ColumnElement[bool]]:
    return [rows.c.status == inline("completed"), rows.c.escrow_status == inline("pending")]


def verified(_: At) -> Due:
    return Due(
        users,
        {
            "the user is verified": users.c.verified_at.is_not(None),
            "the user is still here": users.c.deleted_at.is_(None),
            "the user has no wallet": ~exists(select(wallets.c.id).where(wallets.c.user_id == users.c.id)),
        },
        since=users.c.verified_at,
        waits_since=users.c.verified_at,
    )


def first(at: At, batch: BatchChanges) -> None:
    usual = at.settings.default_wallet_currency
    batch.insert(wallets, user_id=users.c.id, currency=usual, created_at=at.now)


def lacking(has_one: ColumnElement[bool], same: ColumnElement[bool]) -> dict[str, ColumnElement[bool]]:
    """Hold for the oldest of the escrows that wait for the same wallet, so that each is made once."""
    before = earlier.join(askers, askers.c.id == earlier.c.request_id)
    older = select(earlier.c.id).select_from(before).where(*waiting(earlier), earlier.c.id < held.id, same)
    return {
        "there is no wallet of that owner in its currency": ~exists(select(wallets.c.id).where(has_one)),
        "it is the oldest that waits for that wallet": ~exists(older),
    }


def creators(at: At) -> Due:
    theirs = (wallets.c.user_id == requests.c.creator_id) & (wallets.c.currency == held.currency)
    same = (askers.c.creator_id == requests.c.creator_id) & (earlier.c.currency == held.currency)
    return Due(
        with_creators,
        {
            "its payment is completed, and still in escrow": and_(*waiting(wallet_transactions)),
            "its creator is verified": users.c.verified_at.is_not(None),
            "its creator is still here": users.c.deleted_at.is_(None),
            "it waits for another wallet than the first, which every verified user gets": or_(
                held.currency != at.settings.default_wallet_currency,
                exists(select(wallets.c.id).where(wallets.c.user_id == users.c.id)),
            ),
            **lacking(theirs, same),
        },
        since=users.c.verified_at,
        locks=[users],
    )


def in_its_currency(at: At, batch: BatchChanges) -> None:
    creator = requests.c.creator_id
    batch.insert(wallets, user_id=creator, currency=held.currency, created_at=at.now)


def platform(_: At) -> Due:
    has_one = (wallets.c.kind == inline("platform")) & (wallets.c.currency == held.currency)
    return Due(
        wallet_transactions,
        {
            "its payment is completed, and still in escrow": and_(*waiting(wallet_transactions)),
            **lacking(has_one, earlier.c.currency == held.currency),
        },
        since=held.created_at,
    )


def of_the_platform(at: At, batch: BatchChanges) -> None:
    batch.insert(wallets, kind="platform", currency=held.currency, created_at=at.now)


JOB = (
    SetStep(verified, first, "given a first wallet"),
    SetStep(creators, in_its_currency, "given one for their escrow"),
    SetStep(platform, of_the_platform, "made for the platform"),
)
