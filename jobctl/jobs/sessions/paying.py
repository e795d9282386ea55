"""What the payment jobs read of an order, and the ways in which they speak of it."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, or_

from jobctl.journal import Operation
from jobctl.money import Money
from jobctl.providers.protocol import UnrepresentableError
from jobctl.tables.notifications import users
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
    rightful: bool  # its customer is there, and the card is theirs

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)

    def check_hold(self) -> None:
        """Raise UnrepresentableError where something is held for it, and it doesn't say by which payment."""
        if self.payment_status == "authorized" and not (self.payment_id and self.payment_provider):
            raise UnrepresentableError(
                "something is held for it, and it doesn't say by which payment: write on it the number and "
                "the provider of that, or that nothing is held"
            )

    @property
    def told(self) -> dict[str, Any]:
        """Return what messages about the order say of it."""
        return {
            "amount": {"minor": self.amount_minor, "currency": self.currency},
            "starts_at": self.starts_at.isoformat(),
        }

    def goes_by(self, operation: Operation) -> bool:
        """Tell whether an operation is on the payment that the order goes by; else it is on another one."""
        ours = self.payment_provider, self.payment_id
        return ours == (operation.provider, operation.payment_id)

    def waits_for(self, operation: Operation) -> bool:
        """Tell whether a hold or charge is the next one of the order; else another came before it."""
        return operation.cycle == f"hold-{self.holds + 1}"

    def is_asked(self, operation: Operation) -> bool:
        """Tell whether a hold or charge was sent, or may be: it is the next, and the card the customer's."""
        return operation.first_sent_at is not None or (self.rightful and self.waits_for(operation))


in_full = (
    orders.join(sessions, sessions.c.id == orders.c.session_id)
    .outerjoin(payment_methods, payment_methods.c.id == orders.c.payment_method_id)
    .outerjoin(users, users.c.id == orders.c.customer_id)
)
is_there = and_(users.c.id.is_not(None), users.c.deleted_at.is_(None))
# One without any is refused, and its customer asked for one.
is_own = or_(payment_methods.c.id.is_(None), payment_methods.c.user_id == orders.c.customer_id)
NOT_THEIRS = "not_the_customers"  # why what is neither held nor taken failed
READ: dict[str, Any] = {
    **{name: orders.c[name] for name in Order._fields if name in orders.c},
    "session_status": sessions.c.status,
    **{name: sessions.c[name] for name in ("attendance", "starts_at", "over_at")},
    "provider": payment_methods.c.provider,
    "customer": payment_methods.c.provider_customer,
    "method": payment_methods.c.provider_method,
    "rightful": and_(is_there, is_own),
}
READ = {name: READ[name] for name in Order._fields}
