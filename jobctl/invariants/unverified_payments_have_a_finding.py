"""A payment that is unverified has an open finding, so that a person decides what it is."""

from sqlalchemy import exists, select

from jobctl.invariants.rule import Rule
from jobctl.tables.findings import findings
from jobctl.tables.marketplace import wallet_transactions
from jobctl.tables.types import inline

ours = wallet_transactions.c
of_it = ours.provider + inline(".") + ours.reference
found_as = [inline(f"{kind}.") + of_it for kind in ("payment unverified", "payment mismatch")]
found = exists(
    select(findings.c.id).where(findings.c.once_key.in_(found_as), findings.c.status == inline("open"))
)
broken = select(
    ours.id, ours.request_id, ours.provider, ours.reference, ours.amount_minor, ours.currency
).where(ours.status == inline("unverified"), ~found)

RULE = Rule(__name__, __doc__, wallet_transactions, broken)
