"""Payments that customers make at Stripe without a request of ours, as by a payment link."""

from jobctl.sandbox.protocol import Paid
from jobctl.sandbox.stripe.account import Account, new_id
from jobctl.sandbox.stripe.amounts import check_charge, check_currency
from jobctl.sandbox.stripe.objects import Intent

PAID, HELD, OPEN = STATUSES = ("succeeded", "requires_capture", "requires_payment_method")


def pay(account: Account, paid: Paid) -> str:
    """Make an intent, which has succeeded unless told otherwise; its charge is of the time of the payment."""
    check_currency(paid.currency)
    check_charge(paid.amount, paid.currency)
    status, name = paid.status or PAID, new_id("pi")
    made = Intent(
        name,
        int(paid.at),
        paid.amount,
        paid.currency,
        capture_method="manual" if status == HELD else "automatic",
        customer=None,
        tried_with="pm_card_visa",
        description=None,
        metadata=dict(paid.metadata),
    )
    account.intents.add(made)
    if status == OPEN:
        made.tried_with = None
    else:
        account.confirm(made, None, paid.captured_at, present=True)
    return name
