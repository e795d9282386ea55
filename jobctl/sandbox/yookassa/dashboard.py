"""What a person does by hand in YooKassa's Merchant Profile, and what becomes of what is pending."""

from functools import partial

from jobctl.sandbox import refunds
from jobctl.sandbox.checks import require
from jobctl.sandbox.dashboard import Act, ByHand
from jobctl.sandbox.yookassa import refunding
from jobctl.sandbox.yookassa.account import Account
from jobctl.sandbox.yookassa.methods import MERCHANT, REASONS

USUAL = "canceled_by_merchant"
PARTIES = {**REASONS, USUAL: MERCHANT}


def cancel(account: Account, act: Act, at: float) -> str:
    reason = act.reason or USUAL
    require(reason in PARTIES, f"there is no reason {reason!r}: {', '.join(PARTIES)}")
    account.cancel(account.payments.get(act.payment), None, at, PARTIES[reason], reason)
    return act.payment


def capture(account: Account, act: Act, at: float) -> str:
    account.capture(account.payments.get(act.payment), act.amount, None, at)
    return act.payment


def refund(account: Account, act: Act, at: float) -> str:
    payment = account.payments.get(act.payment)
    amount = act.amount or payment.left
    return refunding.refund(account, payment, amount, at, description=act.reason, metadata={}, key=None).id


def settle(account: Account, act: Act, at: float) -> str:
    refund = account.refunds.get(act.payment)
    refunds.settle(refunding.REFUNDS, refund, act.status, at, partial(refunding.turned, account))
    return act.payment


def complete(account: Account, act: Act, at: float) -> str:
    payment = account.payments.get(act.payment)
    require(payment.status == "pending", f"{payment.id} is {payment.status}: nothing is pending")
    account.succeed(payment, at)
    return act.payment


def lapse(account: Account, act: Act, at: float) -> str:
    payment = account.payments.get(act.payment)
    over = payment.status in ("succeeded", "canceled")
    require(not over, f"{payment.id} is {payment.status}: nothing is held or pending")
    account.expire(payment, at)
    return act.payment


ACTS: ByHand = {
    "cancel": cancel,
    "capture": capture,
    "refund": refund,
    "settle": settle,
    "complete": complete,
    "lapse": lapse,
}
