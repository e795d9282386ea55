"""Requests, and what is paid into escrow for them; tests/jobs/marketplace has that alone, and more of it."""

from contextlib import suppress
from datetime import timedelta

from hypothesis import strategies as st

from jobctl.tables.marketplace import requests, wallet_transactions
from tests.disagreement.stage import ANY, Stage, happening

STATUSES = (*["success"] * 4, "failed", "abandoned", "processing", "reversed")


class Escrow(Stage):
    creator = 0

    @happening(
        amount=st.integers(1, 10**6), hours=st.integers(0, 60), status=st.sampled_from(STATUSES), odd=ANY
    )
    def ask_creator(self, amount: int, hours: int, status: str, odd: int) -> None:
        """Ask for something, and begin to pay; one in eight pays another amount, or never comes there."""
        self.creator = self.creator or self.world.user(verified_at=self.now)
        created = self.now - timedelta(hours=hours)
        asked = self.bazaar.request(creator_id=self.creator, amount_minor=amount, created_at=created)
        made = self.bazaar.transaction(asked)
        if odd % 8 != 1:
            self.bazaar.at_paystack(made, status, **({"amount": amount + 1} if odd % 8 == 0 else {}))

    @happening(which=ANY, status=st.sampled_from(STATUSES))
    def decide_payment(self, which: int, status: str) -> None:
        ours = wallet_transactions.c
        if payment := self.one(wallet_transactions, which, ours.reference.is_not(None)):
            with suppress(ValueError):  # what the provider itself would not do
                self.bazaar.at_paystack(payment.id, status)
                if status == "reversed":
                    self.reversed.add(payment.reference)

    @happening(which=ANY, dispute=st.sampled_from([None, None, "open", "resolved"]))
    def deliver(self, which: int, dispute: str | None) -> None:
        """Complete what is in progress, or dispute it."""
        if found := self.one(requests, which, requests.c.status == "in_progress"):
            self.world.change(requests, found.id, status="completed", completed_at=self.now, dispute=dispute)
