"""What Stripe can charge in which currency (Stripe: Supported currencies)."""

import re

from jobctl.sandbox.stripe.errors import StripeError

THREE_DECIMALS = {"bhd", "jod", "kwd", "omr", "tnd"}
# Written with two decimals for old times' sake, although the currency has none left.
WHOLE_ONLY = {"isk", "ugx"}
# The smallest charge in the currencies that an account can settle in; others depend on the day's rate.
MINIMUM = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300,
    "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
DIGITS = {"idr": 12, "lbp": 11, "cop": 10, "huf": 10, "jpy": 10, "inr": 9}


def check_currency(currency: str) -> None:
    if not re.fullmatch(r"[a-z]{3}", currency):
        raise StripeError(f"Invalid currency: {currency}. It is three lower-case letters.", "currency")


def check_charge(amount: int, currency: str) -> None:
    if amount < MINIMUM.get(currency, 1):
        message = f"Amount must be at least {MINIMUM[currency]} {currency}."
        raise StripeError(message, "amount", "amount_too_small")
    most = 10 ** DIGITS.get(currency, 8) - 1
    if amount > most:
        raise StripeError(f"Amount must be no more than {most} {currency}.", "amount", "amount_too_large")
    check_step(amount, currency, "amount")


def check_step(amount: int, currency: str, param: str) -> None:
    """Refuse what the currency cannot be charged in; of captures and refunds as well."""
    step = 10 if currency in THREE_DECIMALS else 100 if currency in WHOLE_ONLY else 1
    if amount % step:
        raise StripeError(f"Invalid amount: in {currency} it must be a multiple of {step}.", param)
