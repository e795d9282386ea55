"""YooKassa's calls: what each takes, checks before it begins, and answers (YooKassa: API reference).

Each is a function of the shop and the request that raises what is wrong with it, and returns what remains to
be done: that, done, returns how to show what was made.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from jobctl.sandbox.clock import moment
from jobctl.sandbox.yookassa import refunding
from jobctl.sandbox.yookassa.account import Account
from jobctl.sandbox.yookassa.errors import YooKassaError
from jobctl.sandbox.yookassa.fields import Fields
from jobctl.sandbox.yookassa.keys import Show
from jobctl.sandbox.yookassa.methods import METHODS, Method
from jobctl.sandbox.yookassa.objects import Payment, Refund, new_id
from jobctl.sandbox.yookassa.shelf import Query, bounded

Run = Callable[[float], Show]
LONGEST_DESCRIPTION, LONGEST_REFUND_DESCRIPTION, LONGEST_ID = 128, 250, 64
LEAST, MOST = 1_00, 350_000_00  # kopecks (Payment methods: Bank card)
# Those that change nothing about the money are taken and not heeded.
UNHEEDED = {"client_ip", "merchant_customer_id", "receipt", "save_payment_method"}
CREATION = {"amount", "capture", "description", "metadata", "payment_method_id", *UNHEEDED}
REFUND = {"amount", "description", "metadata", "payment_id", "receipt"}
STATUSES = ("pending", "waiting_for_capture", "succeeded", "canceled")
PAYMENTS = {"payment_method", "status", *bounded("created_at", "captured_at")}
REFUNDS = {"payment_id", "status", *bounded("created_at")}


@dataclass(frozen=True)
class Asked:
    """What a call has to go on."""

    given: Mapping[str, Any]  # the body's object
    query: str
    key: str | None
    name: str  # of the object in the path, if there is one


def create(account: Account, asked: Asked) -> Run:
    given = Fields(asked.given, CREATION)
    unknown = account.office.conditions.unknown
    capture, order, method = given.boolean("capture"), ordered(given, unknown), saved(given, unknown)

    def run(at: float) -> Show:
        made = Payment(
            new_id(), moment(at), **order, capture=capture, method=method, shop=account.shop, key=asked.key
        )
        account.begin(made, at)
        return made.shown

    return run


def ordered(given: Fields, unknown: Collection[str] = ()) -> dict[str, Any]:
    """Return what an order is about."""
    amount, currency = given.amount()
    if currency in unknown:
        raise given.wrong("amount.currency", "This is no currency that the shop takes.")
    if currency == "RUB" and not LEAST <= amount <= MOST:
        raise given.wrong("amount.value", "A card pays from 1 ruble to 350,000 rubles.")
    description = given.text("description", LONGEST_DESCRIPTION)
    metadata = given.metadata()
    return {"amount": amount, "currency": currency, "description": description, "metadata": metadata}


def saved(given: Fields, unknown: Collection[str]) -> Method:
    name = given.text("payment_method_id", LONGEST_ID)
    if not name:
        description = "No customer can confirm anything here: a payment needs a saved payment method."
        raise given.wrong("payment_method_id", description)
    if name in unknown or name not in METHODS:
        raise given.wrong("payment_method_id", f"There is no saved payment method {name}.")
    return METHODS[name]


def capture(account: Account, asked: Asked) -> Run:
    given = Fields(asked.given, {"amount", "receipt"})
    payment = account.payments.get(asked.name)
    amount = in_its_currency(given, payment) if "amount" in asked.given else None

    def run(at: float) -> Show:
        account.capture(payment, amount, asked.key, at)
        return payment.shown

    return run


def in_its_currency(given: Fields, payment: Payment) -> int:
    amount, currency = given.amount()
    if currency != payment.currency:
        raise given.wrong("amount.currency", f"The payment is in {payment.currency}.")
    return amount


def cancel(account: Account, asked: Asked) -> Run:
    Fields(asked.given, ())
    payment = account.payments.get(asked.name)

    def run(at: float) -> Show:
        account.cancel(payment, asked.key, at)
        return payment.shown

    return run


def retrieve(account: Account, asked: Asked) -> Run:
    payment = account.payments.get(asked.name)
    return lambda _: payment.shown


def list_payments(account: Account, asked: Asked) -> Run:
    query = Query(asked.query, PAYMENTS)
    status, kind = of(query, "status", STATUSES), query.get("payment_method")
    created, captured = query.bounds("created_at"), query.bounds("captured_at")

    def wanted(each: Payment) -> bool:
        mine = status in (None, each.status) and kind in (None, "bank_card")
        return mine and created(each.created) and captured(each.captured)

    return lambda at: lambda: account.payments.page(query, wanted, moment(at))


def of(query: Query, name: str, allowed: tuple[str, ...]) -> str | None:
    value = query.get(name)
    if value is not None and value not in allowed:
        raise YooKassaError(f"This is one of {', '.join(allowed)}.", name)
    return value


def refund(account: Account, asked: Asked) -> Run:
    given = Fields(asked.given, REFUND)
    given.needed("payment_id")
    payment = account.payments.get(given.text("payment_id", LONGEST_ID) or "")
    amount = in_its_currency(given, payment)
    description = given.text("description", LONGEST_REFUND_DESCRIPTION)
    metadata = given.metadata()

    def run(at: float) -> Show:
        return refunding.refund(
            account, payment, amount, at, description=description, metadata=metadata, key=asked.key
        ).shown

    return run


def retrieve_refund(account: Account, asked: Asked) -> Run:
    found = account.refunds.get(asked.name)
    return lambda _: found.shown


def list_refunds(account: Account, asked: Asked) -> Run:
    query = Query(asked.query, REFUNDS)
    payment, status = query.get("payment_id"), of(query, "status", STATUSES)
    created = query.bounds("created_at")

    def wanted(each: Refund) -> bool:
        return payment in (None, each.payment.id) and status in (None, each.status) and created(each.created)

    return lambda at: lambda: account.refunds.page(query, wanted, moment(at))
