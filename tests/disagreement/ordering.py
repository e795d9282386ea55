"""Sessions and their orders: what the application, its customers and the provider's people do."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import select, update

from jobctl.tables.journal import OPEN, money_operations
from jobctl.tables.notifications import users
from jobctl.tables.sessions import attendees, orders, payment_methods, sessions
from tests.disagreement.stage import ANY, Stage, happening

CARDS = {
    "stripe": (
        *["pm_card_visa"] * 5,
        "pm_card_mastercard",
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        "pm_card_chargeDeclinedExpiredCard",
        "pm_card_authenticationRequired",
        "pm_card_radarBlock",
    ),
    "yookassa": (
        *["pm_yk_ok"] * 5,
        "pm_yk_insufficient_funds",
        "pm_yk_card_expired",
        "pm_yk_permission_revoked",
        "pm_yk_pending_succeeds",
        "pm_yk_pending_canceled",
    ),
}
PROVIDERS = st.sampled_from(["stripe", "yookassa"])
GATHERED = {
    "both": ("expert_id", "consumer_id"),
    "expert": ("expert_id",),
    "consumer": ("consumer_id",),
    "nobody": (),
}
BEGUN = ("authorized", "captured", "released", "capture_failed")


class Ordering(Stage):
    @happening(
        provider=PROVIDERS,
        card=ANY,
        hours=st.integers(1, 60),
        amount=st.integers(100, 100_000),
        currency=st.sampled_from(["USD", "EUR"]),
    )
    def book(self, provider: str, card: int, hours: int, amount: int, currency: str) -> None:
        """Agree a session, and order it."""
        session = self.market.session(starts_at=self.now + timedelta(hours=hours), created_at=self.now)
        self.order(session, provider, card, amount_minor=amount, currency=currency)

    def order(self, session: int, provider: str, card: int, **values: Any) -> int:
        self.market.provider = provider
        name = CARDS[provider][card % len(CARDS[provider])]
        return self.market.order(session, name, created_at=self.now, **values)

    @happening(which=ANY, provider=PROVIDERS, card=ANY)
    def extend(self, which: int, provider: str, card: int) -> None:
        """Agree more time of a session, which is an order of its own."""
        of_sessions = select(sessions.c.id).where(
            sessions.c.status != "cancelled", sessions.c.attendance.is_(None)
        )
        parent = self.one(
            orders, which, orders.c.parent_order_id.is_(None), orders.c.session_id.in_(of_sessions)
        )
        if parent:
            self.order(parent.session_id, provider, card, parent_order_id=parent.id, amount_minor=1500)

    @happening(which=ANY, came=st.sampled_from(["both", "both", "both", *GATHERED]))
    def take_place(self, which: int, came: str) -> None:
        """Let a session be over, whoever came to it."""
        ours = sessions.c
        begun = self.one(sessions, which, ours.status == "not_started", ours.starts_at <= self.now)
        if begun is not None:
            self.meet(begun, came)

    def meet(self, begun: Any, came: str) -> None:
        for role in GATHERED[came]:
            joined = {"session_id": begun.id, "user_id": getattr(begun, role), "joined_at": begun.starts_at}
            self.world.add(attendees, joined)
        self.world.change(sessions, begun.id, status="ended", ended_at=min(self.now, begun.ends_at))

    @happening(which=ANY)
    def cancel_session(self, which: int) -> None:
        """Cancel a session of which nothing is paid yet, as far as the application can tell."""
        paid = select(orders.c.session_id).where(orders.c.payment_status == "captured")
        stands = sessions.c.status.in_(["not_started", "in_progress"])
        found = self.one(sessions, which, stands, sessions.c.id.not_in(paid))
        if found:
            self.world.change(sessions, found.id, status="cancelled", cancelled_at=self.now)

    @happening(which=ANY, provider=PROVIDERS, card=ANY)
    def give_card(self, which: int, provider: str, card: int) -> None:
        """Have a customer give another card, as docs/payments.md says."""
        failed = orders.c.payment_status == "authorization_failed"
        found = self.one(
            orders, which, orders.c.status == "complete", failed | (orders.c.payment_status == "not_started")
        )
        if found is None:
            return
        name = CARDS[provider][card % len(CARDS[provider])]
        given = {"user_id": found.customer_id, "provider": provider, "provider_customer": "cus_1"}
        method = self.world.add(payment_methods, {**given, "provider_method": name, "created_at": self.now})
        with self.world.engine.begin() as connection:
            mine = update(orders).where(orders.c.id == found.id)
            connection.execute(mine.values(payment_method_id=method, payment_failed_at=None))
            connection.execute(mine.where(failed).values(payment_status="not_started"))

    @happening(which=ANY, amount=st.integers(100, 100_000))
    def change_amount(self, which: int, amount: int) -> None:
        """Change the price of an order for which nothing is held or asked for."""
        journal = money_operations.c
        mine = (journal.subject == "order") & (journal.subject_id == orders.c.id)
        asked = select(journal.id).where(mine, journal.status.in_(OPEN)).exists()
        free = orders.c.payment_status.in_(["not_started", "authorization_failed"])
        if found := self.one(orders, which, free, ~asked):
            self.world.change(orders, found.id, amount_minor=amount)

    @happening(which=ANY)
    def delete_user(self, which: int) -> None:
        """Delete somebody; one in three, lest nobody be left."""
        if which % 3 == 0 and (found := self.one(users, which // 3, users.c.deleted_at.is_(None))):
            self.world.change(users, found.id, deleted_at=self.now)
