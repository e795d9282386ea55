"""Amounts as providers count them: each has its own list of currencies, and its own decimals for them."""

from collections.abc import Mapping
from decimal import Decimal

from jobctl.money import EXPONENTS, Money
from jobctl.providers.protocol import MOST, UnrepresentableError

Decimals = Mapping[str, int]  # of the currencies that a provider takes


def theirs(provider: str, decimals: Decimals, amount: Money) -> int:
    """Return an amount in the provider's smallest unit, never rounded; raises UnrepresentableError."""
    currency = amount.currency
    if currency not in decimals:
        raise UnrepresentableError(f"{provider} takes no {currency!a}, by its own list of currencies")
    exact = Decimal(amount.minor).scaleb(decimals[currency] - EXPONENTS.get(currency, 2))
    if exact != int(exact):
        many = decimals[currency] or "no"
        raise UnrepresentableError(f"{provider} takes {currency} with {many} decimals only, not {amount}")
    return int(exact)


def ours(decimals: Decimals, amount: object, currency: object) -> Money:
    """Return an amount of the provider's smallest unit in minor units of ISO 4217, never rounded.

    Raises ValueError for what is no amount, or of no currency that the provider takes.
    """
    if not isinstance(currency, str) or currency not in decimals:
        raise ValueError("no currency that the provider takes")
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount < MOST:
        raise ValueError("no amount")
    exact = Decimal(amount).scaleb(EXPONENTS.get(currency, 2) - decimals[currency])
    if exact != int(exact) or exact >= MOST:
        raise ValueError("no whole number of minor units")
    return Money(int(exact), currency)
