"""Transactions and refunds, in the shapes that Paystack documents (API reference: Transactions, Refunds)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobctl.sandbox.clock import written

DOMAIN, CHANNEL = "test", "card"
SUCCESS, REVERSED = "success", "reversed"
# What the gateway says at each status, and nothing before there is an outcome (Verify Payments).
RESPONSES = {
    SUCCESS: "Successful",
    REVERSED: "Successful",
    "failed": "Declined",
    "abandoned": "The transaction was not completed",
    "ongoing": "",
    "pending": "",
    "processing": "",
    "queued": "",
}


@dataclass
class Transaction:
    id: int
    reference: str
    created: datetime
    amount: int  # in the currency's subunit, as is every amount
    currency: str
    metadata: dict[str, str]
    status: str = "pending"
    paid: datetime | None = None
    refunding: int = 0  # asked for, and on its way
    refunded: int = 0  # given back

    @property
    def left(self) -> int:
        """What can still be refunded."""
        return self.amount - self.refunding - self.refunded if self.status == SUCCESS else 0

    def brief(self) -> dict[str, Any]:
        """Return what a new refund tells of its transaction."""
        return {
            "id": self.id,
            "domain": DOMAIN,
            "reference": self.reference,
            "amount": self.amount,
            "currency": self.currency,
            "paid_at": self.paid and written(self.paid),
            "channel": CHANNEL,
        }

    def shown(self) -> dict[str, Any]:
        return {
            **self.brief(),
            "status": self.status,
            "gateway_response": RESPONSES[self.status],
            "created_at": written(self.created),
            "metadata": self.metadata or None,
        }


@dataclass
class Refund:
    id: int
    transaction: Transaction
    created: datetime
    amount: int
    merchant_note: str
    customer_note: str
    status: str = "pending"
    refunded: datetime | None = None

    def shown(self) -> dict[str, Any]:
        """Return it with its transaction's number.

        The reference calls its time createdAt where one is made or fetched, and created_at where they are
        listed: it has both everywhere.
        """
        created = written(self.created)
        return {
            "id": self.id,
            "transaction": self.transaction.id,
            "domain": DOMAIN,
            "status": self.status,
            "amount": self.amount,
            "currency": self.transaction.currency,
            "channel": CHANNEL,
            "merchant_note": self.merchant_note,
            "customer_note": self.customer_note,
            "refunded_at": self.refunded and written(self.refunded),
            "created_at": created,
            "createdAt": created,
        }
