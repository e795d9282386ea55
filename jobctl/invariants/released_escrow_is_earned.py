"""Escrow is released only of a completed payment, and for a completed request."""

from sqlalchemy import or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.marketplace import requests, wallet_transactions
from jobctl.tables.types import inline

ours = wallet_transactions.c
# Those that are still to be completed are few, whatever there is of the others.
unearned = select(requests.c.id).where(requests.c.status != inline("completed"))
broken = select(ours.id, ours.status, ours.request_id, ours.released_at).where(
    ours.escrow_status == inline("released"),
    or_(
        ours.status != inline("completed"),
        ours.request_id.is_(None),
        ours.request_id.in_(unearned),
    ),
)

RULE = Rule(__name__, __doc__, wallet_transactions, broken)
