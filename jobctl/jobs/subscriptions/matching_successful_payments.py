"""Record payments that succeeded at a provider and never reached us.

A lost webhook leaves a customer who paid and has nothing. The payment and its period are made from the
payment's own metadata (user_id, plan_id, payment_provider_id); where that doesn't fit what is sold here, a
person has to look. What bears no mark of this installation (MATCHING_REQUIRES) is only counted.
What succeeded here alone is reported, never changed; so is what was given back at the provider, which keeps
its subscription from being charged.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Update, exists, func, or_, select, tuple_, update

from jobctl.job import At, Broken, Due, Look, Lost, Read, RowChanges, ScopeDownError
from jobctl.jobs.subscriptions import applying, marks, matching
from jobctl.jobs.subscriptions.applying import Buyer
from jobctl.jobs.subscriptions.matching import Listed, Match, Payment
from jobctl.jobs.subscriptions.renewing import SUBSCRIPTION
from jobctl.money import Money
from jobctl.providers.protocol import (
    REFERENCE,
    Declined,
    Found,
    NotFound,
    Paid,
    Pending,
    Unreadable,
)
from jobctl.providers.switchboard import Providers
from jobctl.tables.journal import money_operations
from jobctl.tables.notifications import users
from jobctl.tables.subscriptions import payments, plans, prices, subscription_periods
from jobctl.tables.types import inline

ours = payments.c
AT_REST = timedelta(minutes=10)  # after which lists and webhooks have told of a payment
LOOKED_BACK = timedelta(days=7)
ORPHAN = "orphan payment"
REFERENCES = ((ours, ours.reference), (money_operations.c, money_operations.c.key))


def news(_at: At, page: Sequence[Listed], read: Read) -> Sequence[Match]:
    return [each for each in matching.matched(page, read) if each.operation is None and each.payment is None]


def settle_listed(at: At, match: Match, change: RowChanges) -> str:
    paid, look = match.listed, change.look
    theirs = (ours.provider == paid.provider) & (ours.provider_payment_id == paid.id)
    if look(select(ours.id).where(theirs)) is not None:
        return "known already"
    if isinstance(paid, Unreadable):
        once, facts = [paid.provider, paid.id], {"provider": paid.provider, "payment": paid.id}
        change.finding("unreadable payment", once=once, reason=paid.reason, facts=facts)
        return "unreadable payment"
    if not marks.bears_ours(at, paid):
        change.drift(marks.OTHERS, paid.amount)
        return "none of ours"
    buyer = buyer_of(at, paid, look)
    if reason := another(matching.reference_of(paid), look):
        buyer = reason
    if isinstance(buyer, str):
        change.drift("succeeded at the provider and was for nobody known here", paid.amount)
        return applying.found(change, ORPHAN, paid, buyer)
    return applying.add(at, buyer, paid, matching.reference_of(paid), change)


def buyer_of(at: At, paid: Paid, look: Look) -> Buyer | str:
    """Return who paid for what, or why nobody can tell."""
    if reason := stranger(at, paid):
        return reason
    user_id, plan_id = number(paid, "user_id"), number(paid, "plan_id")
    is_there = (users.c.id == user_id) & users.c.deleted_at.is_(None)
    if user_id is None or look(select(users.c.id).where(is_there)) is None:
        return "its metadata has no user_id of anybody here"
    if plan_id is None or look(select(plans.c.id).where(plans.c.id == plan_id)) is None:
        return "its metadata has no plan_id of a plan here"
    if look(price_of(at, plan_id, paid)) is None:
        return f"plan {plan_id} did not cost {paid.amount} when it was paid"
    return Buyer(user_id, plan_id, renewable=paid.method is not None)


def another(reference: str | None, look: Look) -> str | None:
    """Return why a payment cannot be told by its reference: it is that of another one."""
    entries = (select(each.id).where(key == reference) for each, key in REFERENCES)
    known = reference is not None and any(look(each) is not None for each in entries)
    return "its jobctl_key is that of another payment" if known else None


def stranger(at: At, paid: Paid) -> str | None:
    """Return why a payment is none of ours, whatever numbers its metadata has."""
    told = paid.metadata.get(REFERENCE)
    if told is not None and not told.startswith(f"{at.installation}."):
        return "its jobctl_key is none of this installation's"
    if marks.named_in(paid) - {at.installation}:
        return "its metadata names another installation too"
    if paid.refunded:
        return "it was given back at the provider"
    if paid.metadata.get("payment_provider_id") != paid.provider:
        return f"its metadata has no payment_provider_id that is {paid.provider}"
    return None


def number(paid: Paid, name: str) -> int | None:
    """Return a number of ours in the metadata."""
    written = paid.metadata.get(name, "")
    return int(written) if written.isascii() and written.isdecimal() and len(written) < LONGEST else None


def price_of(at: At, plan_id: int, paid: Paid) -> Any:
    """Select the price, if it was one of the plan at any time at which the payment can have been begun."""
    begun = paid.paid_at - at.settings.payment_pending_max_age
    later = prices.alias("later")
    replaced = exists().where(
        later.c.plan_id == prices.c.plan_id,
        later.c.currency == prices.c.currency,
        later.c.valid_from > prices.c.valid_from,
        later.c.valid_from <= begun,
    )
    return select(prices.c.id).where(
        prices.c.plan_id == plan_id,
        prices.c.currency == paid.amount.currency,
        prices.c.amount_minor == paid.amount.minor,
        prices.c.valid_from <= paid.paid_at,
        ~replaced,
    )


def seen(at: At, page: Sequence[Listed]) -> Update:
    """Mark those that succeeded here too, with the same amount; what was given back is asked about."""
    same = tuple_(ours.provider_payment_id, ours.amount_minor, ours.currency)
    listed = [(each.id, *each.amount) for each in page if isinstance(each, Paid) and not each.refunded]
    # By their numbers first: those are what the index has.
    theirs = (ours.provider == page[0].provider) & ours.provider_payment_id.in_([each[0] for each in listed])
    succeeded = (ours.status == inline("succeeded")) & ours.confirmed_at.is_(None)
    return update(payments).where(theirs, same.in_(listed), succeeded).values(confirmed_at=at.present)


def paid(bound: Callable[[Any], ColumnElement[bool]]) -> ColumnElement[bool]:
    """Bound when it was paid; who wrote down no time of that meant when it was made."""
    return or_(bound(ours.paid_at), ours.paid_at.is_(None) & bound(ours.created_at))


def due(at: At) -> Due:
    first, last = at.since or at.now - LOOKED_BACK, at.now - AT_REST
    paid_at = func.coalesce(ours.paid_at, ours.created_at)
    return Due(
        payments,
        {
            "it succeeded here": ours.status == inline("succeeded"),
            "its provider has a number for it": ours.provider_payment_id.is_not(None),
            "its provider was not seen to have it as succeeded": ours.confirmed_at.is_(None),
            "it was paid more than ten minutes ago": paid(lambda when: when <= last),
            "it was paid in the last seven days, or since --since": paid(lambda when: when >= first),
            "its provider was not asked lately": matching.not_asked_lately(at),
        },
        since=paid_at,
        order=paid_at,
        read=matching.READ,
    )


class GivenBack(NamedTuple):
    """A payment that was given back at its provider, by a person, and how much of it."""

    paid: Paid
    amount: Money | None  # None: the provider doesn't tell


def call(providers: Providers, payment: Payment) -> Found | GivenBack:
    """Ask for a payment, and of one that was given back, which nobody knows here, how much of it was."""
    answer = matching.call(providers, payment)
    if not isinstance(answer, Paid) or not answer.refunded or payment.refunded_at is not None:
        return answer
    return GivenBack(answer, providers.given_back(answer))


def given_back(at: At, payment: Payment, answer: GivenBack, change: RowChanges) -> str:
    """Leave it to a person; nobody is charged for the next period after a payment that was given back.

    Of one that was given back in part that person decides first.
    """
    paid, amount = answer
    matching.postpone(at, payment, change, for_someone=True)
    how_much = f": {amount} of {paid.amount}" if amount else ""
    reason = f"payment {payment.id} was given back at the provider{how_much}"
    told: dict[str, Any] = {"amount": amount or paid.amount}
    if amount == paid.amount:
        change.update(refunded_at=at.present)
    else:
        its = subscription_periods.c.payment_id == payment.id
        period = change.look(select(subscription_periods.c.subscription_id).where(its))
        told["waits"] = period and (SUBSCRIPTION, period.subscription_id)
    change.drift("succeeded here and was given back at the provider", told["amount"])
    return applying.found(change, "payment mismatch", paid, reason, **told)


def settle(
    at: At, payment: Payment, answer: Found | GivenBack | Lost | Broken | ScopeDownError, change: RowChanges
) -> str:
    if isinstance(answer, GivenBack):
        return given_back(at, payment, answer, change)
    if isinstance(answer, Paid) and answer.amount == payment.amount:
        change.update(confirmed_at=at.present)
        return "confirmed"
    if not isinstance(answer, Paid | Declined | Pending | NotFound):
        return matching.not_told(at, payment, answer, change)
    if isinstance(answer, NotFound):
        return matching.not_there(at, payment, answer, change)
    matching.postpone(at, payment, change, for_someone=True)
    if isinstance(answer, Paid):
        return applying.found(change, "payment mismatch", answer, str(applying.mismatch(payment, answer)))
    return applying.unconfirmed(payment, STATES[type(answer)], change)


STATES = {Declined: "cancelled", Pending: "undecided"}
LONGEST = 19  # digits of a number of ours

JOB = (matching.following(news, settle_listed, seen), matching.looking_up(due, settle, call))
