"""The entries of a posting sum to zero, and are two at least.

The database keeps a sum of its own (`balance_minor`); this one is taken of the entries themselves.
"""

from sqlalchemy import func, or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.marketplace import ledger_entries, ledger_postings

ours, entries = ledger_postings.c, ledger_entries.c
sums = (
    select(
        entries.wallet_transaction_id,
        entries.kind,
        func.sum(entries.amount_minor).label("sum_minor"),
        func.count().label("entries"),
    )
    .group_by(entries.wallet_transaction_id, entries.kind)
    .subquery("sums")
)
of_it = (sums.c.wallet_transaction_id == ours.wallet_transaction_id) & (sums.c.kind == ours.kind)
total = func.coalesce(sums.c.sum_minor, 0).label("sum_minor")
number = func.coalesce(sums.c.entries, 0).label("entries")
broken = (
    select(ours.id, ours.wallet_transaction_id, ours.kind, ours.currency, total, number)
    .select_from(ledger_postings.outerjoin(sums, of_it))
    .where(or_(total != 0, number < 2))  # noqa: PLR2004 (out of one account, into another)
)

RULE = Rule(__name__, __doc__, ledger_postings, broken)
