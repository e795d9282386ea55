from decimal import Decimal

import pytest

from jobctl.money import Money, major


@pytest.mark.parametrize(
    ("money", "amount", "written"),
    [
        (Money(4500, "USD"), "45.00", "45.00 USD"),
        (Money(7, "EUR"), "0.07", "0.07 EUR"),
        (Money(0, "EUR"), "0.00", "0.00 EUR"),
        (Money(-150, "EUR"), "-1.50", "-1.50 EUR"),
        (Money(500, "JPY"), "500", "500 JPY"),
        (Money(500, "ISK"), "500", "500 ISK"),
        (Money(500, "UGX"), "500", "500 UGX"),
        (Money(500, "MGA"), "5.00", "5.00 MGA"),
        (Money(1230, "KWD"), "1.230", "1.230 KWD"),
        (Money(12345, "CLF"), "1.2345", "1.2345 CLF"),
        (Money(10**20 + 1, "USD"), "1000000000000000000.01", "1000000000000000000.01 USD"),
    ],
)
def test_the_decimals_are_the_currencys(money: Money, amount: str, written: str) -> None:
    assert major(money) == Decimal(amount)
    assert str(money) == written
