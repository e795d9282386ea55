"""Payments that customers make at YooKassa without a request of ours, as by an invoice or a payment link."""

from jobctl.sandbox.clock import moment
from jobctl.sandbox.protocol import Paid
from jobctl.sandbox.yookassa.account import Account
from jobctl.sandbox.yookassa.calls import ordered
from jobctl.sandbox.yookassa.fields import Fields, money
from jobctl.sandbox.yookassa.methods import Method
from jobctl.sandbox.yookassa.objects import Payment, new_id


def pay(account: Account, paid: Paid) -> str:
    """Make a payment that has succeeded; its payment method is of no use for another one."""
    fields = {"amount": money(paid.amount, paid.currency), "metadata": dict(paid.metadata)}
    order = ordered(Fields(fields, ("amount", "metadata")))
    name = new_id()
    method = Method(name, saved=False)
    made = Payment(name, moment(paid.at), **order, capture=True, method=method, shop=account.shop, key=None)
    account.payments.add(made)
    account.decide(made, paid.captured_at)
    return name
