"""Something to do for each job, so that what strikes it strikes something."""

from datetime import timedelta

from sqlalchemy import select

from jobctl.tables.sessions import orders, sessions
from jobctl.tables.subscriptions import subscriptions
from tests.disagreement.escrow import Escrow
from tests.disagreement.ordering import Ordering
from tests.disagreement.renewing import Renewing

PROVIDERS = ("stripe", "yookassa")
OVERDUE = {"minutes": 6}  # what was sent so long ago is asked about


class Supplying(Ordering, Renewing, Escrow):
    def provide(self, job: str, number: int) -> None:
        """Have something due for a job; number: which provider, and which of what there is."""
        provider = PROVIDERS[number % len(PROVIDERS)]
        match job:
            case "session-payment-authorizer":
                self.book(provider, number % 5, 3 + number % 40, 1000 + number, "USD")
            case "session-payment-processor":
                self.end_one(number)
            case "autopayments":
                self.subscribe(provider, number % 5, 1)
            case "payment-cleanup":
                self.ask_creator(1000 + number, 25 + number % 40, ("success", "failed")[number % 2], 2)
            case "matching-pending-payments":
                if not self.one(subscriptions, 0, subscriptions.c.status == "active"):
                    self.subscribe(provider, 0, 40)
                self.begin_by_hand(number, provider)
                self.complete_by_hand(number, 0)
            case "matching-successful-payments":
                self.pay_unseen(number, provider, "usual")
                self.pass_time(minutes=2)
            case "settle-operations":
                self.lose_one(provider, number)

    def end_one(self, number: int) -> None:
        """Have a session over that something is held for, and both came."""
        held = select(orders.c.session_id).where(orders.c.payment_status == "authorized")
        coming = (sessions.c.status == "not_started") & sessions.c.id.in_(held)
        found = self.one(sessions, number, coming)
        if found is None:
            return
        times = {"starts_at": self.now - timedelta(hours=1), "ends_at": self.now - timedelta(minutes=10)}
        self.world.change(sessions, found.id, **times)
        self.meet(self.one(sessions, 0, sessions.c.id == found.id), "both")
        self.run_job("session-attendance-analyzer")

    def lose_one(self, provider: str, number: int) -> None:
        """Have a hold placed whose answer is lost, or comes late."""
        self.book(provider, 0, 3 + number % 40, 1000 + number, "USD")
        self.trouble(("lost_answer", "late", "http_500_after", "http_500_before")[number % 4], "authorize", 0)
        self.run_job("session-payment-authorizer")
        self.pass_time(**OVERDUE)
