"""Escrow is released only of a completed payment, and for a completed request."""

from sqlalchemy import or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.marketplace import requests, wallet_transactions
from jobctl.tables.types import inline

ours = wallet_transactions.c
broken = (
    select(ours.id, ours.status, ours.request_id, requests.c.status.label("request_status"))
    .select_from(wallet_transactions.outerjoin(requests, requests.c.id == ours.request_id))
    .where(
        ours.escrow_status == inline("released"),
        or_(
            ours.status != inline("completed"),
            requests.c.status.is_distinct_from(inline("completed")),
        ),
    )
)

RULE = Rule(__name__, __doc__, wallet_transactions, broken)
