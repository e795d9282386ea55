"""Which provider is which: its module is loaded, and its connections opened, when it is first needed."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from types import TracebackType
from typing import Protocol, Self

from jobctl.errors import Exit, MisconfiguredError
from jobctl.job import At, Means, ScopeDownError
from jobctl.money import Money
from jobctl.providers.proof import proved_listed, proved_payment
from jobctl.providers.protocol import (
    Answer,
    Declined,
    Found,
    Inquiry,
    Mismatched,
    NoEffect,
    NotFound,
    Paid,
    Pending,
    Provider,
    Request,
    Stored,
    Succeeded,
    Unreadable,
    UnrepresentableError,
)
from jobctl.settings import Settings


class Adapter(Protocol):
    """A provider's module; all but `opened` needs no network."""

    KEY_LIVES: timedelta  # how long it surely knows a key again; zero: it takes none
    REPEATS_500: bool  # the same request is to be sent again, under the same key, until its answer is no 500
    LISTED_AFTER: timedelta  # how long after a request what it did may be missing in the lists
    HORIZON: timedelta  # how long what seemed absent is looked for again

    def named(self, settings: Settings) -> bool:
        """Tell whether the settings name an account here, if only in part."""
        ...

    def account(self, settings: Settings) -> str:
        """Name the account; raises ScopeDownError (exit 78) where the settings have none."""
        ...

    def compose(self, request: Request, key: str) -> Stored:
        """Write a request as it will be sent, on every attempt; raises UnrepresentableError."""
        ...

    def opened(self, settings: Settings, means: Means) -> Provider:
        """Return the account, to be asked; raises ScopeDownError (exit 78) where the settings have none."""
        ...


def _stripe() -> Adapter:
    from jobctl.providers import stripe  # noqa: PLC0415 (lazy, see above)

    return stripe


def _yookassa() -> Adapter:
    from jobctl.providers import yookassa  # noqa: PLC0415 (lazy, see above)

    return yookassa


def _paystack() -> Adapter:
    from jobctl.providers import paystack  # noqa: PLC0415 (lazy, see above)

    return paystack


PROVIDERS: dict[str, Callable[[], Adapter]] = {
    "stripe": _stripe,
    "yookassa": _yookassa,
    "paystack": _paystack,
}
RECURRING = ("stripe", "yookassa")  # those that charge a saved method again
ESCROW = ("paystack",)  # those that take payments into escrow
NEEDED = {
    "stripe": "STRIPE_SECRET_KEY",
    "yookassa": "YOOKASSA_SHOP_ID and YOOKASSA_SECRET_KEY",
    "paystack": "PAYSTACK_SECRET_KEY",
}

FEWEST = 3  # payments asked about, to conclude anything from how many of them were found
IS_THERE = (Paid, Succeeded, Declined, Pending, NoEffect, Mismatched)  # what is told of a payment that is
ELSEWHERE = ("other_payment", "other_mode")  # codes of what is told of none that was asked about


def module_of(name: str) -> Adapter:
    """Return a provider's module; raises UnrepresentableError for one that there is not."""
    if name not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise UnrepresentableError(f"its payment provider {name!r} is none that jobctl knows: {known}")
    return PROVIDERS[name]()


def configured(settings: Settings, among: Sequence[str] = RECURRING) -> list[str]:
    """Return the providers that the settings have an account at; raises MisconfiguredError for none."""
    found = [name for name in among if module_of(name).named(settings)]
    if not found:
        needed = ", or ".join(NEEDED[name] for name in among)
        raise MisconfiguredError(f"no payment provider is configured: set {needed}")
    return found


def concurrency(settings: Settings) -> int:
    """Return how many requests to providers are under way at once."""
    return settings.payment_concurrency


def account(settings: Settings, name: str) -> str:
    """Name the account that the settings have there; raises ScopeDownError where they have none."""
    return module_of(name).account(settings)


def at_account(settings: Settings, name: str) -> str:
    """Name a provider, the account and the key there, by its digest; raises ScopeDownError as `account` does.

    Of two integrations with keys of one mode the name of the account may be the same.
    """
    key = str(getattr(settings, f"{name}_secret_key"))
    return f"{name}.{account(settings, name)}.{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def key_lives(name: str) -> timedelta:
    """Return how long a provider surely knows a key again; zero: it takes none."""
    return module_of(name).KEY_LIVES


