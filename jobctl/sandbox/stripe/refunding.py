"""Money given back at Stripe, and what comes back again (Stripe: Refunds, Handle failed refunds)."""

from functools import partial

from jobctl.sandbox.refunds import Course, Plan, begin
from jobctl.sandbox.stripe.account import Account, new_id, refundable
from jobctl.sandbox.stripe.objects import Intent, Refund

OPEN = ("succeeded", "failed", "canceled")
# API reference: The Refund object. One that has succeeded fails where the bank sends the money back.
REFUNDS: Course = {
    "pending": ("requires_action", *OPEN),
    "requires_action": OPEN,
    "succeeded": ("failed",),
    "failed": (),
    "canceled": (),
}
USUAL = Plan("succeeded")


def refund(
    account: Account,
    intent: Intent,
    wanted: int | None,
    at: float,
    *,
    reason: str | None,
    metadata: dict[str, str],
    key: str | None,
) -> Refund:
    """Give some of the charge back; all that is left of it where no amount is named."""
    charge, amount = refundable(intent, wanted)
    about = (amount, intent.currency, intent.id, charge.id, reason, metadata)
    made = Refund(new_id("re"), int(at), *about, key=key, intent=intent)
    charge.refunded += amount
    account.refunds.add(made)
    office = account.office
    begin(made, office.plan(USUAL), at, office.later, partial(turned, account))
    return made


def turned(account: Account, made: Refund, at: float) -> None:
    intent, charge = made.intent, made.intent.charge
    assert charge is not None
    if made.status == "succeeded":
        made.entry = account.record("refund", intent, made.amount, made.key, at, metadata=made.metadata)
        account.tell("charge.refunded", charge.shown(intent), at)
    elif made.status in ("failed", "canceled"):
        charge.refunded -= made.amount
        if made.entry:
            account.office.withdraw(made.entry)
        account.tell("charge.refund.updated", made.shown(), at)
