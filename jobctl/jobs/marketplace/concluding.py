"""What becomes of a request and its payment once it is known what became of that: the one way, for all steps.

docs/writers.md says the same for the application. Requests are locked before their payments.
"""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select

from jobctl.job import At, RowChanges
from jobctl.money import Money
from jobctl.providers.protocol import Paid
from jobctl.providers.switchboard import account
from jobctl.tables.findings import findings
from jobctl.tables.marketplace import requests, wallet_transactions
from jobctl.tables.types import inline

ours = wallet_transactions.c
MISMATCH = "payment mismatch"
UNVERIFIED = "payment unverified"
REVERSED = "reversed"  # at the provider: given back there
# In escrow, or gone from it to wallets: what the provider has as a success, other than refunds and payouts.
STAYED = [inline("pending"), inline("released")]


class Payment(NamedTuple):
    """What was to be paid into escrow for a request."""

    id: int
    claimed_by: int | None
    request_id: int
    user_id: int
    provider: str
    reference: str
    amount_minor: int
    currency: str
    status: str
    escrow_status: str
    created_at: datetime
    looks: int
    account: str | None  # of ours there, that it was begun at
    missed_at: datetime | None
    failed_at: datetime | None
    witness: str | None

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


rest = wallet_transactions.alias("others")
# The newest payment that its account is known to have: found by the same run, it proves the right place.
witness = (
    select(rest.c.reference)
    .where(rest.c.status == inline("completed"), rest.c.reference.is_not(None))
    .where(rest.c.escrow_status.in_(STAYED))
    .where(rest.c.provider == ours.provider, rest.c.account == func.coalesce(ours.account, rest.c.account))
    .order_by(rest.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
READ: dict[str, Any] = {name: witness if name == "witness" else ours[name] for name in Payment._fields}
Values = dict[str, Any]


def succeeded(at: At, payment: Payment, paid: Paid, change: RowChanges) -> tuple[str, Values]:
    """Return the outcome, and what becomes of the payment, which is held in escrow from then on.

    What nobody waits for any more is to be given back; another amount, or what was given back already, is for
    a person to decide about.
    """
    request = request_of(payment, change)
    if paid.amount != payment.amount:
        reason = f"payment {payment.id} is of {payment.amount} here and of {paid.amount} at the provider"
        return mismatched(payment, paid, reason, change)
    if paid.refunded:
        reason = f"of payment {payment.id} something is given back at the provider, or is about to be"
        return mismatched(payment, paid, f"{reason}: refunded by hand", change)
    values: Values = {
        "status": "completed",
        "paid_at": paid.paid_at,
        "received_minor": paid.amount.minor,
        "failure": None,
        "failed_at": None,
        "missed_at": None,
        "account": payment.account or account(at.settings, payment.provider),
    }
    if request.status == "pending" and request.paid_at is None and payment.escrow_status == "pending":
        change.update_beside(requests, request.id, status="in_progress", paid_at=paid.paid_at)
        tell(change, "request-paid", request.creator_id, payment)
        return "completed", values
    reason = f"payment {payment.id} succeeded after request {request.id} was {word(request)}: it is refunded"
    found(change, "payment for nothing", payment, paid.amount, reason)
    return "completed and to be refunded", values | (
        {"escrow_status": "void"} if payment.escrow_status == "pending" else {}
    )


def mismatched(payment: Payment, paid: Paid, reason: str, change: RowChanges) -> tuple[str, Values]:
    found(change, MISMATCH, payment, paid.amount, reason)
    return MISMATCH, {"status": "unverified"} if payment.status == "pending" else {}


def word(request: Any) -> str:
    return "paid" if request.paid_at else request.status


def failed(at: At, payment: Payment, failure: str, change: RowChanges) -> Values:
    """Return what becomes of a payment that came to nothing; its request is declined with it."""
    request = request_of(payment, change)
    if request.status == "pending" and request.paid_at is None and not others(payment, change):
        change.update_beside(requests, request.id, status="declined", declined_at=at.present)
        tell(change, "request-declined", request.user_id, payment)
    values = {"status": "failed", "failure": failure, "failed_at": at.present}
    if failure == REVERSED:
        return {**values, "escrow_status": "refunded", "refunded_at": at.present}
    return {**values, "escrow_status": "void"}


def request_of(payment: Payment, change: RowChanges) -> Any:
    return change.look(select(requests).where(requests.c.id == payment.request_id), lock=requests)


def others(payment: Payment, change: RowChanges) -> bool:
    """Tell whether another payment of the same request has come, or may still come, to something."""
    alive = ours.status.in_(["pending", "completed", "unverified"])
    same = (ours.request_id == payment.request_id) & (ours.id != payment.id)
    return change.look(select(ours.id).where(same, alive)) is not None


def tell(change: RowChanges, template: str, user_id: int, payment: Payment) -> None:
    amount = {"minor": payment.amount_minor, "currency": payment.currency}
    change.notify(
        template,
        to=user_id,
        once=[payment.request_id, payment.id],
        category="transactional",
        context={"amount": amount},
    )


def is_a_persons(payment: Payment, change: RowChanges) -> bool:
    """Tell whether its provider told of it what only a person can decide about, whatever is told later."""
    from jobctl.findings import key_of  # noqa: PLC0415 (most runs find nothing)

    once = key_of(MISMATCH, [payment.provider, payment.reference])
    return change.look(select(findings.c.id).where(findings.c.once_key == once)) is not None


def found(change: RowChanges, kind: str, payment: Payment, amount: Money, reason: str) -> None:
    once = [payment.provider, payment.reference]
    facts = {"provider": payment.provider, "payment": payment.reference}
    change.finding(kind, once=once, reason=reason, amount=amount, facts=facts)
