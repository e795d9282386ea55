"""Money given back at YooKassa (YooKassa: Refunds)."""

from functools import partial

from jobctl.sandbox.clock import moment
from jobctl.sandbox.refunds import Course, Plan, begin
from jobctl.sandbox.yookassa.account import Account
from jobctl.sandbox.yookassa.errors import YooKassaError
from jobctl.sandbox.yookassa.methods import YOOKASSA
from jobctl.sandbox.yookassa.objects import Payment, Refund, new_id

REFUNDS: Course = {"pending": ("succeeded", "canceled"), "succeeded": (), "canceled": ()}
USUAL = Plan("succeeded")


def refund(
    account: Account,
    payment: Payment,
    amount: int,
    at: float,
    *,
    description: str | None,
    metadata: dict[str, str],
    key: str | None,
) -> Refund:
    """Give money back, of which there has to be as much left (Create a refund)."""
    if not payment.left:
        raise YooKassaError(f"Payment {payment.id} has nothing to refund.", "payment_id")
    if amount > payment.left:
        raise YooKassaError("More than is left of the payment cannot be refunded.", "amount.value")
    made = Refund(new_id(), moment(at), payment, amount, description, metadata, key)
    payment.refunded += amount
    account.refunds.add(made)
    office = account.office
    begin(made, office.plan(USUAL), at, office.later, partial(turned, account))
    return made


def turned(account: Account, made: Refund, at: float) -> None:
    if made.status == "succeeded":
        account.record("refund", made.payment, made.amount, made.key, at, metadata=made.metadata)
    elif made.status == "canceled":
        made.payment.refunded -= made.amount
        made.cancellation = {"party": YOOKASSA, "reason": "insufficient_funds"}
