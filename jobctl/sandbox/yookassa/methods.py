"""Saved payment methods for tests, and what becomes of a payment with each.

YooKassa's own tests are cards that a customer types in, and a saved method has an id that nobody knows
beforehand. These ids are therefore the sandbox's, and only the reasons are YooKassa's (Declined payments).
"""

from dataclasses import dataclass
from typing import Any

PENDING = 300  # seconds until a payment that stays pending is decided
NETWORK, YOOKASSA, MERCHANT = "payment_network", "yoo_money", "merchant"

# Who cancels for which reason: the documents name the parties and the reasons, and leave open whose each is.
REASONS = {
    "insufficient_funds": NETWORK,
    "issuer_unavailable": NETWORK,
    "internal_timeout": YOOKASSA,
    "payment_method_limit_exceeded": NETWORK,
    "general_decline": NETWORK,
    "card_expired": NETWORK,
    "invalid_card_number": NETWORK,
    "invalid_csc": NETWORK,
    "payment_method_restricted": NETWORK,
    "call_issuer": NETWORK,
    "permission_revoked": YOOKASSA,
    "fraud_suspected": YOOKASSA,
    "country_forbidden": YOOKASSA,
}


@dataclass(frozen=True)
class Method:
    id: str
    reason: str | None = None  # why each of its payments is canceled
    pending: bool = False
    saved: bool = True

    def shown(self) -> dict[str, Any]:
        card = {
            "first6": "555555",
            "last4": "4477",
            "expiry_year": "2035",
            "expiry_month": "01",
            "card_type": "Visa",
            "issuer_country": "RU",
        }
        title = {"title": "Bank card *4477", "card": card}
        return {"type": "bank_card", "id": self.id, "saved": self.saved, "status": "active", **title}


METHODS = {
    each.id: each
    for each in (
        Method("pm_yk_ok"),
        *(Method(f"pm_yk_{reason}", reason) for reason in REASONS),
        Method("pm_yk_pending_succeeds", pending=True),
        Method("pm_yk_pending_canceled", "general_decline", pending=True),
    )
}
