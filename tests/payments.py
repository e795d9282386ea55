"""Orders with cards at a payment provider's sandbox, and whether its ledger and the database agree."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobctl.parsing import rate
from jobctl.sandbox import PAYSTACK_SECRET_KEY, SECRET_KEY, YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID, Sandbox
from jobctl.tables.journal import money_operations
from jobctl.tables.notifications import notifications, users
from jobctl.tables.sessions import attendees, orders, payment_methods, sessions
from tests.world import NOW, Done, World, ago, ahead

AUTHORIZER, PROCESSOR = "session-payment-authorizer", "session-payment-processor"
CANCELLER, SETTLER = "unpaid-session-canceller", "settle-operations"


@dataclass
class Market:
    """A world whose payments go to a sandbox; its clock is the provider's too."""

    world: World
    sandbox: Sandbox
    now: datetime = NOW
    provider: str = "stripe"  # of the cards that are saved from now on

    def __post_init__(self) -> None:
        self.world.configure(
            stripe_secret_key=SECRET_KEY,
            stripe_api_base=self.sandbox.url,
            stripe_rate_limit=rate("100000/s"),
            stripe_timeout=timedelta(seconds=5),
            yookassa_shop_id=YOOKASSA_SHOP_ID,
            yookassa_secret_key=YOOKASSA_SECRET_KEY,
            yookassa_api_base=self.sandbox.url,
            yookassa_rate_limit=rate("100000/s"),
            yookassa_timeout=timedelta(seconds=5),
            paystack_secret_key=PAYSTACK_SECRET_KEY,
            paystack_url=self.sandbox.url,
            paystack_rate_limit=rate("100000/s"),
            paystack_timeout=timedelta(seconds=5),
        )
        self.sandbox.set_clock(self.now)

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)
        self.sandbox.set_clock(self.now)

    def run(self, job: str, **options: Any) -> Done:
        return self.world.run(job, now=self.now, **options)

    # ── people, sessions, orders ─────────────────────────────────────────────────────────────

    def session(self, **values: Any) -> int:
        """Agree a session that begins in a day and lasts an hour."""
        expert, consumer = self.world.user(name="Eva"), self.world.user(name="Carl")
        starts_at = values.get("starts_at", ahead(days=1))
        given = {"starts_at": starts_at, "ends_at": starts_at + timedelta(hours=1), "created_at": ago(days=1)}
        return self.world.add(sessions, {"expert_id": expert, "consumer_id": consumer, **given, **values})

    def past_session(self, attendance: str | None = "all_present", **values: Any) -> int:
        begun = {"status": "ended", "starts_at": ago(hours=2), "attendance": attendance}
        return self.session(**begun, **values)

    def card(self, name: str = "pm_card_visa", *, of: int) -> int:
        """Save a card of a user."""
        method = "pm_yk_ok" if (self.provider, name) == ("yookassa", "pm_card_visa") else name
        ours = {
            "user_id": of,
            "provider": self.provider,
            "provider_customer": "cus_1",
            "provider_method": method,
        }
        return self.world.add(payment_methods, {**ours, "created_at": ago(days=1)})

    def order(self, session: int | None = None, card: str | None = "pm_card_visa", **values: Any) -> int:
        """Add a complete order of 45 dollars that nothing is held for."""
        session = self.session() if session is None else session
        customer = values.get("customer_id", self.of(sessions, session).consumer_id)
        given = {
            "session_id": session,
            "customer_id": customer,
            "payment_method_id": self.card(card, of=customer) if card else None,
            "amount_minor": 4500,
            "currency": "USD",
            "status": "complete",
            "created_at": ago(days=1),
        }
        return self.world.add(orders, given | values)

    def held(self, session: int | None = None, **values: Any) -> int:
        """Add an order, and place its hold as the job does."""
        order = self.order(session, **values)
        before = self.of(sessions, self.of(orders, order).session_id)
        coming = {"status": "not_started", "starts_at": ahead(hours=1), "ends_at": ahead(hours=2)}
        self.world.change(sessions, before.id, **coming)
        assert self.run(AUTHORIZER, only=order).counts == {"held": 1}
        was = {name: getattr(before, name) for name in coming}
        self.world.change(sessions, before.id, **was)
        return order

    def of_another(self, order: int) -> None:
        """Have an order go by the card of another user."""
        other = self.world.user(name="Olga")
        self.change_method(self.of(orders, order).payment_method_id, user_id=other)

    def delete_customer(self, order: int) -> None:
        self.world.change(users, self.of(orders, order).customer_id, deleted_at=NOW)

    def change_method(self, method: int, **values: Any) -> None:
        self.world.change(payment_methods, method, **values)

    def join(self, session: int, *users: int) -> None:
        for each in users:
            self.world.add(attendees, {"session_id": session, "user_id": each, "joined_at": NOW})

    # ── what is there ────────────────────────────────────────────────────────────────────────

    def of(self, table: Any, row_id: int) -> Any:
        (row,) = (each for each in self.world.rows(table) if each.id == row_id)
        return row

    def status(self, order: int) -> str:
        return str(self.of(orders, order).payment_status)

    def operations(self, order: int | None = None) -> list[Any]:
        found = self.world.rows(money_operations)
        return [each for each in found if order is None or each.subject_id == order]

    def kinds(self, order: int) -> list[tuple[str, str]]:
        return [(each.kind, each.status) for each in self.operations(order)]

    def told(self) -> set[tuple[str, int, str, str]]:
        """Return what was queued: template, user, channel, category."""
        rows = self.world.rows(notifications)
        return {(each.template, each.user_id, each.channel, each.category) for each in rows}

    def unsettled(self) -> list[Any]:
        return [each for each in self.operations() if each.settled_at is None]

    # ── what must be true in the end ─────────────────────────────────────────────────────────

    def agree(self) -> None:
        """Compare the provider's ledger with the orders, to the last cent, intent by intent."""
        assert self.unsettled() == []
        assert [each.id for each in self.operations() if each.concluded_at and each.claimed_by] == []
        effects = self.sandbox.ledger()
        once = Counter((each.kind, each.intent) for each in effects if each.kind != "refund")
        assert set(once.values()) <= {1}
        held = {each.intent: each.amount for each in effects if each.kind == "hold"}
        captured = {each.intent: each.amount for each in effects if each.kind in ("capture", "charge")}
        released = {each.intent for each in effects if each.kind in ("release", "expiry")}
        refunded: Counter[str] = Counter()
        for each in effects:
            refunded[each.intent] += each.amount if each.kind == "refund" else 0
        kept = {intent: amount for intent, amount in captured.items() if amount != refunded[intent]}
        on_hold = {intent: n for intent, n in held.items() if intent not in released | set(captured)}
        rows = self.world.rows(orders)
        paid = [each for each in rows if each.payment_status == "captured" and not each.refunded_at]
        waiting = [each for each in rows if each.payment_status == "authorized"]
        assert kept == {each.payment_id: each.amount_minor for each in paid}
        assert on_hold == {each.payment_id: each.amount_minor for each in waiting}
