"""Payments and refunds, in the shapes that YooKassa documents (API reference)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from jobctl.sandbox.clock import written
from jobctl.sandbox.yookassa.fields import money
from jobctl.sandbox.yookassa.methods import Method

FEE = 35  # in thousandths: what the shop receives is less than what the customer pays


def new_id() -> str:
    return str(uuid4())


@dataclass
class Payment:
    id: str
    created: datetime
    amount: int  # in kopecks: what was asked for, and once captured what was captured
    currency: str
    capture: bool  # at once
    method: Method
    description: str | None
    metadata: dict[str, str]
    shop: str
    key: str | None  # of the request that made it
    status: str = "pending"
    captured: datetime | None = None
    expires: datetime | None = None  # while it waits for its capture
    refunded: int = 0
    cancellation: dict[str, str] | None = None

    @property
    def left(self) -> int:
        """What can still be refunded."""
        return self.amount - self.refunded if self.status == "succeeded" else 0

    def shown(self) -> dict[str, Any]:
        return present(
            id=self.id,
            status=self.status,
            amount=money(self.amount, self.currency),
            **self._settled(),
            description=self.description,
            recipient={"account_id": self.shop, "gateway_id": f"{self.shop}0"},
            payment_method=self.method.shown(),
            created_at=written(self.created),
            captured_at=self.captured and written(self.captured),
            expires_at=self.expires and written(self.expires),
            test=True,
            paid=self.status in ("waiting_for_capture", "succeeded"),
            refundable=self.left > 0,
            metadata=self.metadata,
            cancellation_details=self.cancellation,
        )

    def _settled(self) -> dict[str, Any]:
        if self.status != "succeeded":
            return {}
        income = self.amount - self.amount * FEE // 1000
        amounts = {"income_amount": income, "refunded_amount": self.refunded}
        return {name: money(amount, self.currency) for name, amount in amounts.items()}


@dataclass
class Refund:
    id: str
    created: datetime
    payment: Payment
    amount: int
    description: str | None
    metadata: dict[str, str]
    key: str | None  # of the request that made it
    status: str = "pending"
    cancellation: dict[str, str] | None = None

    def shown(self) -> dict[str, Any]:
        return present(
            id=self.id,
            payment_id=self.payment.id,
            status=self.status,
            cancellation_details=self.cancellation,
            created_at=written(self.created),
            amount=money(self.amount, self.payment.currency),
            description=self.description,
            metadata=self.metadata,
        )


def present(**fields: Any) -> dict[str, Any]:
    """Leave out what there is not: YooKassa has no nulls."""
    return {name: value for name, value in fields.items() if value is not None}
