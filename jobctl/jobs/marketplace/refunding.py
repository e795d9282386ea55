"""Find payments that succeeded after they had been given up, and give back what nobody waits for."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from jobctl.job import Ask, At, Due, ListStep, Look, MoneyChanges, MoneyStep, Read, RowChanges
from jobctl.jobs.marketplace import concluding
from jobctl.jobs.marketplace.concluding import READ, Payment
from jobctl.journal import Operation, nothing_open
from jobctl.money import Money
from jobctl.providers.protocol import Declined, Paid, Refund, Succeeded, Unreadable
from jobctl.providers.switchboard import ESCROW, Providers, concurrency, configured, connect
from jobctl.tables.marketplace import requests, wallet_transactions
from jobctl.tables.types import inline

ours = wallet_transactions.c
TRANSACTION: str = wallet_transactions.info["subject"]
GIVEN_UP = ("failed", "unverified")


class Late(NamedTuple):
    """A payment that its provider lists as succeeded, and that was given up here."""

    id: str
    at: datetime
    paid: Paid
    number: int


def news(_at: At, page: Sequence[Paid | Unreadable], read: Read) -> list[Late]:
    paid = {each.id: each for each in page if isinstance(each, Paid) and not each.refunded}
    if not paid:
        return []
    theirs = (ours.provider == page[0].provider) & ours.reference.in_(sorted(paid))
    rows = read(select(ours.id, ours.reference).where(theirs, ours.status.in_(GIVEN_UP)))
    return [Late(row.reference, (found := paid[row.reference]).paid_at, found, row.id) for row in rows]


def settle_late(_at: At, late: Late, change: RowChanges) -> str:
    known = change.look(select(ours.request_id).where(ours.id == late.number))
    change.look(select(requests.c.id).where(requests.c.id == known.request_id), lock=requests)
    this = select(*READ.values()).where(ours.id == late.number)
    payment = Payment(*change.look(this, lock=wallet_transactions))
    if payment.status not in GIVEN_UP or payment.escrow_status == "refunded":
        return "known already"
    outcome, values = concluding.succeeded(payment, late.paid, change)
    if values:
        change.drift(f"succeeded at the provider and was {payment.status} here", late.paid.amount)
        change.update_beside(wallet_transactions, payment.id, **values)
    return outcome


LATE = ListStep(
    sources=lambda settings: configured(settings, ESCROW),
    reach=lambda settings: settings.payment_verify_after,
    connect=connect,
    pages=Providers.listed,
    news=news,
    settle=settle_late,
)


class Owed(NamedTuple):
    """A payment that is to be given back."""

    id: int
    user_id: int
    request_id: int
    provider: str
    reference: str
    amount_minor: int
    currency: str
    escrow_status: str


def due(_: At) -> Due:
    return Due(
        wallet_transactions,
        {
            "it succeeded": ours.status == inline("completed"),
            "there is nothing that it could be for": ours.escrow_status == inline("void"),
            "its refund was not refused": ours.refund_refused_at.is_(None),
            "no money operation on it is open": nothing_open(TRANSACTION, ours.id),
        },
        since=ours.created_at,
        read={name: ours[name] for name in Owed._fields},
    )


def ask(_: At, owed: Owed) -> Ask:
    return Ask("payment", owed.provider, Refund(owed.reference, Money(owed.amount_minor, owed.currency)))


def wanted(_at: At, _owed: Owed, _operation: Operation, _look: Look) -> bool:
    return True


def settle(
    at: At, owed: Owed, operation: Operation | None, answer: Succeeded | Declined, change: MoneyChanges
) -> str:
    assert operation is not None, "nothing is refused without a request"
    if isinstance(answer, Declined):
        change.update(refund_refused_at=at.present)
        facts = {"provider": owed.provider, "payment": owed.reference}
        reason = f"the refund of payment {owed.id} was refused ({answer.code}): {answer.reason}"
        amount = operation.amount
        change.finding("refund refused", once=[operation.key], reason=reason, amount=amount, facts=facts)
        return "refund refused"
    if owed.escrow_status != "refunded":
        change.update(escrow_status="refunded", refunded_at=at.present)
        change.notify(
            "request-refunded",
            to=owed.user_id,
            once=[owed.request_id, owed.id],
            category="transactional",
            context={"amount": {"minor": owed.amount_minor, "currency": owed.currency}},
        )
    return "refunded"


REFUNDS = MoneyStep(
    subject=TRANSACTION,
    kinds=("refund",),
    row=Owed,
    due=due,
    ask=ask,
    wanted=wanted,
    settle=settle,
    concurrency=concurrency,
)
