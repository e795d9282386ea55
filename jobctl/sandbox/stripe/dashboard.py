"""What a person does by hand in Stripe's Dashboard, and what a customer does with what is open."""

from jobctl.sandbox.checks import require
from jobctl.sandbox.dashboard import Act, ByHand
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
    return account.refund(found(account, act), act.amount, at, reason=reason, metadata={}, key=None).id


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
    "complete": complete,
    "lapse": lapse,
}
