"""An entry's wallet is in the currency of its posting."""

from sqlalchemy import select

from jobctl.invariants.rule import Rule
from jobctl.tables.marketplace import ledger_entries, ledger_postings, wallets

ours, postings = ledger_entries.c, ledger_postings.c
posted = (postings.wallet_transaction_id == ours.wallet_transaction_id) & (postings.kind == ours.kind)
broken = (
    select(
        ours.id,
        ours.wallet_transaction_id,
        ours.wallet_id,
        ours.amount_minor,
        postings.currency,
        wallets.c.currency.label("wallet_currency"),
    )
    .select_from(ledger_entries.join(ledger_postings, posted).join(wallets, wallets.c.id == ours.wallet_id))
    .where(wallets.c.currency != postings.currency)
)

RULE = Rule(__name__, __doc__, ledger_entries, broken)
