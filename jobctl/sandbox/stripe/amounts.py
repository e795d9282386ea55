"""What Stripe can charge in which currency (Stripe: Supported currencies)."""

from collections.abc import Collection

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


# Those that its refusal of another one names (observed; Supported currencies says "more than 135").
CURRENCIES = {
    "usd", "aed", "afn", "all", "amd", "ang", "aoa", "ars", "aud", "awg", "azn", "bam", "bbd", "bdt", "bgn",
    "bhd", "bif", "bmd", "bnd", "bob", "brl", "bsd", "btn", "bwp", "byn", "bzd", "cad", "cdf", "chf", "clp",
    "cny", "cop", "crc", "cve", "czk", "djf", "dkk", "dop", "dzd", "egp", "etb", "eur", "fjd", "fkp", "gbp",
    "gel", "ghs", "gip", "gmd", "gnf", "gtq", "gyd", "hkd", "hnl", "hrk", "htg", "huf", "idr", "ils", "inr",
    "isk", "jmd", "jod", "jpy", "kes", "kgs", "khr", "kmf", "krw", "kwd", "kyd", "kzt", "lak", "lbp", "lkr",
    "lrd", "lsl", "mad", "mdl", "mga", "mkd", "mmk", "mnt", "mop", "mur", "mvr", "mwk", "mxn", "myr", "mzn",
    "nad", "ngn", "nio", "nok", "npr", "nzd", "omr", "pab", "pen", "pgk", "php", "pkr", "pln", "pyg", "qar",
    "ron", "rsd", "rub", "rwf", "sar", "sbd", "scr", "sek", "sgd", "shp", "sle", "sos", "srd", "std", "szl",
    "thb", "tjs", "tnd", "top", "try", "ttd", "twd", "tzs", "uah", "ugx", "uyu", "uzs", "vnd", "vuv", "wst",
    "xaf", "xcd", "xof", "xpf", "yer", "zar", "zmw",
}  # fmt: skip


def check_currency(currency: str, unknown: Collection[str] = ()) -> None:
    if currency not in CURRENCIES or currency in unknown:
        known = ", ".join(sorted(CURRENCIES.difference(unknown)))
        message = f"Invalid currency: {currency}. Stripe currently supports these currencies: {known}"
        raise StripeError(message, "currency")


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
