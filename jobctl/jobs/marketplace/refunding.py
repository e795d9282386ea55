"""Find payments that succeeded after they had been given up, and give back what nobody waits for."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select, exists, or_, select

from jobctl.job import (
    Ask,
    At,
    BatchChanges,
    Due,
    ListStep,
    Look,
    MoneyChanges,
    MoneyStep,
    Read,
    RowChanges,
    SetStep,
)
from jobctl.jobs.marketplace import concluding
from jobctl.jobs.marketplace.concluding import READ, Payment
from jobctl.journal import PATIENT, Operation, undisturbed
from jobctl.money import Money
from jobctl.providers.protocol import Declined, Paid, Refund, Succeeded, Unreadable
from jobctl.providers.switchboard import (
    ESCROW,
    Providers,
    account,
    at_account,
    concurrency,
    configured,
    connect,
)
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import ledger_postings, requests, wallet_transactions
from jobctl.tables.types import inline

ours = wallet_transactions.c
TRANSACTION: str = wallet_transactions.info["subject"]
GIVEN_UP = ("failed", "unverified")
NEWEST = 1000  # payments that are looked through for those that a list must have
REFUSED, A_DAY = "refund refused", timedelta(days=1)
# Of what is decided within days a person need not know; another one may wait for somebody at the provider.
UNDECIDED, SOME_DAYS = "refund undecided", timedelta(days=3)
released = exists(
    select(ledger_postings.c.id).where(
        ledger_postings.c.wallet_transaction_id == ours.id, ledger_postings.c.kind == inline("release")
    )
)


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
    theirs = (ours.provider == page[0].provider) & ours.reference.in_(list(paid))
    rows = read(select(ours.id, ours.reference).where(theirs, ours.status.in_(GIVEN_UP)))
    return [Late(row.reference, (found := paid[row.reference]).paid_at, found, row.id) for row in rows]


def settle_late(at: At, late: Late, change: RowChanges) -> str:
    known = change.look(select(ours.request_id).where(ours.id == late.number))
    change.look(select(requests.c.id).where(requests.c.id == known.request_id), lock=requests)
    this = select(*READ.values()).where(ours.id == late.number)
    payment = Payment(*change.look(this, lock=wallet_transactions))
    if payment.status not in GIVEN_UP or payment.escrow_status == "refunded":
        return "known already"
    if payment.status == "unverified" and concluding.is_a_persons(payment, change):
        return "known already"
    outcome, values = concluding.succeeded(at, payment, late.paid, change)
    if values:
        once = [payment.provider, payment.reference]
        change.resolve(concluding.UNVERIFIED, once=once, reason=f"{payment.provider} lists it as succeeded")
        change.drift(f"succeeded at the provider and was {payment.status} here", late.paid.amount)
        change.update_beside(wallet_transactions, payment.id, **values)
    return outcome


def known(at: At, provider: str, since: datetime, until: datetime) -> Select[Any]:
    """Select payments that the provider was seen to have, in the account that the settings have there."""
    # Among the newest: no index has the others by their time.
    new = select(wallet_transactions).order_by(ours.id.desc()).limit(NEWEST).subquery().c
    mine = (new.provider == provider) & (new.account == account(at.settings, provider))
    completed = (new.status == "completed") & new.reference.is_not(None)
    stayed = new.escrow_status.in_(concluding.STAYED)
    return select(new.reference).where(mine, completed, stayed, new.paid_at >= since, new.paid_at < until)


LATE = ListStep(
    sources=lambda settings: configured(settings, ESCROW),
    # As far back as what this job itself may have ended.
    reach=lambda settings: settings.request_payment_timeout + settings.payment_verify_after,
    connect=connect,
    pages=Providers.listed,
    news=news,
    settle=settle_late,
    known=known,
    place=at_account,
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
    account: str | None


def due(at: At) -> Due:
    return Due(
        wallet_transactions,
        {
            "it succeeded": ours.status == inline("completed"),
            "there is nothing that it could be for": ours.escrow_status == inline("void"),
            "nothing of it was released": ~released,
            "its refund was not refused within a day": or_(
                ours.refund_refused_at.is_(None), ours.refund_refused_at <= at.now - A_DAY
            ),
            **undisturbed(TRANSACTION, ours.id),
        },
        since=ours.created_at,
        read={name: ours[name] for name in Owed._fields},
    )


def ask(_: At, owed: Owed) -> Ask:
    refund = Refund(owed.reference, Money(owed.amount_minor, owed.currency))
    return Ask("payment", owed.provider, refund, owed.account)


def of(owed: Owed) -> list[Any]:
    return [owed.provider, owed.reference]


def wanted(_at: At, _owed: Owed, _operation: Operation, _look: Look) -> bool:
    return True


def withdraw(at: At, operation: Operation, code: str, change: RowChanges) -> None:
    """Have one that was refused again and again asked for daily, and a person told; see PATIENT."""
    if operation.attempt < PATIENT:
        return
    change.update_beside(wallet_transactions, operation.subject_id, refund_refused_at=at.present)
    facts = {"provider": operation.provider, "payment": operation.payment_id}
    reason = f"the refund of payment {operation.subject_id} is refused ({code}), and asked for again each day"
    once, amount = [operation.provider, operation.payment_id], operation.amount
    change.finding(REFUSED, once=once, reason=reason, amount=amount, facts=facts)


def settle(
    at: At, owed: Owed, operation: Operation | None, answer: Succeeded | Declined, change: MoneyChanges
) -> str:
    assert operation is not None, "nothing is refused without a request"
    change.resolve(UNDECIDED, once=of(owed), reason=f"operation {operation.id} was decided")
    if isinstance(answer, Declined):
        change.update(refund_refused_at=at.present)
        facts = {"provider": owed.provider, "payment": owed.reference}
        reason = f"the refund of payment {owed.id} was refused ({answer.code}): {answer.reason}"
        amount = operation.amount
        change.finding(REFUSED, once=of(owed), reason=reason, amount=amount, facts=facts)
        return "refund refused"
    change.resolve(REFUSED, once=of(owed), reason=f"operation {operation.id} gave it back")
    if owed.escrow_status != "refunded" and operation.payment_id == owed.reference:
        change.update(escrow_status="refunded", refunded_at=at.present)
        change.notify(
            "request-refunded",
            to=owed.user_id,
            once=[owed.request_id, owed.id],
            category="transactional",
            context={"amount": {"minor": owed.amount_minor, "currency": owed.currency}},
        )
    return "refunded"


def undecided(at: At) -> Due:
    theirs = money_operations.c
    this = (theirs.subject == inline(TRANSACTION)) & (theirs.subject_id == ours.id)
    waits = (theirs.kind == inline("refund")) & (theirs.status == inline("pending"))
    told = inline(f"{UNDECIDED}.") + ours.provider + inline(".") + ours.reference
    return Due(
        wallet_transactions,
        {
            "it succeeded": ours.status == inline("completed"),
            "there is nothing that it could be for": ours.escrow_status == inline("void"),
            "its provider has had its refund for three days and not decided": exists(
                select(theirs.id).where(this, waits, theirs.first_sent_at <= at.now - SOME_DAYS)
            ),
            "nobody was told so": ~exists(select(findings.c.id).where(findings.c.once_key == told)),
        },
        since=ours.created_at,
    )


def tell_of_it(_: At, batch: BatchChanges) -> None:
    untold = (
        "is under way for three days at its provider, where somebody may have to do something: look there"
    )
    batch.finding(
        UNDECIDED,
        once=[ours.provider, ours.reference],
        reason=inline("the refund of payment ") + ours.reference + inline(f" {untold}"),
        amount_minor=ours.amount_minor,
        currency=ours.currency,
    )


SLOW = SetStep(undecided, tell_of_it, "refund undecided")
REFUNDS = MoneyStep(
    subject=TRANSACTION,
    kinds=("refund",),
    row=Owed,
    due=due,
    ask=ask,
    wanted=wanted,
    settle=settle,
    withdraw=withdraw,
    concurrency=concurrency,
)
