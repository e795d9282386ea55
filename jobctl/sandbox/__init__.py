"""Payment providers' stand-ins: speak their protocols on this machine, keep their state, have their faults.

Written from the providers' public documents alone, and sharing nothing with the adapters that talk to it, so
that a misreading of the one is not repeated in the other.
"""

from jobctl.sandbox.accounts import (
    BILLING_KEY,
    FLUTTERWAVE_CLIENT_ID,
    FLUTTERWAVE_CLIENT_SECRET,
    OTHER_BILLING_KEY,
    OTHER_PAYSTACK_SECRET_KEY,
    OTHER_SECRET_KEY,
    OTHER_YOOKASSA_SECRET_KEY,
    OTHER_YOOKASSA_SHOP_ID,
    PAYSTACK_SECRET_KEY,
    SECRET_KEY,
    YOOKASSA_SECRET_KEY,
    YOOKASSA_SHOP_ID,
)
from jobctl.sandbox.sandbox import Sandbox

__all__ = [
    "BILLING_KEY",
    "FLUTTERWAVE_CLIENT_ID",
    "FLUTTERWAVE_CLIENT_SECRET",
    "OTHER_BILLING_KEY",
    "OTHER_PAYSTACK_SECRET_KEY",
    "OTHER_SECRET_KEY",
    "OTHER_YOOKASSA_SECRET_KEY",
    "OTHER_YOOKASSA_SHOP_ID",
    "PAYSTACK_SECRET_KEY",
    "SECRET_KEY",
    "YOOKASSA_SECRET_KEY",
    "YOOKASSA_SHOP_ID",
    "Sandbox",
]
