"""What belongs to one secret key, and how its money moves."""

from copy import deepcopy
from secrets import token_hex
from typing import Any

from jobctl.sandbox.clock import instant
from jobctl.sandbox.keys import Keys
from jobctl.sandbox.ledger import Effect
from jobctl.sandbox.office import Office
from jobctl.sandbox.stripe.cards import AUTHENTICATION, CARDS, DAY, Decline
from jobctl.sandbox.stripe.errors import StripeError
from jobctl.sandbox.stripe.objects import Charge, Event, Intent, Refund
from jobctl.sandbox.stripe.shelf import Shelf

NAME = "stripe"
CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)


def new_id(prefix: str) -> str:
    return f"{prefix}_{token_hex(12)}"


class Account:
    """Its objects and its idempotency keys (Stripe: Idempotent requests, keys are pruned after 24 hours)."""

    def __init__(self, office: Office) -> None:
        self.intents: Shelf[Intent] = Shelf("payment_intent", office)
        self.refunds: Shelf[Refund] = Shelf("refund", office)
        self.events: Shelf[Event] = Shelf("event", office)
        self.keys = Keys(DAY)
        self.office = office

    def confirm(
        self,
        intent: Intent,
        key: str | None,
        at: float,
        *,
        off_session: bool = False,
        present: bool = False,
    ) -> None:
        """Try the intent's card; raises the error of a declined one, which leaves the intent without it.

        present: the customer is there, and authenticates where that is asked for.
        """
        assert intent.tried_with is not None
        card = CARDS[intent.tried_with]
        asks = card.needs_customer and not present
        if asks and not off_session:
            intent.status = "requires_action"
            return
        decline = AUTHENTICATION if asks else card.decline
        intent.charge = Charge(new_id("ch"), int(at), card, decline)
        if decline:
            raise refused(intent, decline)
        if intent.capture_method == "manual":
            self._hold(intent, key, at)
        else:
            self._capture(intent, "charge", intent.amount, key, at)

    def _hold(self, intent: Intent, key: str | None, at: float) -> None:
        assert intent.charge is not None
        intent.status = "requires_capture"
        intent.charge.capture_before = int(at) + intent.charge.card.window
        self.record("hold", intent, intent.amount, key, at)
        self.office.later(intent.charge.capture_before, lambda due: self.expire(intent, due))

    def expire(self, intent: Intent, at: float) -> None:
        if intent.status == "requires_capture":
            self._let_go(intent, "expiry", "automatic", None, at)

    def capture(self, intent: Intent, amount: int | None, key: str | None, at: float) -> None:
        """Take some of the hold or all of it; the rest is released (Stripe: Capture a PaymentIntent).

        A lapsed hold is a canceled intent, so that its late capture meets an unexpected state.
        """
        if intent.status != "requires_capture":
            raise unexpected(intent, "captured", ("requires_capture",))
        if amount is not None and amount > intent.amount:
            message = "The requested capture amount is greater than the authorized amount."
            param, code = "amount_to_capture", "amount_too_large"
            raise StripeError(message, param, code, payment_intent=intent.shown())
        self._capture(intent, "capture", amount or intent.amount, key, at)

    def _capture(self, intent: Intent, kind: str, amount: int, key: str | None, at: float) -> None:
        assert intent.charge is not None
        intent.status, intent.received, intent.charge.captured = "succeeded", amount, amount
        self.record(kind, intent, amount, key, at)
        self.tell("payment_intent.succeeded", intent.shown(), at)

    def cancel(self, intent: Intent, reason: str | None, key: str | None, at: float) -> None:
        if intent.status not in CANCELABLE:
            raise unexpected(intent, "canceled", CANCELABLE)
        if intent.status == "requires_capture":
            self._let_go(intent, "release", reason, key, at)
        else:
            mark_canceled(intent, reason, at)

    def _let_go(self, intent: Intent, kind: str, reason: str | None, key: str | None, at: float) -> None:
        assert intent.charge is not None
        intent.charge.refunded = intent.amount
        mark_canceled(intent, reason, at)
        self.record(kind, intent, intent.amount, key, at)

    def tell(self, what: str, thing: dict[str, Any], at: float) -> None:
        self.events.add(Event(new_id("evt"), int(at), what, deepcopy(thing)))

    def record(
        self,
        kind: str,
        intent: Intent,
        amount: int,
        key: str | None,
        at: float,
        *,
        metadata: dict[str, str] | None = None,
    ) -> Effect:
        said = dict(intent.metadata if metadata is None else metadata)
        effect = Effect(NAME, kind, intent.id, amount, intent.currency, said, key, instant(at))
        return self.office.record(effect)


def refundable(intent: Intent, amount: int | None) -> tuple[Charge, int]:
    """Return the charge, and how much of it is to be given back: all that is left where none is named."""
    charge = intent.charge
    if intent.status != "succeeded" or charge is None:
        message = f"This PaymentIntent ({intent.id}) does not have a successful charge to refund."
        raise StripeError(message, "payment_intent")
    left = charge.captured - charge.refunded
    if not left:
        raise StripeError(f"Charge {charge.id} has already been refunded.", None, "charge_already_refunded")
    if amount is not None and amount > left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})."
        raise StripeError(message, "amount")
    return charge, amount or left


def mark_canceled(intent: Intent, reason: str | None, at: float) -> None:
    intent.status, intent.cancellation_reason, intent.canceled_at = "canceled", reason, int(at)


def refused(intent: Intent, decline: Decline) -> StripeError:
    """Return the card error, which is also the intent's last payment error."""
    assert intent.charge is not None
    shown = {"brand": intent.charge.card.brand, "last4": intent.charge.card.last4}
    details: dict[str, Any] = {
        "charge": intent.charge.id,
        "decline_code": decline.decline_code,
        "advice_code": decline.advice_code,
        "payment_method": {
            "id": intent.tried_with,
            "object": "payment_method",
            "type": "card",
            "card": shown,
        },
    }
    error = StripeError(decline.message, None, decline.code, status=402, kind="card_error", **details)
    intent.status, intent.error = "requires_payment_method", dict(error.error)
    error.error["payment_intent"] = intent.shown()
    return error


def unexpected(intent: Intent, done: str, allowed: tuple[str, ...]) -> StripeError:
    message = (
        f"This PaymentIntent could not be {done} because it has a status of {intent.status}. Only one with "
        f"one of the following statuses may be {done}: {', '.join(allowed)}."
    )
    code = "payment_intent_unexpected_state"
    return StripeError(message, None, code, payment_intent=intent.shown())
