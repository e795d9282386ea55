"""An escrow is released at most once: wallets got its whole amount if it is released, else nothing.

All postings of the kind `release` count, however many there are of a transaction, and all their entries.
"""

from sqlalchemy import and_, func, or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.marketplace import ledger_entries, wallet_transactions
from jobctl.tables.types import inline

ours, entries = wallet_transactions.c, ledger_entries.c
releases = (
    select(entries.wallet_transaction_id, func.sum(entries.amount_minor).label("released_minor"))
    .where(entries.kind == inline("release"), entries.wallet_id.is_not(None))
    .group_by(entries.wallet_transaction_id)
    .subquery("releases")
)
is_released = ours.escrow_status == inline("released")
broken = (
    select(ours.id, ours.escrow_status, ours.currency, ours.amount_minor, releases.c.released_minor)
    .select_from(wallet_transactions.outerjoin(releases, releases.c.wallet_transaction_id == ours.id))
    .where(
        or_(
            and_(is_released, releases.c.released_minor.is_distinct_from(ours.amount_minor)),
            and_(
                ours.escrow_status.is_distinct_from(inline("released")),
                releases.c.wallet_transaction_id.is_not(None),
            ),
        )
    )
)

RULE = Rule(__name__, __doc__, wallet_transactions, broken)
