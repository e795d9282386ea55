"""What a person does by hand in Paystack's Dashboard, and what a customer does with what is open."""

from jobctl.sandbox.checks import require
from jobctl.sandbox.clock import moment
from jobctl.sandbox.dashboard import Act, ByHand
from jobctl.sandbox.paystack.account import Account
from jobctl.sandbox.paystack.objects import REVERSED, SUCCESS, Refund, Transaction


def refund(account: Account, act: Act, at: float) -> str:
    transaction, note = found(account, act), act.reason or "Refunded by hand"
    amount = act.amount or transaction.left
    made = Refund(account.refunds.number(), transaction, moment(at), amount, note, note)
    account.refund(made, at)
    return str(made.id)


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


ACTS: ByHand = {"refund": refund, "reverse": reverse, "complete": complete}
