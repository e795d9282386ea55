"""Hold the price of coming sessions on the customer's card.

A hold is placed once the session is near enough for it to last until the session is over, and placed anew
where it would not; session-payment-processor takes the money. Whose card declines is asked for another one.
Nothing is held on a card that is not the customer's own, or for a customer who is gone: that needs a person.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, literal, null, or_

from jobctl.job import Ask, At, BatchChanges, Due, Look, MoneyChanges, MoneyStep, SetStep
from jobctl.jobs.sessions.paying import NOT_THEIRS, ORDER, READ, Order, in_full, is_own, is_there
from jobctl.journal import Operation, undisturbed
from jobctl.providers.protocol import Authorize, Declined, Release, Succeeded
from jobctl.tables.sessions import awaiting_payment, orders, sessions
from jobctl.tables.types import Later, inline

MARGIN = timedelta(hours=6)  # to capture in, after the session's end
PAUSE = timedelta(days=1)  # between attempts to renew a hold that lasts a while yet


nothing_held = orders.c.payment_status == inline("not_started")


def ends_too_early(at: At) -> ColumnElement[bool]:
    return and_(
        orders.c.payment_status == inline("authorized"),
        orders.c.hold_ends_at < Later(sessions.c.ends_at, MARGIN),
        or_(orders.c.payment_failed_at.is_(None), orders.c.payment_failed_at <= at.now - PAUSE),
    )


def due(at: At) -> Due:
    return to_be_held(
        at,
        {
            "nothing is held, or the hold ends too early and was not declined a renewal today": or_(
                nothing_held, ends_too_early(at)
            ),
            "its customer exists and was not deleted": is_there,
            "its payment method, if it has one, is the customer's own": is_own,
        },
    )


def to_be_held(at: At, which: dict[str, ColumnElement[bool]]) -> Due:
    return Due(
        in_full,
        {
            "it is complete": orders.c.status == inline("complete"),
            "it is unpaid, or something is held for it": awaiting_payment,
            **which,
            "its session is neither cancelled nor ended": sessions.c.status.in_(
                [inline("not_started"), inline("in_progress")]
            ),
            "its session should not be over": sessions.c.ends_at > at.now,
            "its session starts within PAYMENT_AUTHORIZATION_WINDOW": sessions.c.starts_at
            <= at.now + at.settings.payment_authorization_window,
            **undisturbed(ORDER, orders.c.id),
        },
        since=orders.c.created_at,
        read=READ,
        locks_first=True,
    )


def ask(at: At, order: Order) -> Ask | Declined:  # noqa: ARG001 (every step's ask has these)
    order.check_hold()
    if not order.provider or not order.method:
        return Declined("no_payment_method", "the order has no saved payment method")
    request = Authorize(order.amount, order.customer, order.method)
    return Ask(f"hold-{order.holds + 1}", order.provider, request, once=True)


def wanted(at: At, order: Order, operation: Operation, look: Look) -> bool:  # noqa: ARG001 (every step's has these)
    stands = order.status == "complete" and order.session_status != "cancelled"
    return stands and is_next(order, operation) and order.is_asked(operation)


def is_next(order: Order, operation: Operation) -> bool:
    """Tell whether a hold is the one that the order waits for; else another came before it."""
    unpaid = order.payment_status in ("not_started", "authorized")
    return unpaid and order.waits_for(operation)


def settle(
    at: At, order: Order, operation: Operation | None, answer: Succeeded | Declined, change: MoneyChanges
) -> str:
    if operation is not None and not is_next(order, operation):
        return "declined" if isinstance(answer, Declined) else "held too late"
    if isinstance(answer, Declined):
        return declined(at, order, answer, change)
    assert operation is not None, "a success without a request"
    change.update(
        payment_status="authorized",
        holds=order.holds + 1,
        payment_provider=operation.provider,
        payment_account=operation.account,
        payment_id=answer.payment_id,
        hold_ends_at=answer.hold_ends_at,
        authorized_at=at.present,
        payment_failed_at=None,
        payment_failure=None,
    )
    if order.payment_status != "authorized" or not order.payment_id or not order.payment_provider:
        return "held"
    # Only now: an expert must never be without a hold while the new one is uncertain.
    old = Release(order.payment_id)
    hold, account = f"hold-{order.holds}", order.payment_account
    change.ask(Ask(hold, order.payment_provider, old, account, follows=operation.id))
    return "held anew"


def declined(at: At, order: Order, answer: Declined, change: MoneyChanges) -> str:
    change.update(payment_failed_at=at.present, payment_failure=answer.code)
    last = until(at, order)
    part = "session" if order.parent_order_id is None else "extension"
    change.notify(
        "payment-card-declined",
        to=order.customer_id,
        once=[order.id, at.present],
        category="transactional",
        context={**order.told, "part": part, "until": last.isoformat() if last else None},
    )
    if order.payment_status == "authorized":  # the old hold is still there
        return "renewal declined"
    change.update(payment_status="authorization_failed")
    return "declined"


def until(at: At, order: Order) -> datetime | None:
    """Return when unpaid-session-canceller may cancel it; None where it won't, or may do so now."""
    if order.payment_status == "authorized":
        return None
    last = min(
        at.present + at.settings.unpaid_cancellation_window,
        order.starts_at - at.settings.unpaid_cancellation_lead,
    )
    return last if last > at.present else None


