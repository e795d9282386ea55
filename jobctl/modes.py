"""Real money and play money: settings that would mix the two.

A live key goes to its provider alone, and beside live keys there is no test key unless that is asked for.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from jobctl.settings import Settings

# The settings of each provider's key, and of where it answers.
ACCOUNTS = {
    "STRIPE_SECRET_KEY": "STRIPE_API_BASE",
    "YOOKASSA_SECRET_KEY": "YOOKASSA_API_BASE",
    "PAYSTACK_SECRET_KEY": "PAYSTACK_URL",
}
NEAR = ("localhost", "local", "internal", "intranet", "lan", "home", "test", "invalid", "example")
ALLOWED = "PAYMENT_ALLOW_MIXED_KEYS"
NUMBER = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")


def contradictions(settings: "Settings") -> Iterable[tuple[set[str], str]]:
    """Tell which keys and addresses are of two worlds: the settings' names, and what is wrong."""
    live = [name for name in ACCOUNTS if is_live(value(settings, name))]
    test = [name for name in ACCOUNTS if value(settings, name) and name not in live]
    for key in live:
        base = ACCOUNTS[key]
        if is_near(value(settings, base)):
            fault = f"a live key ({key}) goes to its provider by https, not to this host or a private network"
            yield names(key, base), f"{base}: {fault}; leave {base} unset, or set a test key"
    if not live or settings.payment_allow_mixed_keys:
        return
    otherwise = f"or set {ALLOWED}=true"
    if test:
        others = f"{' and '.join(test)} {'is' if len(test) == 1 else 'are'} not"
        fault = f"it is live and {others}, so that some of the money would be play money"
        yield names(*live, *test), f"{live[0]}: {fault}; set keys of one mode, {otherwise}"
    if is_near(settings.flutterwave_token_url):
        fault = f"it is not Flutterwave's, and would get its secrets, though {live[0]} is live"
        yield (
            names(*live, "FLUTTERWAVE_TOKEN_URL"),
            f"FLUTTERWAVE_TOKEN_URL: {fault}; leave it unset, {otherwise}",
        )


def value(settings: "Settings", name: str) -> str:
    return getattr(settings, name.lower()) or ""


def names(*given: str) -> set[str]:
    """Return the names under which these may be set."""
    return {*given, *(f"{name}_FILE" for name in given)}


def is_live(key: str) -> bool:
    return "live" in key.split("_")[:2]


def is_near(url: str) -> bool:
    """Tell whether a server is on this host, in a private network, or reached without TLS."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    last = host.rpartition(".")[2]
    if parts.scheme != "https" or last in NEAR:
        return True
    if ":" in host or NUMBER.fullmatch(last):
        return not is_public_address(host)
    return last == host


def is_public_address(host: str) -> bool:
    """Tell whether that is a public address; one written in an odd form is taken for none."""
    from jobctl.addresses import is_public  # noqa: PLC0415 (only where an address is set)

    try:
        return is_public(host)
    except ValueError:
        return False
