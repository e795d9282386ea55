"""Which provider is which: its module is loaded, and its connections opened, when it is first needed."""

import importlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from jobctl.errors import MisconfiguredError
from jobctl.job import At, Means
from jobctl.providers.protocol import Paid, Provider, Request, Stored, Unreadable, UnrepresentableError
from jobctl.settings import Settings

PROVIDERS = {
    "stripe": ("jobctl.providers.stripe", "Stripe"),
    "yookassa": ("jobctl.providers.yookassa", "YooKassa"),
    "paystack": ("jobctl.providers.paystack", "Paystack"),
}
RECURRING = ("stripe", "yookassa")  # those that charge a saved method again
ESCROW = ("paystack",)  # those that take payments into escrow
NEEDED = {
    "stripe": "STRIPE_SECRET_KEY",
    "yookassa": "YOOKASSA_SHOP_ID and YOOKASSA_SECRET_KEY",
    "paystack": "PAYSTACK_SECRET_KEY",
}


def module_of(name: str) -> Any:
    """Return a provider's module; raises UnrepresentableError for one that there is not."""
    if name not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise UnrepresentableError(f"its payment provider {name!r} is none that jobctl knows: {known}")
    return importlib.import_module(PROVIDERS[name][0])


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
    named: str = module_of(name).account(settings)
    return named


def key_lives(name: str) -> timedelta:
    """Return how long a provider surely knows a key again; zero: it takes none."""
    lives: timedelta = module_of(name).KEY_LIVES
    return lives


def compose(name: str, request: Request, key: str) -> Stored:
    """Write a request as it will be sent; raises UnrepresentableError."""
    written: Stored = module_of(name).compose(request, key)
    return written


def connect(at: At, means: Means) -> "Providers":
    return Providers(at.settings, means)


class Providers:
    """The providers of one run; a context manager that closes what was opened."""

    def __init__(self, settings: Settings, means: Means) -> None:
        self.settings, self.means = settings, means
        self.opened: dict[str, Provider] = {}

    def open(self, name: str) -> Provider:
        """Return a provider; raises ScopeDownError where the settings have no account there."""
        if name not in self.opened:
            made: Provider = getattr(module_of(name), PROVIDERS[name][1])(self.settings, self.means)
            self.opened[name] = made
        return self.opened[name]

    def listed(self, name: str, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        return self.open(name).listed(since, until)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self.opened.values():
            each.close()