# ── what may not be held ─────────────────────────────────────────────────────────────────────────

IS_ANOTHERS = {"its customer is gone, or its payment method is another user's": ~and_(is_there, is_own)}
REASON = (
    "its customer is gone, or its payment method is another user's: find out who wrote that, and give it "
    "a payment method of its customer's own"
)


def anothers(at: At) -> Due:
    return to_be_held(at, {"nothing is held": nothing_held} | IS_ANOTHERS)


def refuse(at: At, batch: BatchChanges) -> None:
    """Let it fail as a card that declines, so that the customer is asked for another one."""
    batch.update(payment_status="authorization_failed", payment_failed_at=at.now, payment_failure=NOT_THEIRS)
    batch.error(REASON)
    amount = {"minor": orders.c.amount_minor, "currency": orders.c.currency}
    part = case((orders.c.parent_order_id.is_(None), inline("session")), else_=inline("extension"))
    batch.notify(
        "payment-card-declined",
        to=orders.c.customer_id,
        once=[orders.c.id, at.now],
        category="transactional",
        context={
            "amount": amount,
            "starts_at": sessions.c.starts_at,
            "part": part,
            "until": until_then(at),
        },
    )


def until_then(at: At) -> ColumnElement[Any]:
    """Say over the rows of a batch what `until` says of one that was refused."""
    window, lead = at.settings.unpaid_cancellation_window, at.settings.unpaid_cancellation_lead
    starts_at, end = sessions.c.starts_at, at.now + window
    return case(
        (starts_at > end + lead, literal(end, starts_at.type)),
        (starts_at > at.now + lead, Later(starts_at, -lead)),
        else_=null(),
    )


def anothers_hold(at: At) -> Due:
    early = {"the hold ends too early and was not declined a renewal today": ends_too_early(at)}
    return to_be_held(at, early | IS_ANOTHERS)


def leave(at: At, batch: BatchChanges) -> None:
    batch.update(payment_failed_at=at.now, payment_failure=NOT_THEIRS)
    batch.error(REASON)


HOLDS = MoneyStep(
    subject=ORDER,
    kinds=("authorize",),
    row=Order,
    due=due,
    ask=ask,
    wanted=wanted,
    settle=settle,
    concurrency=lambda settings: settings.payment_concurrency,
)

JOB = (
    SetStep(anothers, refuse, "refused"),
    SetStep(anothers_hold, leave, "renewals refused"),
    HOLDS,
)
