"""Subscriptions, and who pays for them: by their saved methods, by hand, or cancels."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import select

from jobctl.tables.journal import OPEN, money_operations
from jobctl.tables.subscriptions import payments, prices, subscriptions
from tests.disagreement.ordering import CARDS, PROVIDERS
from tests.disagreement.stage import ANY, Stage, happening

OPENED = {"stripe": "requires_payment_method", "yookassa": "pending"}
MARKS = st.sampled_from(["usual", "usual", "installation", "nobody", "none", "amount"])


class Renewing(Stage):
    @happening(provider=PROVIDERS, method=ANY, hours=st.integers(-90, 48))
    def subscribe(self, provider: str, method: int, hours: int) -> None:
        """Have a subscriber whose period ends soon, or has ended."""
        ends = self.now + timedelta(hours=hours)
        name = CARDS[provider][method % len(CARDS[provider])]
        self.club.provider = provider
        day = datetime.combine(ends.date(), time(), UTC)
        self.club.member(name, ended_at=ends, next_charge_at=day)

    @happening(which=ANY, ended=st.booleans())
    def unsubscribe(self, which: int, ended: bool) -> None:
        """Cancel a subscription: at once, or at its end."""
        ours = subscriptions.c
        if found := self.one(subscriptions, which, ours.status == "active", ours.cancelled_at.is_(None)):
            at_once = {"status": "cancelled", "next_charge_at": None} if ended else {}
            self.world.change(subscriptions, found.id, cancelled_at=self.now, **at_once)

    @happening(which=ANY, provider=PROVIDERS)
    def begin_by_hand(self, which: int, provider: str) -> None:
        """Have a subscriber begin to pay by hand, as docs/writers.md says."""
        journal, ours = money_operations.c, subscriptions.c
        mine = (journal.subject == "subscription") & (journal.subject_id == ours.id)
        asked = select(journal.id).where(mine, journal.status.in_(OPEN)).exists()
        found = self.one(subscriptions, which, ours.status == "active", ~asked)
        if found:
            self.club.provider = provider
            price = self.price(found.plan_id)
            number = self.pay_there(found.user_id, price, status=OPENED[provider])
            self.club.begun(
                found.user_id, number, subscription_id=found.id, amount_minor=price, created_at=self.now
            )

    def price(self, plan: int) -> int:
        rows = [
            each for each in self.world.rows(prices) if each.plan_id == plan and each.valid_from <= self.now
        ]
        return int(max(rows, key=lambda each: each.valid_from).amount_minor)

    def pay_there(self, user: int, amount: int, mark: str = "usual", **more: Any) -> str:
        """Let a customer pay at the provider itself; return the payment's number."""
        provider = self.club.provider
        metadata = {"user_id": str(user), "plan_id": str(self.club.plan), "payment_provider_id": provider}
        if mark == "installation":
            metadata["installation"] = self.club.installation
        if mark == "nobody":
            metadata["user_id"] = "999999"
        amount += mark == "amount"
        currency = "rub" if provider == "stripe" else "RUB"
        return self.sandbox.pay(provider, amount, currency, {} if mark == "none" else metadata, **more)

    @happening(which=ANY, method=ANY)
    def complete_by_hand(self, which: int, method: int) -> None:
        """Let a customer come back and pay what they had begun, whatever became of it here."""
        known = payments.c.provider_payment_id.is_not(None) & ~payments.c.provider_payment_id.like("first-%")
        if found := self.one(payments, which, known, payments.c.status != "succeeded"):
            self.at_dashboard("complete", found.provider, found.provider_payment_id)

    @happening(which=ANY, provider=PROVIDERS, mark=MARKS)
    def pay_unseen(self, which: int, provider: str, mark: str) -> None:
        """Let somebody pay of whom no webhook ever told."""
        if found := self.one(subscriptions, which):
            self.club.provider = provider
            self.pay_there(found.user_id, self.price(found.plan_id), mark)

    @happening(amount=st.integers(10_000, 90_000))
    def change_price(self, amount: int) -> None:
        row = {"plan_id": self.club.plan, "currency": "RUB", "amount_minor": amount, "valid_from": self.now}
        if not self.count(prices, prices.c.valid_from >= self.now):
            self.world.add(prices, row)
