"""Cancel sessions whose price could not be held on the customer's card.

The customer has some time to give another card, less where the session starts soon. Both participants are
told, and what other orders of the session have on hold is released. Once a session has begun nothing is
cancelled any more: its payment has failed, and a person is told. An extension goes alone.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select

from jobctl.job import Ask, At, BatchChanges, Due, SetStep
from jobctl.jobs.sessions.paying import ORDER
from jobctl.journal import nothing_open, undisturbed
from jobctl.providers.protocol import Release
from jobctl.tables.sessions import orders, sessions
from jobctl.tables.types import inline

ours = orders.c
siblings = orders.alias("siblings")
of_session = siblings.c.session_id == ours.session_id
with_session = orders.join(sessions, sessions.c.id == ours.session_id)


def failed(at: At, *, begun: bool, parent: bool) -> dict[str, ColumnElement[bool]]:
    has_begun = or_(sessions.c.status != inline("not_started"), sessions.c.starts_at <= at.now)
    order = "it is the order of a session" if parent else "it is the order of an extension"
    return {
        order: ours.parent_order_id.is_(None) if parent else ours.parent_order_id.is_not(None),
        "it is not cancelled": ours.status == inline("complete"),
        "its price could not be held": ours.payment_status == inline("authorization_failed"),
        "its session is not cancelled": sessions.c.status != inline("cancelled"),
        **({"its session has begun": has_begun} if begun else {"its session has not begun": ~has_begun}),
        **undisturbed(ORDER, ours.id),
    }


def time_is_up(at: At) -> ColumnElement[bool]:
    return or_(
        ours.payment_failed_at <= at.now - at.settings.unpaid_cancellation_window,
        sessions.c.starts_at <= at.now + at.settings.unpaid_cancellation_lead,
    )


def those(conditions: dict[str, ColumnElement[bool]]) -> Due:
    return Due(with_session, conditions, since=ours.payment_failed_at, locks=[sessions], locks_first=True)


def unpaid(at: At) -> Due:
    captured = exists(
        select(siblings.c.id).where(of_session, siblings.c.payment_status == inline("captured"))
    )
    under_way = exists(select(siblings.c.id).where(of_session, ~nothing_open(ORDER, siblings.c.id)))
    conditions = failed(at, begun=False, parent=True) | {
        "UNPAID_CANCELLATION_WINDOW has passed, or it starts within UNPAID_CANCELLATION_LEAD": time_is_up(at),
        "no order of its session was captured": ~captured,
        "no money operation on an order of its session is open": ~under_way,
    }
    return those(conditions)


def cancel(at: At, batch: BatchChanges) -> None:
    batch.update(status="cancelled", cancelled_at=at.now)
    batch.update_beside(
        sessions,
        sessions.c.id == ours.session_id,
        status="cancelled",
        cancelled_at=at.now,
        cancellation_reason="unpaid",
    )
    batch.update_beside(
        orders,
        and_(orders.c.session_id == sessions.c.id, orders.c.parent_order_id.is_not(None)),
        status="cancelled",
        cancelled_at=at.now,
    )
    for participant in (sessions.c.expert_id, sessions.c.consumer_id):
        batch.notify(
            "session-cancelled-unpaid",
            to=participant,
            once=[sessions.c.id],
            category="session",
            context={"starts_at": sessions.c.starts_at},
        )
    names = ("id", "holds", "payment_provider", "payment_account", "payment_id")
    held = select(*(siblings.c[name] for name in names))
    batch.ask(
        ORDER,
        held.join(orders, of_session).where(siblings.c.payment_status == inline("authorized")),
        release,
    )


def release(order: Any) -> Ask:
    hold = Release(order.payment_id)
    return Ask(f"hold-{order.holds}", order.payment_provider, hold, order.payment_account)


def unpaid_extension(at: At) -> Due:
    return those(failed(at, begun=False, parent=False) | {"its time is up": time_is_up(at)})


def cancel_extension(at: At, batch: BatchChanges) -> None:
    batch.update(status="cancelled", cancelled_at=at.now)


def begun(at: At) -> Due:
    return those(failed(at, begun=True, parent=True))


def begun_extension(at: At) -> Due:
    # Agreed in the session itself, it would else never have its time for another card.
    late = ours.payment_failed_at <= at.now - at.settings.unpaid_cancellation_window
    conditions = failed(at, begun=True, parent=False)
    return those(conditions | {"UNPAID_CANCELLATION_WINDOW has passed": late})


def give_up(at: At, batch: BatchChanges) -> None:  # noqa: ARG001 (every step's change has these)
    batch.update(payment_status="capture_failed")
    batch.error("its session has begun, and its price could not be held")


JOB = (
    SetStep(unpaid, cancel, "cancelled"),
    SetStep(unpaid_extension, cancel_extension, "extensions cancelled"),
    SetStep(begun, give_up, "given up"),
    SetStep(begun_extension, give_up, "extensions given up"),
)
