"""PaymentIntents, charges and refunds, in the shapes that Stripe documents (Stripe: API reference)."""

from dataclasses import dataclass
from typing import Any

from jobctl.sandbox.ledger import Effect
from jobctl.sandbox.stripe.cards import Card, Decline

HIDDEN = ("key", "intent", "entry")


@dataclass
class Charge:
    """One attempt on a card; a hold is a charge that has not been captured."""

    id: str
    created: int
    card: Card
    failure: Decline | None = None
    capture_before: int | None = None
    captured: int = 0
    refunded: int = 0  # a released hold counts as refunded too

    def shown(self, intent: "Intent") -> dict[str, Any]:
        failure = self.failure
        return {
            "id": self.id,
            "object": "charge",
            "amount": intent.amount,
            "amount_captured": self.captured,
            "amount_refunded": self.refunded,
            "captured": bool(self.captured),
            "created": self.created,
            "currency": intent.currency,
            "customer": intent.customer,
            "description": intent.description,
            "failure_code": failure.code if failure else None,
            "failure_message": failure.message if failure else None,
            "livemode": False,
            "metadata": intent.metadata,
            "paid": not failure,
            "payment_intent": intent.id,
            "payment_method": intent.tried_with,
            "payment_method_details": {"card": self._card(intent), "type": "card"},
            "refunded": 0 < self.refunded == (self.captured or intent.amount),
            "status": "failed" if failure else "succeeded",
        }

    def _card(self, intent: "Intent") -> dict[str, Any]:
        shown = {
            "amount_authorized": None if self.failure else intent.amount,
            "brand": self.card.brand,
            "last4": self.card.last4,
            "network": self.card.brand,
        }
        return {**shown, "capture_before": self.capture_before} if self.capture_before else shown


@dataclass
class Intent:
    id: str
    created: int
    amount: int
    currency: str
    capture_method: str
    customer: str | None
    tried_with: str | None  # the payment method as given; a declined one is no longer the intent's
    description: str | None
    metadata: dict[str, str]
    status: str = "requires_payment_method"
    received: int = 0
    charge: Charge | None = None
    error: dict[str, Any] | None = None
    canceled_at: int | None = None
    cancellation_reason: str | None = None

    def shown(self, *, expand: bool = False) -> dict[str, Any]:
        charge = self.charge
        return {
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": self.amount if self.status == "requires_capture" else 0,
            "amount_received": self.received,
            "canceled_at": self.canceled_at,
            "cancellation_reason": self.cancellation_reason,
            "capture_method": self.capture_method,
            "client_secret": f"{self.id}_secret_sandbox",
            "confirmation_method": "automatic",
            "created": self.created,
            "currency": self.currency,
            "customer": self.customer,
            "description": self.description,
            "last_payment_error": self.error,
            "latest_charge": charge and (charge.shown(self) if expand else charge.id),
            "livemode": False,
            "metadata": self.metadata,
            "next_action": {"type": "use_stripe_sdk"} if self.status == "requires_action" else None,
            "payment_method": None if self.error else self.tried_with,
            "payment_method_types": ["card"],
            "status": self.status,
        }


@dataclass
class Event:
    """That something happened to an object, with the object as it was then (Stripe: The Event object)."""

    id: str
    created: int
    type: str
    thing: dict[str, Any]

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "event",
            "api_version": "2024-06-20",
            "created": self.created,
            "data": {"object": self.thing},
            "livemode": False,
            "type": self.type,
        }


@dataclass
class Refund:
    id: str
    created: int
    amount: int
    currency: str
    payment_intent: str
    charge: str
    reason: str | None
    metadata: dict[str, str]
    key: str | None  # of the request that made it
    intent: Intent
    status: str = "pending"
    entry: Effect | None = None  # in the ledger, once it has succeeded

    def shown(self) -> dict[str, Any]:
        """Return it; one that failed was sent back by the bank (Refunds: Handle failed refunds)."""
        named = {name: value for name, value in vars(self).items() if name not in HIDDEN}
        failure = {"failure_reason": "unknown"} if self.status == "failed" else {}
        pending = {"pending_reason": "processing"} if self.status == "pending" else {}
        return {**named, "object": "refund", "balance_transaction": None, **failure, **pending}
