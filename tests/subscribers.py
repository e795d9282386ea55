"""People who subscribe to plans, and what they paid."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

from jobctl.job import Means
from jobctl.money import Money
from jobctl.parsing import rate
from jobctl.providers.protocol import KINDS, Authorize, Release, Request, Succeeded
from jobctl.providers.switchboard import Providers, compose
from jobctl.sandbox import SECRET_KEY, YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID, Sandbox
from jobctl.tables.frame import installation
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments, plans, prices, subscription_periods, subscriptions
from tests.world import NOW, Done, World, ago

MONTH = timedelta(days=31)
USUAL = {"stripe": "pm_card_visa", "yookassa": "pm_yk_ok"}  # methods that can always be charged


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

    def subscription(self, *, paid: dict[str, Any] | None = None, **values: Any) -> int:
        """Add an active subscription that ended a day ago, with the payment of its last period."""
        ended_at = values.get("ended_at", ago(days=1))
        given: dict[str, Any] = {
            "user_id": values.get("user_id") or self.world.user(name="Sven"),
            "plan_id": self.plan,
            "currency": "RUB",
            "started_at": ended_at - MONTH,
            "ended_at": ended_at,
            "billing_anchor_day": ended_at.day,
            "created_at": ended_at - MONTH,
        }
        made = self.world.add(subscriptions, given | values)
        last = {"status": "succeeded", "paid_at": ended_at - MONTH, "subscription_id": made}
        payment = self.payment(**last, user_id=given["user_id"], **(paid or {}))
        period = {"period_start": ended_at - MONTH, "period_end": ended_at, "created_at": ended_at - MONTH}
        self.world.add(subscription_periods, period | {"subscription_id": made, "payment_id": payment})
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


@dataclass
class Club(Subscribers):
    """Subscribers whose payments go to a sandbox; its clock is the providers' too."""

    sandbox: Sandbox = field(default_factory=Sandbox)
    provider: str = "yookassa"
    now: datetime = NOW

    def __post_init__(self) -> None:
        super().__post_init__()
        fast = {"rate_limit": rate("100000/s"), "timeout": timedelta(seconds=5), "api_base": self.sandbox.url}
        self.world.configure(
            stripe_secret_key=SECRET_KEY,
            yookassa_shop_id=YOOKASSA_SHOP_ID,
            yookassa_secret_key=YOOKASSA_SECRET_KEY,
            **{f"{name}_{what}": value for name in ("stripe", "yookassa") for what, value in fast.items()},
        )
        self.sandbox.set_clock(self.now)

    def member(self, method: str | None = None, **values: Any) -> int:
        """Add a subscription that ends today, and is to be charged today."""
        saved = {
            "provider": self.provider,
            "provider_method": method or USUAL[self.provider],
            "provider_customer": "cus_1",
            "provider_payment_id": f"first-{len(self.world.rows(payments))}",
        }
        ends = {"ended_at": NOW + timedelta(hours=3), "next_charge_at": NOW.replace(hour=0)}
        return self.subscription(paid=saved, **{**ends, **values})

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)
        self.sandbox.set_clock(self.now)

    def run(self, job: str, **options: Any) -> Done:
        return self.world.run(job, now=self.now, **options)

    def buyer(self, **values: Any) -> int:
        return self.world.user(**{"name": "Bruno", **values})

    def pay(self, user_id: int | None = None, minor: int = 50_000, currency: str = "RUB", **more: Any) -> str:
        """Have a customer pay at the provider itself, an hour ago at most; return its number there.

        metadata: instead of the usual; ago: a timedelta.
        """
        usual = {"user_id": str(user_id), "plan_id": str(self.plan), "payment_provider_id": self.provider}
        metadata = more.pop("metadata", usual)
        paid_at = self.now - more.pop("ago", timedelta(minutes=5))
        written = currency.lower() if self.provider == "stripe" else currency
        times = {"at": more.pop("begun", paid_at), "captured_at": paid_at}
        return self.sandbox.pay(self.provider, minor, written, metadata, **times)

    def begun(self, user_id: int, number: str | None, **values: Any) -> int:
        """Add a payment as the application writes it before the customer goes to the provider."""
        given = {"user_id": user_id, "provider": self.provider, "provider_payment_id": number}
        return self.payment(**{"created_at": self.now - timedelta(minutes=10), **given, **values})

    @property
    def installation(self) -> str:
        (row,) = self.world.rows(installation)
        return str(row.id)

    def at_provider(self, request: Request) -> str:
        """Ask the provider for something that jobctl knows nothing of; return the number of its payment."""
        key = f"by-hand-{len(self.sandbox.ledger())}"
        means = Means(self.world.stop, 1, StringIO())
        with Providers(self.world.settings, means) as providers:
            stored = compose(self.provider, request, key)
            outcome = providers.open(self.provider).send(KINDS[type(request)], stored, key)
        assert isinstance(outcome, Succeeded)
        return outcome.payment_id

    def unknown(self) -> str:
        """Return the number of no payment."""
        return {"stripe": "pi_0", "yookassa": "00000000-000f-5000-8000-000000000000"}[self.provider]

    def held(self) -> str:
        """Have a payment at the provider that is not decided; return its number."""
        return self.at_provider(Authorize(Money(50_000, "RUB"), "cus_1", USUAL[self.provider]))

    def released(self) -> str:
        """Have one that came to nothing."""
        return self.at_provider(Release(self.held()))

    def subscriptions_of(self, user_id: int) -> list[Any]:
        return [each for each in self.world.rows(subscriptions) if each.user_id == user_id]

    def payments_of(self, user_id: int) -> list[Any]:
        return [each for each in self.world.rows(payments) if each.user_id == user_id]

    def renewals(self, subscription: int) -> list[Any]:
        """Return the payments of a subscription but for the first."""
        found = [each for each in self.world.rows(payments) if each.subscription_id == subscription]
        return found[1:]

    def periods(self, subscription: int) -> list[Any]:
        found = self.world.rows(subscription_periods)
        return [each for each in found if each.subscription_id == subscription]

    def agree(self) -> None:
        """Compare the providers' ledger with the payments: each charge that was kept is one period."""
        assert [each for each in self.world.rows(money_operations) if each.settled_at is None] == []
        effects = self.sandbox.ledger()
        charged = Counter(each.intent for each in effects if each.kind == "charge")
        assert set(charged.values()) <= {1}
        refunded = {each.intent for each in effects if each.kind == "refund"}
        rows = [each for each in self.world.rows(payments) if each.reference]
        paid = {each.provider_payment_id: each for each in rows if each.status == "succeeded"}
        assert set(paid) == set(charged)
        assert {name for name, each in paid.items() if each.refunded_at} == refunded
        of_periods = {each.payment_id for each in self.world.rows(subscription_periods)}
        assert {each.id for name, each in paid.items() if name not in refunded} == of_periods & {
            each.id for each in rows
        }
