"""Payments that customers make at Paystack: all of them, and what becomes of each before it succeeds."""

from secrets import token_hex

from jobctl.sandbox.checks import require
from jobctl.sandbox.clock import moment
from jobctl.sandbox.paystack.account import Account
from jobctl.sandbox.paystack.objects import RESPONSES, REVERSED, SUCCESS, Transaction
from jobctl.sandbox.protocol import Paid

# OpenAPI description: Currency.
CURRENCIES = {"NGN", "USD", "GHS", "ZAR", "KES"}
# What is final stays so, but for a success that is taken back (Verify Payments).
LATER = {SUCCESS: {REVERSED}, REVERSED: set[str]()}


def pay(account: Account, paid: Paid) -> str:
    """Make a transaction, or change the one of this reference; return its reference."""
    status = paid.status or SUCCESS
    require(status in RESPONSES, f"there is no status {status!r}: {', '.join(RESPONSES)}")
    takes = CURRENCIES.difference(account.office.conditions.unknown)
    require(paid.currency in takes, f"Paystack takes {', '.join(sorted(takes))}")
    require(paid.reference != "", "a reference is not empty")
    known = account.referred(paid.reference) if paid.reference else None
    if known:
        check_change(known, paid, status)
    transaction = known or begun(account, paid)
    account.change(transaction, status, paid.captured_at)
    return transaction.reference


def begun(account: Account, paid: Paid) -> Transaction:
    reference = paid.reference or f"T{token_hex(8)}"
    number, metadata = account.transactions.number(), dict(paid.metadata)
    made = Transaction(number, reference, moment(paid.at), paid.amount, paid.currency, metadata)
    return account.add(made)


def check_change(known: Transaction, paid: Paid, status: str) -> None:
    same = (known.amount, known.currency) == (paid.amount, paid.currency)
    require(same, f"{known.reference} is of {known.amount} {known.currency}")
    allowed = LATER.get(known.status, RESPONSES.keys())
    require(status in allowed, f"{known.reference} is {known.status}, and doesn't become {status}")
    require(paid.captured_at >= known.created.timestamp(), f"{known.reference} was begun after that")
