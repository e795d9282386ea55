"""Hold the price of coming sessions on the customer's card.

A hold is placed once the session is near enough for it to last until the session is over, and placed anew
where it would not; session-payment-processor takes the money. Whose card declines is asked for another one.
"""

from datetime import datetime, timedelta

from sqlalchemy import and_, or_

from jobctl.job import Ask, At, Due, Look, MoneyChanges, MoneyStep
from jobctl.jobs.sessions.paying import ORDER, READ, Order, in_full
from jobctl.journal import Operation, nothing_open
from jobctl.providers.protocol import Authorize, Declined, Release, Succeeded
from jobctl.tables.sessions import awaiting_payment, orders, sessions
from jobctl.tables.types import Later, inline

MARGIN = timedelta(hours=6)  # to capture in, after the session's end
PAUSE = timedelta(days=1)  # between attempts to renew a hold that lasts a while yet


def due(at: At) -> Due:
    nothing_held = orders.c.payment_status == inline("not_started")
    ends_too_early = and_(
        orders.c.payment_status == inline("authorized"),
        orders.c.hold_ends_at < Later(sessions.c.ends_at, MARGIN),
        or_(orders.c.payment_failed_at.is_(None), orders.c.payment_failed_at <= at.now - PAUSE),
    )
    return Due(
        in_full,
        {
            "it is complete": orders.c.status == inline("complete"),
            "it is unpaid, or something is held for it": awaiting_payment,
            "nothing is held, or the hold ends too early and was not declined a renewal today": or_(
                nothing_held, ends_too_early
            ),
            "its session is neither cancelled nor ended": sessions.c.status.in_(
                [inline("not_started"), inline("in_progress")]
            ),
            "its session should not be over": sessions.c.ends_at > at.now,
            "its session starts within PAYMENT_AUTHORIZATION_WINDOW": sessions.c.starts_at
            <= at.now + at.settings.payment_authorization_window,
            "no money operation on it is open": nothing_open(ORDER, orders.c.id),
        },
        since=orders.c.created_at,
        read=READ,
    )


def ask(at: At, order: Order) -> Ask | Declined:  # noqa: ARG001 (every step's ask has these)
    if not order.provider or not order.customer or not order.method:
        return Declined("no_payment_method", "the order has no saved payment method", needs_customer=True)
    request = Authorize(order.amount, order.customer, order.method)
    return Ask(f"hold-{order.holds + 1}", order.provider, request)


def wanted(at: At, order: Order, operation: Operation, look: Look) -> bool:  # noqa: ARG001 (every step's has these)
    stands = order.status == "complete" and order.session_status != "cancelled"
    return stands and is_next(order, operation)


def is_next(order: Order, operation: Operation) -> bool:
    """Tell whether a hold is the one that the order waits for; else another came before it."""
    unpaid = order.payment_status in ("not_started", "authorized")
    return unpaid and operation.cycle == f"hold-{order.holds + 1}"


def settle(
    at: At, order: Order, operation: Operation | None, answer: Succeeded | Declined, change: MoneyChanges
) -> str:
    if isinstance(answer, Declined):
        return declined(at, order, answer, change)
    assert operation is not None, "a success without a request"
    if not is_next(order, operation):
        return "held too late"
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


JOB = MoneyStep(
    subject=ORDER,
    kinds=("authorize",),
    row=Order,
    due=due,
    ask=ask,
    wanted=wanted,
    settle=settle,
    concurrency=lambda settings: settings.payment_concurrency,
)
