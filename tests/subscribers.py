"""People who subscribe to plans, and what they paid."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments, plans, prices, subscription_periods, subscriptions
from tests.world import NOW, World, ago

MONTH = timedelta(days=31)


@dataclass
class Subscribers:
    """A world with one monthly plan of 500 roubles."""

    world: World
    plan: int = 0

    def __post_init__(self) -> None:
        self.plan = self.plan_of()

    def plan_of(self, **values: Any) -> int:
        given = {"name": "Gold", "unit": "month", "recurring": True, "created_at": ago(days=900)}
        plan = self.world.add(plans, given | values)
        price = {"plan_id": plan, "currency": "RUB", "amount_minor": 50_000, "valid_from": ago(days=900)}
        self.world.add(prices, price)
        return plan

    def subscription(self, **values: Any) -> int:
        """Add an active subscription that ended a day ago, with the payment of its last period."""
        ended_at = values.get("ended_at", ago(days=1))
        given = {
            "user_id": values.get("user_id") or self.world.user(name="Sven"),
            "plan_id": self.plan,
            "currency": "RUB",
            "started_at": ended_at - MONTH,
            "ended_at": ended_at,
            "billing_anchor_day": ended_at.day,
            "created_at": ended_at - MONTH,
        }
        made = self.world.add(subscriptions, given | values)
        paid = self.payment(status="succeeded", paid_at=ended_at - MONTH, subscription_id=made)
        period = {"period_start": ended_at - MONTH, "period_end": ended_at, "created_at": ended_at - MONTH}
        self.world.add(subscription_periods, period | {"subscription_id": made, "payment_id": paid})
        return made

    def payment(self, **values: Any) -> int:
        given = {
            "user_id": 1,
            "plan_id": self.plan,
            "provider": "yookassa",
            "amount_minor": 50_000,
            "currency": "RUB",
            "created_at": ago(days=1),
        }
        return self.world.add(payments, given | values)

    def operation(self, subscription: int, status: str) -> str:
        """Add a charge to the journal; return its key."""
        key = f"x.charge.subscription-{subscription}.2026-03-01.1"
        given = {
            "key": key,
            "kind": "charge",
            "subject": "subscription",
            "subject_id": subscription,
            "cycle": "2026-03-01",
            "attempt": 1,
            "provider": "yookassa",
            "account": "1",
            "request": {},
            "run_id": 1,
            "created_at": NOW,
            "status": status,
        }
        self.world.add(money_operations, given)
        return key

    def of(self, subscription: int) -> Any:
        return self.world.one(subscriptions, subscription)

    def paid(self, payment: int) -> Any:
        return self.world.one(payments, payment)
