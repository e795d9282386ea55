"""What a person does by hand in Paystack's Dashboard, and what a customer does with what is open."""

from functools import partial

from jobctl.sandbox import refunds
from jobctl.sandbox.checks import require
from jobctl.sandbox.dashboard import Act, ByHand
from jobctl.sandbox.paystack import refunding
from jobctl.sandbox.paystack.account import Account
from jobctl.sandbox.paystack.fields import number
from jobctl.sandbox.paystack.objects import REVERSED, SUCCESS, Transaction


def refund(account: Account, act: Act, at: float) -> str:
    transaction, note = found(account, act), act.reason or "Refunded by hand"
    amount = act.amount or transaction.left
    return str(refunding.refund(account, transaction, amount, at, merchant=note, customer=note).id)


def settle(account: Account, act: Act, at: float) -> str:
    refund = account.refunds.get(number(act.payment) or 0)
    require(refund is not None, f"there is no refund {act.payment!r}")
    assert refund is not None
    refunds.settle(refunding.REFUNDS, refund, act.status, at, partial(refunding.turned, account))
    return act.payment


def reverse(account: Account, act: Act, at: float) -> str:
    transaction = found(account, act)
    successful = transaction.status == SUCCESS
    require(successful, f"{act.payment} is {transaction.status}: there is nothing to be taken back")
    account.change(transaction, REVERSED, at)
    return act.payment


def complete(account: Account, act: Act, at: float) -> str:
    transaction = found(account, act)
    still = transaction.status not in (SUCCESS, REVERSED)
    require(still, f"{act.payment} is {transaction.status}: nothing is open")
    account.change(transaction, SUCCESS, at)
    return act.payment


def found(account: Account, act: Act) -> Transaction:
    transaction = account.referred(act.payment)
    require(transaction is not None, f"there is no transaction {act.payment!r}")
    assert transaction is not None
    return transaction


ACTS: ByHand = {"refund": refund, "settle": settle, "reverse": reverse, "complete": complete}
