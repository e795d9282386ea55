"""Take the money for sessions that took place, and release the holds of the others.

Each order stands for itself: a hold is captured; an extension that was agreed late, or a hold that has
lapsed, is charged in one. What a session that did not take place had on hold is released. Nothing is charged
to a card that is not the customer's own, or to a customer who is gone: that needs a person.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_

from jobctl.job import Ask, At, BatchChanges, Due, Look, MoneyChanges, MoneyStep, SetStep
from jobctl.jobs.sessions.paying import NOT_THEIRS, ORDER, READ, Order, in_full, is_own, is_there
from jobctl.journal import Operation, undisturbed
from jobctl.providers.protocol import Capture, Charge, Declined, Release, Succeeded
from jobctl.tables.sessions import PAYMENT_TRANSITIONS, awaiting_payment, orders, sessions
from jobctl.tables.types import inline

LAPSED = "hold_ended"  # the code of a capture that came too late
PAUSE, GIVE_UP = timedelta(days=1), timedelta(days=3)  # between charges that may work later; since the end


def paid_for(at: At) -> list[str]:
    """Return the attendance that is paid for."""
    return [
        "all_present",
        *(["no_show_consumer"] if at.settings.no_show_consumer_policy == "capture" else []),
    ]


held = orders.c.payment_status == inline("authorized")


def due(at: At) -> Due:
    return to_be_settled(
        {
            "its session took place, or did not and something is held": or_(
                to_be_taken(at), and_(held, or_(*gone(at)))
            ),
            "its customer exists and was not deleted, or something is held": or_(held, is_there),
            "its payment method, if it has one, is the customer's own, or something is held": or_(
                held, is_own
            ),
        },
    )


def to_be_taken(at: At) -> ColumnElement[bool]:
    still_held = held & or_(orders.c.hold_ends_at.is_(None), orders.c.hold_ends_at > at.now)
    # What is charged in one, and was declined, is tried again a day later.
    rested = or_(orders.c.payment_failed_at.is_(None), orders.c.payment_failed_at <= at.now - PAUSE)
    return and_(
        orders.c.status == inline("complete"),
        sessions.c.status != inline("cancelled"),
        sessions.c.attendance.in_([inline(each) for each in paid_for(at)]),
        or_(still_held, rested),
    )


def to_be_settled(which: dict[str, ColumnElement[bool]]) -> Due:
    return Due(
        in_full,
        {
            "it is unpaid, or something is held for it": awaiting_payment,
            **which,
            **undisturbed(ORDER, orders.c.id),
        },
        since=sessions.c.over_at,
        read=READ,
        locks_first=True,
    )


def gone(at: At) -> list[ColumnElement[bool]]:
    """Return when a hold has no use any more."""
    missed = {"none_showed", "no_show_expert", "no_show_consumer"} - set(paid_for(at))
    return [
        orders.c.status == inline("cancelled"),
        sessions.c.status == inline("cancelled"),
        sessions.c.attendance.in_([inline(each) for each in sorted(missed)]),
    ]


def earned(at: At, order: Order) -> bool:
    stands = order.status == "complete" and order.session_status != "cancelled"
    return stands and order.attendance in paid_for(at)


def ask(at: At, order: Order) -> Ask | Declined:
    order.check_hold()
    held, hold = order.payment_status == "authorized", f"hold-{order.holds}"
    if held and not earned(at, order):
        return Ask(hold, str(order.payment_provider), Release(str(order.payment_id)), order.payment_account)
    # Whom nothing may be charged to may still have it on hold: when holds end is partly a guess.
    if held and not (order.rightful and lapsed(order.hold_ends_at, at.present)):
        capture = Capture(str(order.payment_id), order.amount)
        return Ask(hold, str(order.payment_provider), capture, order.payment_account)
    return charge(order)


def lapsed(ends_at: datetime | None, present: datetime) -> bool:
    return ends_at is not None and ends_at <= present


def charge(order: Order, follows: int | None = None) -> Ask | Declined:
    if not order.rightful:
        return Declined(NOT_THEIRS, "its customer is gone, or its payment method is another user's")
    if not order.provider or not order.method:
        return Declined("no_payment_method", "the order has no saved payment method")
    request = Charge(order.amount, order.customer, order.method)
    hold = order.payment_id if order.payment_status == "authorized" else None
    cycle = f"hold-{order.holds + 1}"
    return Ask(cycle, order.provider, request, follows=follows, once=True, instead_of=hold)


def wanted(at: At, order: Order, operation: Operation, look: Look) -> bool:  # noqa: ARG001 (every step's has these)
    if operation.kind in ("release", "refund"):
        return True
    asked = operation.kind == "capture" or order.is_asked(operation)
    return asked and earned(at, order) and may_become(order, "captured")


def may_become(order: Order, status: str) -> bool:
    """Tell whether an effect is news to the order; else it has been paid, or given up, in another way."""
    return status in PAYMENT_TRANSITIONS.get(order.payment_status, ())


def settle(
    at: At, order: Order, operation: Operation | None, answer: Succeeded | Declined, change: MoneyChanges
) -> str:
    if isinstance(answer, Declined):
        return declined(at, order, operation, answer, change)
    assert operation is not None, "a success without a request"
    match operation.kind:
        case "release":
            return released(at, order, operation, change)
        case "refund":
            if order.goes_by(operation):  # else the order keeps the payment that it goes by
                change.update(refunded_at=at.present)
            return "refunded"
    if not may_become(order, "captured"):
        return "captured too late"
    change.update(
        payment_status="captured",
        payment_provider=operation.provider,
        payment_account=operation.account,
        payment_id=answer.payment_id,
        captured_at=at.present,
        payment_failed_at=None,
        payment_failure=None,
    )
    if order.payment_id and order.payment_provider and not (operation.follows or order.goes_by(operation)):
        # By what was known of its end the hold has lapsed; where that was a guess, it must not stay.
        hold, old = f"hold-{order.holds}", Release(order.payment_id)
        change.ask(Ask(hold, order.payment_provider, old, order.payment_account, follows=operation.id))
    change.notify(
        "session-receipt",
        to=order.customer_id,
        once=[order.id],
        category="transactional",
        context=order.told,
    )
    return "captured"


def released(at: At, order: Order, operation: Operation, change: MoneyChanges) -> str:
    if order.goes_by(operation) and may_become(order, "released"):
        change.update(payment_status="released", released_at=at.present)
    return "released"


def declined(
    at: At, order: Order, operation: Operation | None, answer: Declined, change: MoneyChanges
) -> str:
    kind = operation.kind if operation else "charge"
    if kind in ("release", "refund"):
        change.error(f"its {kind} was declined ({answer.code}): {answer.reason}")
        return "declined"
    if operation and not (order.goes_by(operation) if kind == "capture" else order.waits_for(operation)):
        return "declined"  # the order has gone on without it
    if operation and kind == "capture" and answer.code == LAPSED:
        again = charge(order, follows=operation.id)
        if isinstance(again, Ask):
            change.ask(again)
            return "lapsed"
    change.update(payment_failed_at=at.present, payment_failure=answer.code)
    if answer.retryable and at.present < order.over_at + GIVE_UP:
        return "declined"
    change.update(payment_status="capture_failed")
    change.error(f"its {kind} was declined for good ({answer.code}): {answer.reason}")
    return "declined for good"


def anothers(at: At) -> Due:
    return to_be_settled(
        {
            "its session took place, and nothing is held": and_(to_be_taken(at), ~held),
            "its customer is gone, or its payment method is another user's": ~and_(is_there, is_own),
        }
    )


def give_up(at: At, batch: BatchChanges) -> None:
    batch.update(payment_status="capture_failed", payment_failed_at=at.now, payment_failure=NOT_THEIRS)
    batch.error(
        "nothing may be charged for it: its customer is gone, or its payment method is another user's"
    )


MONEY = MoneyStep(
    subject=ORDER,
    kinds=("capture", "charge", "release", "refund"),
    row=Order,
    due=due,
    ask=ask,
    wanted=wanted,
    settle=settle,
    concurrency=lambda settings: settings.payment_concurrency,
)

JOB = (SetStep(anothers, give_up, "given up"), MONEY)
