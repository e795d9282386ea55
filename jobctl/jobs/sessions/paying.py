"""What the payment jobs read of an order, and the ways in which they speak of it."""

from datetime import datetime
from typing import Any, NamedTuple

from jobctl.money import Money
from jobctl.tables.sessions import orders, payment_methods, sessions

ORDER: str = orders.info["subject"]


class Order(NamedTuple):
    """An order with its session, and the card that it is to be paid with."""

    id: int
    status: str
    payment_status: str
    customer_id: int
    parent_order_id: int | None
    amount_minor: int
    currency: str
    holds: int
    payment_provider: str | None
    payment_account: str | None
    payment_id: str | None
    hold_ends_at: datetime | None
    session_id: int
    session_status: str
    attendance: str | None
    starts_at: datetime
    over_at: datetime
    provider: str | None
    customer: str | None
    method: str | None

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)

    @property
    def told(self) -> dict[str, Any]:
        """Return what messages about the order say of it."""
        return {
            "amount": {"minor": self.amount_minor, "currency": self.currency},
            "starts_at": self.starts_at.isoformat(),
        }


in_full = orders.join(sessions, sessions.c.id == orders.c.session_id).outerjoin(
    payment_methods, payment_methods.c.id == orders.c.payment_method_id
)
READ: dict[str, Any] = {
    **{name: orders.c[name] for name in Order._fields if name in orders.c},
    "session_status": sessions.c.status,
    **{name: sessions.c[name] for name in ("attendance", "starts_at", "over_at")},
    "provider": payment_methods.c.provider,
    "customer": payment_methods.c.provider_customer,
    "method": payment_methods.c.provider_method,
}
READ = {name: READ[name] for name in Order._fields}