def repeats_500(name: str) -> bool:
    """Tell whether a server's error is answered by the same request under the same key, once a minute."""
    return module_of(name).REPEATS_500


def listed_after(name: str) -> timedelta:
    """Return how long after a request what it did may be missing in the provider's lists."""
    return module_of(name).LISTED_AFTER


def horizon(name: str) -> timedelta:
    """Return for how long what seemed absent is looked for again."""
    return module_of(name).HORIZON


def compose(name: str, request: Request, key: str) -> Stored:
    """Write a request as it will be sent; raises UnrepresentableError."""
    return module_of(name).compose(request, key)


def connect(at: At, means: Means) -> "Providers":
    return Providers(at.settings, means)


@dataclass
class Tally:
    """What became of the payments that one provider was asked about, by their numbers."""

    found: int = 0
    missing: int = 0

    @property
    def elsewhere(self) -> bool:
        """Whether so little of it is there that another place was asked than they were made at."""
        return self.found + self.missing >= FEWEST and self.found * 10 < self.missing


class Providers:
    """The providers of one run; a context manager that closes what was opened. Used by many threads."""

    def __init__(self, settings: Settings, means: Means) -> None:
        self.settings, self.means = settings, means
        self.opened: dict[str, Provider] = {}
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.lock = Lock()

    def open(self, name: str) -> Provider:
        """Return a provider; raises ScopeDownError where the settings have no account there."""
        with self.lock:
            if name not in self.opened:
                self.opened[name] = module_of(name).opened(self.settings, self.means)
            return self.opened[name]

    def retrieve(self, name: str, payment_id: str) -> Found:
        """Ask for a payment by its number there; what fails is Unknown.

        Raises ScopeDownError where the provider is of no use for the rest of the run: it is down, or has
        (nearly) nothing of what it is asked about. What it has all the same is returned.
        """
        provider = self.open(name)
        self._refuse_elsewhere(name)
        answer = provider.retrieve(payment_id)
        found = proved_payment(name, payment_id, provider.live, answer, self.means.clock())
        self._count(name, found)
        if isinstance(found, NotFound):
            self._refuse_elsewhere(name)
            return replace(found, proved=self.found(name))
        return found

    def placed(self, name: str, told: Answer, *, looked: bool) -> Answer:
        """Tell, of an answer about a payment whose number was known, whether the run has found others there.

        looked: it was looked for; a request that went out had certainly no effect, and closes nothing.
        """
        self._count(name, told)
        if not isinstance(told, NotFound):
            return told
        down = self.elsewhere(name) if looked else None
        if down:
            return NotFound(down.reason, closes=down.exit_code)
        return replace(told, proved=self.found(name))

    def _count(self, name: str, told: object) -> None:
        with self.lock:
            about_it = not (isinstance(told, Mismatched) and told.code in ELSEWHERE)
            self.tallies[name].found += isinstance(told, IS_THERE) and about_it
            self.tallies[name].missing += isinstance(told, NotFound)

    def found(self, name: str) -> bool:
        """Tell whether this run has found a payment by its number there: that it asks the right account."""
        with self.lock:
            return self.tallies[name].found > 0

    def _refuse_elsewhere(self, name: str) -> None:
        if down := self.elsewhere(name):
            raise down

    def elsewhere(self, name: str) -> ScopeDownError | None:
        """Return why a provider is of no use, where it has (nearly) nothing of what this run asked about."""
        with self.lock:
            tally = replace(self.tallies[name])
        if not tally.elsewhere:
            return None
        asked, there = tally.found + tally.missing, tally.found or "none"
        reason = f"of {asked} payments asked about it has {there}: is this the right key?"
        return ScopeDownError(name, reason, Exit.MISCONFIGURED)

    def given_back(self, paid: Paid) -> Money | None:
        """Return how much was given back of a payment, by a person there; None: that is not told."""
        told = self.open(paid.provider).look(Inquiry("charge", "", paid.id, paid.paid_at))
        of_it = isinstance(told, Mismatched) and (told.code, told.payment_id) == ("refunded_by_hand", paid.id)
        return told.amount if isinstance(told, Mismatched) and of_it else None

    def listed(self, name: str, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        provider = self.open(name)
        pages = provider.listed(since, until)
        return ([proved_listed(each, provider.live, until) for each in page] for page in pages)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self.opened.values():
            each.close()
