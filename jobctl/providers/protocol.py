"""What a payment provider can be asked, and the answers it can give.

A provider's module is an `Adapter` (switchboard.py), its class a `Provider`.
Jobs name a capability; which provider is asked says the row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeVar

from jobctl.errors import Exit
from jobctl.money import Money
from jobctl.outside_text import is_id

Kind = Literal["authorize", "capture", "release", "charge", "refund"]
REFERENCE = "jobctl_key"  # in a payment's metadata: our key, by which it is found again
Stored = Mapping[str, Any]  # a request as the journal keeps it, to be sent and resent word for word


@dataclass(frozen=True)
class Authorize:
    """Hold an amount on a saved payment method, off session.

    metadata: what the provider keeps of ours beside our reference, such as `user_id`.
    """

    amount: Money
    customer: str | None  # who has the method, where the provider wants to know (Stripe)
    method: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Charge:
    """Hold and take an amount in one."""

    amount: Money
    customer: str | None  # who has the method, where the provider wants to know (Stripe)
    method: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Capture:
    payment_id: str
    amount: Money


@dataclass(frozen=True)
class Release:
    payment_id: str


@dataclass(frozen=True)
class Refund:
    payment_id: str
    amount: Money


Request = Authorize | Charge | Capture | Release | Refund
NAMING = ("capture", "release", "refund")  # the kinds of request that name a payment
KINDS: dict[type[Any], Kind] = {
    Authorize: "authorize",
    Charge: "charge",
    Capture: "capture",
    Release: "release",
    Refund: "refund",
}


class UnrepresentableError(ValueError):
    """A request that the provider has no way to say, such as an amount it cannot represent."""


@dataclass(frozen=True)
class Succeeded:
    """The effect is there, as far as the provider tells; proof.py compares that with what was asked for.

    amount: what was held, received or given back. live: whether that is real money. reference: ours, where
    the kind of request carries one. None: the answer doesn't tell.
    """

    payment_id: str
    hold_ends_at: datetime | None = None  # of an authorization, as the provider tells it
    amount: Money | None = None
    live: bool | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Mismatched:
    """An answer about something else than what was asked for: a fact, which a person has to decide about.

    code: `other_payment`, `other_amount`, `other_currency`, `other_mode`, `other_reference`, `twice` (two
    effects under one key), or what a person did at the provider: `cancelled_by_hand`, `captured_by_hand`,
    `refunded_by_hand`. amount: what the provider tells, where it tells one.
    """

    code: str
    reason: str
    payment_id: str | None = None
    amount: Money | None = None


@dataclass(frozen=True)
class Declined:
    """The bank, or the state of the payment, said no.

    retryable: the same method may work another day. needs_customer: the customer has to act, such as to give
    another card. Neither: no further charge is allowed. live, reference: as of a success.
    """

    code: str
    reason: str
    retryable: bool = False
    needs_customer: bool = False
    payment_id: str | None = None
    unfinished: bool = False
    live: bool | None = field(default=None, compare=False)
    reference: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Rejected:
    """Certainly no effect, and not the customer's doing."""

    code: str
    reason: str
    closes: Exit | None = None  # the provider is of no use for the rest of the run
    later: bool = False  # the same may work later; else a person has to see to it


@dataclass(frozen=True)
class Pending:
    """The provider has it, and has not decided. live, reference: as of a success."""

    payment_id: str
    live: bool | None = field(default=None, compare=False)
    reference: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Unknown:
    """Nobody can tell what became of it."""

    code: str
    reason: str
    closes: Exit | None = None


Told = TypeVar("Told")


def marked(answer: Told, live: bool | None, reference: str | None = None) -> Told:
    """Note what a decline, or a delay, is to be proved by: that of another payment says nothing of ours."""
    if isinstance(answer, Declined | Pending):
        return replace(answer, live=live, reference=reference)
    return answer


REFUSED_AGAIN = "refused_again"


def doubtful(refused: Rejected) -> Unknown:
    """Read a refusal where an earlier request under the same key had no answer: it says nothing of that."""
    code = refused.code if refused.later or refused.closes else REFUSED_AGAIN
    return Unknown(code, f"{refused.reason}; an earlier request had no answer", refused.closes)


@dataclass(frozen=True)
class NoEffect:
    """Only of a look-up by number: the payment is there, and shows that the request had no effect."""


@dataclass(frozen=True)
class NotListed:
    """Only of a look-up by our reference: a list that is complete by the provider's own word lacks it."""

    reason: str = field(default="", compare=False)  # what is to be said beside, as of clocks that differ


@dataclass(frozen=True)
class NotFound:
    """The provider says, in its own form, that the account has no payment of the number asked about.

    reason: what it says. proved: whether the same run has found others of the account there, so that the
    right one was asked. closes: the exit code where it has (nearly) none of those that the run asked about.
    """

    reason: str = field(default="", compare=False)
    proved: bool = False
    closes: Exit | None = None


Outcome = Succeeded | Declined | Rejected | Pending | Unknown | Mismatched | NotFound
Answer = Outcome | NoEffect | NotListed  # to a look-up


@dataclass(frozen=True)
class Inquiry:
    """A request of long ago, to be found at the provider."""

    kind: Kind
    key: str  # our reference, in the metadata
    payment_id: str | None
    first_sent_at: datetime


@dataclass(frozen=True)
class Paid:
    """A payment that succeeded, as its provider tells it."""

    provider: str
    id: str
    amount: Money
    paid_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    customer: str | None = None
    method: str | None = None  # that was saved with it, to be charged again
    refunded: bool = False  # some of it was given back
    live: bool | None = None  # whether it is real money; None: the provider doesn't tell


@dataclass(frozen=True)
class Unreadable:
    """A payment that its provider lists, and of which nobody can tell what it is."""

    provider: str
    id: str
    reason: str


MOST = 2**63  # of minor units, that a database takes


def sound(paid: Paid) -> Paid | Unreadable:
    """Return what was read, unless it is nothing that could be written down."""
    if not all(is_id(each) for each in (paid.customer, paid.method) if each is not None):
        return Unreadable(paid.provider, paid.id, "its payment method is none")
    if not paid.amount.minor:
        return Unreadable(paid.provider, paid.id, "its amount is none")
    return paid


Found = Paid | Declined | Pending | NotFound | Unknown | Mismatched


class Provider(Protocol):
    """One account at one provider; its methods are called from many threads at once.

    None of them raises for what a provider or a network can do, but NotBegunError where the run is told to
    stop before the request went out.
    """

    patience: timedelta  # the longest that `send` may take
    live: bool | None  # whether its key moves real money; None: the key doesn't tell

    def send(self, kind: Kind, request: Stored, key: str) -> Outcome: ...

    def look(self, inquiry: Inquiry) -> Answer:
        """Ask what became of a request; a look-up that fails is Unknown."""
        ...

    def retrieve(self, payment_id: str) -> Found:
        """Ask for a payment by its number there; what fails is Unknown.

        Raises ScopeDownError where the provider is of no use for the rest of the run.
        """
        ...

    def listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        """List what succeeded in the half-open window, newest first; raises ScopeDownError."""
        ...

    def close(self) -> None: ...
