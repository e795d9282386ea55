"""What a person does by hand in Stripe's Dashboard, and what a customer does with what is open."""

from functools import partial

from jobctl.sandbox import refunds
from jobctl.sandbox.checks import require
from jobctl.sandbox.dashboard import Act, ByHand
from jobctl.sandbox.stripe import refunding
from jobctl.sandbox.stripe.account import Account
from jobctl.sandbox.stripe.amounts import check_step
from jobctl.sandbox.stripe.calls import CANCELLATIONS, REFUND_REASONS
from jobctl.sandbox.stripe.cards import CARDS
from jobctl.sandbox.stripe.objects import Intent

# API reference: The PaymentIntent object. Those that no request can name are set by Stripe itself.
REASONS = (*CANCELLATIONS, "void_invoice", "failed_invoice", "automatic", "expired")
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def cancel(account: Account, act: Act, at: float) -> str:
    reason = act.reason or "requested_by_customer"
    require(reason in REASONS, f"there is no reason {reason!r}: {', '.join(REASONS)}")
    account.cancel(found(account, act), reason, None, at)
    return act.payment


def capture(account: Account, act: Act, at: float) -> str:
    account.capture(found(account, act), act.amount, None, at)
    return act.payment


def refund(account: Account, act: Act, at: float) -> str:
    reason = act.reason
    require(reason in (None, *REFUND_REASONS), f"there is no reason {reason!r}: {', '.join(REFUND_REASONS)}")
    intent = found(account, act)
    return refunding.refund(account, intent, act.amount, at, reason=reason, metadata={}, key=None).id


def settle(account: Account, act: Act, at: float) -> str:
    refund = account.refunds.get(act.payment, "id")
    refunds.settle(refunding.REFUNDS, refund, act.status, at, partial(refunding.turned, account))
    return act.payment


def complete(account: Account, act: Act, at: float) -> str:
    """Let the customer confirm an intent that is open with a card, and authenticate where that is asked."""
    intent, method = found(account, act), act.method or "pm_card_visa"
    require(intent.status in OPEN, f"{intent.id} is {intent.status}: nothing is open")
    require(method in CARDS, f"there is no card {method!r}")
    intent.tried_with, intent.error = method, None
    account.confirm(intent, None, at, present=True)
    return act.payment


def lapse(account: Account, act: Act, at: float) -> str:
    intent = found(account, act)
    require(intent.status == "requires_capture", f"{intent.id} is {intent.status}: nothing is held")
    account.expire(intent, at)
    return act.payment


def found(account: Account, act: Act) -> Intent:
    intent = account.intents.get(act.payment, "intent")
    if act.amount is not None:
        check_step(act.amount, intent.currency, "amount")
    return intent


ACTS: ByHand = {
    "cancel": cancel,
    "capture": capture,
    "refund": refund,
    "settle": settle,
    "complete": complete,
    "lapse": lapse,
}
