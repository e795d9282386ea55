"""What is sent to Stripe, word for word, and what it counts amounts in."""

from collections.abc import Sequence

from jobctl.money import Money
from jobctl.providers import amounts
from jobctl.providers.protocol import (
    REFERENCE,
    Authorize,
    Capture,
    Charge,
    Refund,
    Release,
    Request,
    Stored,
    UnrepresentableError,
)
from jobctl.providers.wire import segment

INTENTS, REFUNDS = "/v1/payment_intents", "/v1/refunds"
# "Supported currencies": those of cards, and the decimals that Stripe counts them in. ISK and UGX have none
# and are counted with two ("Special cases"); MGA is counted without, though ISO 4217 gives it two.
TWO = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF
CNY COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS
INR ISK JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN
NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD
STD SZL THB TJS TOP TRY TTD TWD TZS UAH UGX USD UYU UZS WST XCD XCG YER ZAR ZMW
"""
NONE = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
THREE = "BHD JOD KWD OMR TND"
DECIMALS = {currency: n for n, listed in ((2, TWO), (0, NONE), (3, THREE)) for currency in listed.split()}
TENS = set(THREE.split())


def composed(request: Request, key: str) -> Stored:
    """Write a request as it will be sent, on every attempt; raises UnrepresentableError."""
    reference = [f"metadata[{REFERENCE}]", key]
    match request:
        case Authorize():
            return post(INTENTS, payment(request, "manual"), *metadata(request), reference)
        case Charge():
            return post(INTENTS, payment(request, "automatic"), *metadata(request), reference)
        case Capture():
            amount = [["amount_to_capture", smallest(request.amount)]]
            return post(f"{intent(request.payment_id)}/capture", amount, expanded())
        case Release():
            reason = [["cancellation_reason", "abandoned"]]
            return post(f"{intent(request.payment_id)}/cancel", reason)
        case Refund():
            fields = [["payment_intent", request.payment_id], ["amount", smallest(request.amount)]]
            return post(REFUNDS, fields, reference)


def post(path: str, fields: Sequence[Sequence[str]], *more: Sequence[str]) -> Stored:
    return {"method": "POST", "path": path, "fields": [list(each) for each in (*fields, *more)]}


def payment(request: Authorize | Charge, capture: str) -> list[list[str]]:
    return [
        ["amount", smallest(request.amount)],
        ["currency", request.amount.currency.lower()],
        ["customer", holder(request)],
        ["payment_method", request.method],
        ["capture_method", capture],
        ["confirm", "true"],
        ["off_session", "true"],
        expanded(),
    ]


def holder(request: Authorize | Charge) -> str:
    if not request.customer:
        raise UnrepresentableError("Stripe needs a method's customer, and provider_customer is empty")
    return request.customer


def metadata(request: Authorize | Charge) -> list[list[str]]:
    return [[f"metadata[{name}]", value] for name, value in request.metadata.items()]


def expanded() -> list[str]:
    """Ask for the charge within the intent: it has the end of the hold."""
    return ["expand[0]", "latest_charge"]


def intent(payment_id: str) -> str:
    return f"{INTENTS}/{segment(payment_id)}"


def smallest(amount: Money) -> str:
    """Return the amount in Stripe's smallest unit; raises UnrepresentableError."""
    if amount.currency in TENS and amount.minor % 10:  # for its partners' sake ("Three-decimal currencies")
        raise UnrepresentableError(f"Stripe takes {amount.currency} in multiples of 10 only, not {amount}")
    return str(amounts.theirs("Stripe", DECIMALS, amount))
