"""A wallet's balance is the sum of its ledger entries."""

from sqlalchemy import func, select

from jobctl.invariants.rule import Rule
from jobctl.tables.marketplace import ledger_entries, wallets

ours, entries = wallets.c, ledger_entries.c
sums = (
    select(entries.wallet_id, func.sum(entries.amount_minor).label("entered_minor"))
    .group_by(entries.wallet_id)
    .subquery("sums")
)
entered = func.coalesce(sums.c.entered_minor, 0).label("entered_minor")
broken = (
    select(ours.id, ours.currency, ours.balance_minor, entered)
    .select_from(wallets.outerjoin(sums, sums.c.wallet_id == ours.id))
    .where(ours.balance_minor != entered)
)

RULE = Rule(__name__, __doc__, wallets, broken)
