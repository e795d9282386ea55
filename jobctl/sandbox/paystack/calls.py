"""Paystack's calls: what each takes, checks before it begins, and answers (API reference).

Each is a function of the account and the request that raises what is wrong with it, and returns what remains
to be done. There is no idempotency key: a request that is sent twice is done twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jobctl.sandbox.paystack import refunding
from jobctl.sandbox.paystack.account import Account
from jobctl.sandbox.paystack.errors import PaystackError, good
from jobctl.sandbox.paystack.fields import Fields, number
from jobctl.sandbox.paystack.objects import RESPONSES, Refund, Transaction
from jobctl.sandbox.paystack.shelf import Query
from jobctl.sandbox.protocol import Answer

Run = Callable[[float], Answer]
TRANSACTIONS = {"status"}
REFUNDS = {"transaction", "currency"}
REFUND = {"transaction", "amount", "currency", "customer_note", "merchant_note"}


# As observed: the reference has none of these. It says so of another integration's references too.
UNKNOWN: dict[str, Any] = {
    "meta": {"nextStep": "Pass the reference of a transaction that exists on this integration"},
    "type": "validation_error",
    "code": "transaction_not_found",
}


@dataclass(frozen=True)
class Asked:
    """What a call has to go on."""

    given: Mapping[str, Any]  # the body's object
    query: str
    name: str  # of the object in the path, if there is one


def verify(account: Account, asked: Asked) -> Run:
    found = account.referred(asked.name)
    if not found:
        raise PaystackError("Transaction reference not found.", **UNKNOWN)
    return lambda _: good("Verification successful", found.shown())


def list_transactions(account: Account, asked: Asked) -> Run:
    query = Query(asked.query, TRANSACTIONS)
    status = query.get("status")
    if status is not None and status not in RESPONSES:
        raise PaystackError(f"status is one of {', '.join(RESPONSES)}")

    def run(at: float) -> Answer:
        data, meta = account.transactions.page(query, lambda each: status in (None, each.status), at)
        return good("Transactions retrieved", data, meta=meta)

    return run


def refund(account: Account, asked: Asked) -> Run:
    """Give some of a transaction back; without an amount all that was paid (Refunds: Create a refund)."""
    given = Fields(asked.given, REFUND)
    transaction = transaction_of(account, given.get("transaction"))
    amount = given.amount() or transaction.amount
    if given.text("currency") not in (None, transaction.currency):
        raise PaystackError(f"The transaction is in {transaction.currency}")
    customer = given.text("customer_note") or f"Refund for transaction {transaction.reference}"
    merchant = given.text("merchant_note") or f"{customer} by the merchant"

    def run(at: float) -> Answer:
        made = refunding.refund(account, transaction, amount, at, merchant=merchant, customer=customer)
        shown = {**made.shown(), "transaction": transaction.brief()}
        return good("Refund has been queued for processing", shown)

    return run


def transaction_of(account: Account, name: object) -> Transaction:
    """Return the one of this reference, or else of this number, which may be a string too."""
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise PaystackError("transaction is the reference or the id of a transaction")
    found = account.referred(name) if isinstance(name, str) else None
    numbered = number(name)
    if not found and numbered is not None:
        found = account.transactions.get(numbered)
    if not found:
        raise PaystackError("Transaction not found", 404)
    return found


def retrieve_refund(account: Account, asked: Asked) -> Run:
    numbered = number(asked.name)
    found = None if numbered is None else account.refunds.get(numbered)
    if not found:
        raise PaystackError("Refund not found", 404)
    return lambda _: good("Refund retrieved", found.shown())


def list_refunds(account: Account, asked: Asked) -> Run:
    query = Query(asked.query, REFUNDS)
    name, currency = query.get("transaction"), query.get("currency")

    def wanted(each: Refund) -> bool:
        its = each.transaction
        return name in (None, its.reference, str(its.id)) and currency in (None, its.currency)

    def run(at: float) -> Answer:
        data, meta = account.refunds.page(query, wanted, at)
        return good("Refunds retrieved", data, meta=meta)

    return run
