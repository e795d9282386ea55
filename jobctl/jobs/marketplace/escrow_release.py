"""Release escrow to creators' wallets once their work is completed, less the platform's fee.

The fee is the percentage that the payment was made with, rounded half to even. Each release is a posting of
the ledger: out of escrow, into the creator's wallet and the platform's. Frozen wallets accept it, closed ones
don't; without a wallet the money stays where it is until there is one. What is being given back, or was, is
not released, and of a request only one payment is.
"""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select

from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.journal import undisturbed
from jobctl.parsing import WHOLE
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import ledger_entries, ledger_postings, requests, wallet_transactions, wallets
from jobctl.tables.types import inline

ours, operations = wallet_transactions.c, money_operations.c
TRANSACTION: str = wallet_transactions.info["subject"]
others = wallet_transactions.alias("others")
creators, platform = wallets.alias("creators"), wallets.alias("platform")
of_creator = and_(creators.c.user_id == requests.c.creator_id, creators.c.currency == ours.currency)
of_platform = and_(platform.c.kind == inline("platform"), platform.c.currency == ours.currency)
with_wallets = (
    wallet_transactions.join(requests, requests.c.id == ours.request_id)
    .outerjoin(creators, of_creator)
    .outerjoin(platform, of_platform)
)
into_creators = creators.c.status.in_([inline("active"), inline("frozen")])
into_platform = platform.c.status.in_([inline("active"), inline("frozen")])

refunded = exists(
    select(operations.id).where(
        operations.subject == inline(TRANSACTION),
        operations.subject_id == ours.id,
        operations.kind == inline("refund"),
        operations.status == inline("succeeded"),
    )
)
in_escrow = (others.c.status == inline("completed")) & (others.c.escrow_status == inline("pending"))
before = exists(
    select(others.c.id).where(
        others.c.request_id == ours.request_id,
        others.c.id != ours.id,
        or_(others.c.escrow_status == inline("released"), in_escrow & (others.c.id < ours.id)),
    )
)


@cache
def fee(usual: int) -> ColumnElement[int]:
    """Work out the platform's share, half a minor unit to the even one; usual: in basis points."""
    product = ours.amount_minor * func.coalesce(ours.fee_basis_points, usual)
    whole, rest = product // WHOLE, product % WHOLE
    up = or_(rest * 2 > WHOLE, and_(rest * 2 == WHOLE, whole % 2 == 1))
    return case((up, whole + 1), else_=whole)


def released(at: At, wallets_of_both: dict[str, ColumnElement[bool]]) -> Due:
    return Due(
        with_wallets,
        {
            "its payment is completed": ours.status == inline("completed"),
            "it is still in escrow": ours.escrow_status == inline("pending"),
            "its request is completed": requests.c.status == inline("completed"),
            "no dispute about it is open": or_(
                requests.c.dispute.is_(None), requests.c.dispute != inline("open")
            ),
            **undisturbed(TRANSACTION, ours.id),
            "it was not given back": ours.refunded_at.is_(None) & ~refunded,
            "no other payment of its request was released, or is older and in escrow too": ~before,
            **wallets_of_both,
        },
        since=requests.c.completed_at,
        read={"fee": fee(at.settings.platform_fee_percent.points)},
        locks=[requests],
        locks_then=[creators, platform],
    )


def due(at: At) -> Due:
    return released(
        at,
        {
            "its creator has a wallet in its currency that is not closed": into_creators,
            "so has the platform": into_platform,
        },
    )


def change(at: At, batch: BatchChanges) -> None:
    share = fee(at.settings.platform_fee_percent.points)
    batch.update(
        escrow_status="released",
        released_at=at.now,
        release_reason="request completed",
        fee_basis_points=func.coalesce(ours.fee_basis_points, at.settings.platform_fee_percent.points),
    )
    of_release: dict[str, Any] = {"wallet_transaction_id": ours.id, "kind": "release"}
    batch.insert(ledger_postings, **of_release, currency=ours.currency, created_at=at.now)
    lines = (
        ("escrow", None, -ours.amount_minor),
        ("wallet", creators.c.id, ours.amount_minor - share),
        ("wallet", platform.c.id, share),
    )
    for line, (account, wallet, amount) in enumerate(lines, 1):
        entry: dict[str, Any] = {
            "line": line,
            "account": account,
            "wallet_id": wallet,
            "amount_minor": amount,
        }
        batch.insert(ledger_entries, **of_release, **entry)
        if wallet is not None:
            batch.add(wallets, wallet, balance_minor=amount)


def without(at: At) -> Due:
    either = or_(func.coalesce(~into_creators, True), func.coalesce(~into_platform, True))
    return released(at, {"its creator or the platform has no such wallet": either})


def report(_: At, batch: BatchChanges) -> None:
    batch.error(
        "its creator, or the platform, has no open wallet in its currency: jobctl wallet-creation makes what "
        "there never was, for creators who are verified; a closed one somebody has to open again"
    )


JOB = (SetStep(due, change, "released"), SetStep(without, report, "without a wallet"))
