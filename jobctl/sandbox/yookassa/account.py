"""What belongs to one shop, and how its money moves (YooKassa: Payment process, Refunds)."""

from datetime import timedelta

from jobctl.sandbox.clock import instant, moment
from jobctl.sandbox.ledger import Effect
from jobctl.sandbox.office import Office
from jobctl.sandbox.yookassa.errors import YooKassaError
from jobctl.sandbox.yookassa.keys import Keys
from jobctl.sandbox.yookassa.methods import MERCHANT, PENDING, REASONS, YOOKASSA
from jobctl.sandbox.yookassa.objects import Payment, Refund
from jobctl.sandbox.yookassa.shelf import Shelf

NAME = "yookassa"
WAITING = "waiting_for_capture"
WINDOW = timedelta(days=7)  # in which a payment with a bank card is to be captured (Two-stage payments)


class Account:
    """Its payments, refunds and keys."""

    def __init__(self, shop: str, office: Office) -> None:
        self.shop = shop
        self.payments: Shelf[Payment] = Shelf("payment", office)
        self.refunds: Shelf[Refund] = Shelf("refund", office)
        self.keys = Keys()
        self.office = office

    def begin(self, payment: Payment, at: float) -> None:
        """Take a payment; one that stays pending is decided later, whoever asks about it then."""
        self.payments.add(payment)
        if payment.method.pending:
            self.office.later(at + PENDING, lambda due: self.decide(payment, due))
        else:
            self.decide(payment, at)

    def decide(self, payment: Payment, at: float) -> None:
        reason = payment.method.reason
        if payment.status != "pending":
            return
        if reason:
            cancel(payment, REASONS[reason], reason)
        else:
            self.succeed(payment, at)

    def succeed(self, payment: Payment, at: float) -> None:
        """Let it be paid; it waits for its capture unless it was to be captured at once."""
        if payment.capture:
            self._capture(payment, "charge", payment.amount, payment.key, at)
        else:
            self._hold(payment, at)

    def _hold(self, payment: Payment, at: float) -> None:
        payment.status, payment.expires = WAITING, moment(at) + WINDOW
        self.record("hold", payment, payment.amount, payment.key, at)
        self.office.later(payment.expires.timestamp(), lambda due: self.expire(payment, due))

    def expire(self, payment: Payment, at: float) -> None:
        """Cancel what nobody has captured, or confirmed (Payment process)."""
        if payment.status == WAITING:
            cancel(payment, YOOKASSA, "expired_on_capture")
            self.record("expiry", payment, payment.amount, None, at)
        elif payment.status == "pending":
            cancel(payment, YOOKASSA, "expired_on_confirmation")

    def capture(self, payment: Payment, amount: int | None, key: str | None, at: float) -> None:
        """Take some of the hold or all of it; the rest goes back to the customer (Capture a payment)."""
        must_wait(payment, "captured")
        if amount is not None and amount > payment.amount:
            raise YooKassaError("More than was authorized cannot be captured.", "amount.value")
        self._capture(payment, "capture", amount or payment.amount, key, at)

    def _capture(self, payment: Payment, kind: str, amount: int, key: str | None, at: float) -> None:
        payment.status, payment.amount, payment.expires = "succeeded", amount, None
        payment.captured = moment(at)
        self.record(kind, payment, amount, key, at)

    def cancel(
        self,
        payment: Payment,
        key: str | None,
        at: float,
        party: str = MERCHANT,
        reason: str = "canceled_by_merchant",
    ) -> None:
        must_wait(payment, "canceled")
        cancel(payment, party, reason)
        self.record("release", payment, payment.amount, key, at)

    def record(
        self,
        kind: str,
        payment: Payment,
        amount: int,
        key: str | None,
        at: float,
        *,
        metadata: dict[str, str] | None = None,
    ) -> Effect:
        said = dict(payment.metadata if metadata is None else metadata)
        effect = Effect(NAME, kind, payment.id, amount, payment.currency, said, key, instant(at))
        return self.office.record(effect)


def cancel(payment: Payment, party: str, reason: str) -> None:
    payment.status, payment.expires = "canceled", None
    payment.cancellation = {"party": party, "reason": reason}


def must_wait(payment: Payment, done: str) -> None:
    if payment.status != WAITING:
        raise YooKassaError(f"Only a payment that is {WAITING} can be {done}; this one is {payment.status}.")
