"""Checkout sessions: what the billing service was asked to take, and what became of it.

The application opens them; checkout-session-monitor asks about them. Their ids are text, as the application
gives them.
"""

from sqlalchemy import Column, Table, Text

from jobctl.tables.types import Id, Instant, Present, forms, index, inline, metadata, one_of

CHECKOUT_STATUSES = ("open", "success", "failure", "timeout")
# From what to what the status may change; nothing else may.
CHECKOUT_TRANSITIONS = {"open": {"success", "failure", "timeout"}}

_checkout_session = (
    Column("id", Text, primary_key=True),
    Column("billing_checkout_id", Text),
    Column("billing_order_id", Text),
    Column("status", Text, nullable=False, server_default="open"),
    Column("opened_at", Instant, nullable=False, server_default=Present()),
    Column("closed_at", Instant),
    Column("claimed_by", Id),
)
checkout_session = Table(
    "checkout_session",
    metadata,
    *_checkout_session,
    one_of("status", CHECKOUT_STATUSES),
    *forms(*_checkout_session),
    info={"transitions": {"status": CHECKOUT_TRANSITIONS}},
)
_of = checkout_session.c
index("ix_checkout_session_open", _of.opened_at, _of.id, where=_of.status == inline("open"))
index("ix_checkout_session_claimed_by", _of.claimed_by, where=_of.claimed_by.is_not(None))
