"""Amounts: an integer number of minor units and an ISO 4217 code; never a float."""

from decimal import Decimal
from typing import NamedTuple

# ISO 4217, where a currency has not two decimals.
DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS = {currency: n for n, listed in DECIMALS.items() for currency in listed.split()}


class Money(NamedTuple):
    minor: int
    currency: str

    def __str__(self) -> str:
        return f"{major(self)} {self.currency}"


def major(money: Money) -> Decimal:
    """Return the amount in the currency's major unit: 45.00 for 4500 cents."""
    return Decimal(money.minor).scaleb(-EXPONENTS.get(money.currency, 2))
