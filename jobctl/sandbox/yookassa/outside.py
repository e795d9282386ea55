"""Payments that customers make at YooKassa without a request of ours, as by an invoice or a payment link."""

from jobctl.sandbox.clock import moment
from jobctl.sandbox.protocol import Paid
from jobctl.sandbox.yookassa.account import Account
from jobctl.sandbox.yookassa.calls import ordered
from jobctl.sandbox.yookassa.fields import Fields, money
from jobctl.sandbox.yookassa.methods import Method
from jobctl.sandbox.yookassa.objects import Payment, new_id

PAID, HELD, OPEN = STATUSES = ("succeeded", "waiting_for_capture", "pending")


def pay(account: Account, paid: Paid) -> str:
    """Make a payment, which has succeeded unless told otherwise; its method is of no use for another one."""
    fields = {"amount": money(paid.amount, paid.currency), "metadata": dict(paid.metadata)}
    order = ordered(Fields(fields, ("amount", "metadata")))
    name = new_id()
    method = Method(name, saved=False)
    status = paid.status or PAID
    its = {**order, "capture": status != HELD, "method": method}
    made = Payment(name, moment(paid.at), **its, shop=account.shop, key=None)
    account.payments.add(made)
    if status != OPEN:
        account.succeed(made, paid.captured_at)
    return name
