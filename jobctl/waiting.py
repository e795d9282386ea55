"""Where money waits and no job takes it up, or would have by now: told by `jobctl health`.

What contradicts itself is an invariant's to tell. What is here may be right, and a person has to look why it
takes so long. Each look-up leans on an index, since a probe waits for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, and_, func, or_, select

from jobctl.settings import Settings
from jobctl.tables.findings import findings
from jobctl.tables.findings import waiting as undecided
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import requests, wallet_transactions
from jobctl.tables.sessions import orders, sessions
from jobctl.tables.subscriptions import payments
from jobctl.tables.types import inline

DAY = timedelta(days=1)
MOST = 1000  # that are counted: a backlog of millions is a backlog
NAMED = 3


@dataclass(frozen=True)
class Wait:
    """Rows that wait too long: what is said of them, since when each waits, and how long it may."""

    said: str
    rows: FromClause
    key: ColumnElement[int]
    since: ColumnElement[Any]
    where: ColumnElement[bool]
    longest: timedelta


def waits(settings: Settings) -> tuple[Wait, ...]:
    held = wallet_transactions.c
    with_request = wallet_transactions.join(requests, requests.c.id == held.request_id)
    in_escrow = and_(held.status == inline("completed"), held.escrow_status == inline("pending"))
    disputed = func.coalesce(requests.c.dispute == inline("open"), False)

    def escrow(said: str, since: ColumnElement[Any], where: ColumnElement[bool], days: int) -> Wait:
        return Wait(said, with_request, held.id, since, and_(in_escrow, where), days * DAY)

    return (
        Wait(
            "orders with money on hold, of a session that is over (jobctl why session-payment-processor ID):",
            orders.join(sessions, sessions.c.id == orders.c.session_id),
            orders.c.id,
            sessions.c.over_at,
            orders.c.payment_status == inline("authorized"),
            2 * DAY,
        ),
        Wait(
            "sessions that are over, and nobody knows who came (jobctl why session-attendance-analyzer ID):",
            sessions,
            sessions.c.id,
            sessions.c.over_at,
            and_(sessions.c.attendance.is_(None), sessions.c.status != inline("cancelled")),
            DAY,
        ),
        escrow(
            "payments in escrow of a completed request (jobctl why escrow-release ID):",
            requests.c.completed_at,
            and_(requests.c.status == inline("completed"), ~disputed),
            2,
        ),
        escrow(
            "payments in escrow of a request that was declined: give them back, by docs/marketplace.md",
            requests.c.declined_at,
            requests.c.status == inline("declined"),
            1,
        ),
        escrow(
            "payments in escrow of a request that is not completed, or disputed: ask both parties",
            func.coalesce(held.paid_at, held.created_at),
            or_(requests.c.status.in_([inline("pending"), inline("in_progress")]), disputed),
            30,
        ),
        Wait(
            "payments into escrow that are pending (jobctl why payment-cleanup ID):",
            wallet_transactions,
            held.id,
            held.created_at,
            and_(held.status == inline("pending"), held.escrow_status == inline("pending")),
            max(settings.payment_verify_give_up, settings.request_payment_timeout) + 2 * DAY,
        ),
        Wait(
            "payments that are pending (jobctl why matching-pending-payments ID):",
            payments,
            payments.c.id,
            payments.c.created_at,
            payments.c.status == inline("pending"),
            settings.payment_pending_max_age + 2 * DAY,
        ),
        Wait(
            "money operations that are not settled (jobctl why settle-operations ID):",
            money_operations,
            money_operations.c.id,
            money_operations.c.created_at,
            money_operations.c.settled_at.is_(None),
            DAY,
        ),
        Wait(
            "findings that keep money waiting (jobctl findings show ID):",
            findings,
            findings.c.id,
            findings.c.found_at,
            undecided,
            2 * DAY,
        ),
    )


def too_long(connection: Connection, now: datetime, settings: Settings) -> Iterator[str]:
    """Say of each kind how many rows wait too long, since when the first of them does, and which."""
    for each in waits(settings):
        late = each.since <= now - each.longest
        rows = select(each.key.label("id"), each.since.label("since")).select_from(each.rows)
        first = rows.where(each.where, late).limit(MOST).subquery()
        count, since = connection.execute(select(func.count(), func.min(first.c.since))).one()
        if count:
            ids = connection.scalars(select(first.c.id).order_by(first.c.since, first.c.id).limit(NAMED))
            named = " ".join(map(str, ids)) + (" …" if count > NAMED else "")
            number = f"{count:,}" + (" or more" if count == MOST else "")
            yield f"{number} {each.said} {named} (since {since:%Y-%m-%d})"
