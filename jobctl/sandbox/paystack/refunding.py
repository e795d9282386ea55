"""Money given back at Paystack, which takes its time (Paystack: Refunds)."""

from functools import partial

from jobctl.sandbox.clock import moment
from jobctl.sandbox.paystack.account import Account
from jobctl.sandbox.paystack.errors import PaystackError
from jobctl.sandbox.paystack.objects import REVERSED, SUCCESS, Refund, Transaction
from jobctl.sandbox.refunds import Course, Plan, begin

PROCESSING = 60  # seconds until a refund is decided
FAILS = "fails"  # the refund whose merchant_note says so
DECIDED = ("processed", "failed")
REFUNDS: Course = {
    "pending": ("processing", "needs-attention", *DECIDED),
    "processing": ("needs-attention", *DECIDED),
    "needs-attention": ("processing", *DECIDED),
    "processed": (),
    "failed": (),
}


def refund(
    account: Account, transaction: Transaction, amount: int, at: float, *, merchant: str, customer: str
) -> Refund:
    """Take a refund on, of which there has to be as much left; it is decided later (Refunds)."""
    check_refundable(transaction)
    if amount > transaction.left:
        raise PaystackError("Refund amount cannot be more than transaction amount")
    made = Refund(account.refunds.number(), transaction, moment(at), amount, merchant, customer)
    transaction.refunding += amount
    account.refunds.add(made)
    usual = Plan("pending", "failed" if FAILS in merchant else "processed", PROCESSING)
    begin(made, account.office.plan(usual), at, account.office.later, partial(turned, account))
    return made


def turned(account: Account, made: Refund, at: float) -> None:
    """Give the money back, which is when it moves; what failed is left again."""
    transaction = made.transaction
    if made.status not in DECIDED:
        return
    transaction.refunding -= made.amount
    if made.status == "failed":
        return
    made.refunded = moment(at)
    transaction.refunded += made.amount
    if transaction.refunded == transaction.amount:
        transaction.status = REVERSED
    account.record("refund", transaction, made.amount, {"merchant_note": made.merchant_note}, at)


def check_refundable(transaction: Transaction) -> None:
    if transaction.status not in (SUCCESS, REVERSED):
        raise PaystackError(f"Transaction is {transaction.status}: only a successful one can be refunded")
    if not transaction.left:
        raise PaystackError("Transaction has been fully reversed")
