"""The sandbox's state, and what a test, or the control API, asks of it."""

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from jobctl.sandbox.billing import Billing
from jobctl.sandbox.checks import require
from jobctl.sandbox.clock import Agenda, Clock, instant
from jobctl.sandbox.dashboard import Act, Dashboard
from jobctl.sandbox.faults import Fault, Faults
from jobctl.sandbox.flutterwave import Flutterwave
from jobctl.sandbox.ledger import Effect, totals
from jobctl.sandbox.office import Conditions, Office
from jobctl.sandbox.outside import paid_outside
from jobctl.sandbox.paystack.provider import Paystack
from jobctl.sandbox.protocol import Provider
from jobctl.sandbox.refunds import check_plan
from jobctl.sandbox.stripe.provider import Stripe
from jobctl.sandbox.yookassa.provider import YooKassa

CENTURY = 36_525 * 86_400


class Desk:
    """The sandbox without its network; every method may be called from any thread."""

    def __init__(self, latency: float, forbidden: Collection[str]) -> None:
        self.latency = latency  # seconds that a request takes
        self._forbidden = forbidden
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._clock, self._agenda = Clock(), Agenda()
        self._ledger: list[Effect] = []
        self._faults = Faults()
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._versions: Counter[str] = Counter()
        self.dashboard = Dashboard(self._act)
        paystack, self._billing = Paystack(self._office()), Billing(self._office())
        self._providers: dict[str, Provider] = {
            "/v1/": Stripe(self._office()),
            "/v3/": YooKassa(self._office()),
            "/transaction": paystack,
            "/refund": paystack,
            "/realms/": Flutterwave(self._office()),
            "/billing/": self._billing,
        }

    def _office(self) -> Office:
        return Office(self._ledger, self._agenda, self._forbidden)

    def ledger(self) -> list[Effect]:
        """Return every effect, in the order in which they happened."""
        with self._lock:
            self._catch_up()
            return list(self._ledger)

    def totals(self) -> dict[str, dict[str, int]]:
        """Return for each currency the sums of what was ever held, captured, released, refunded."""
        return totals(self.ledger())

    def fault(
        self,
        kind: str,
        call: str = "any",
        *,
        times: int | None = None,
        probability: float | None = None,
        seed: int = 0,
        contains: str = "",
        seconds: float | None = None,
        place: str = "",
    ) -> None:
        """Switch a fault on; faults.py has the kinds. Raises ValueError for what doesn't exist."""
        made = Fault(kind, call, times, probability, seed, contains, seconds, place)
        with self._lock:
            self._faults.on.append(made)

    def faults(self) -> list[dict[str, Any]]:
        with self._lock:
            return [each.shown() for each in self._faults.on]

    def clear_faults(self) -> None:
        """Switch every fault off; requests that are being delayed go on at once."""
        with self._lock:
            self._faults = Faults()
        self.wake()

    def wake(self) -> None:
        """End the waiting of every request that is under way."""
        asleep, self._awake = self._awake, threading.Event()
        asleep.set()

    def now(self) -> datetime:
        return instant(self._clock.now())

    def advance(self, seconds: float) -> None:
        """Move the clock forward; what falls due on the way happens, at its own time."""
        require(0 <= seconds <= CENTURY, "advance takes seconds, from 0 to a hundred years")
        with self._lock:
            self._clock.advance(seconds)
            self._catch_up()

    def set_clock(self, now: datetime) -> None:
        """Let it be this instant; from there on time goes by as it does everywhere."""
        require(now.tzinfo is not None, "an instant has a time zone")
        with self._lock:
            self._clock.set(now.timestamp())
            self._catch_up()

    def pay(
        self,
        provider: str,
        amount: int,
        currency: str,
        metadata: Mapping[str, str] | None = None,
        *,
        at: datetime | None = None,
        captured_at: datetime | None = None,
        account: str | None = None,
        reference: str | None = None,
        status: str | None = None,
    ) -> str:
        """Let a customer have paid at the provider itself, of which no request of ours knows.

        The amount is in the provider's smallest unit, the currency and the account (`sk_test_…`,
        `shop:test_…`) are as the provider writes them. Returns the payment's id; its ledger entry comes last,
        whatever its time. A `status` may say that it is held, or open. Paystack alone takes a `reference`,
        which is the id there; said again of a reference it has, it is changed. Raises ValueError for what the
        provider would refuse.
        """
        with self._lock:
            now, its = self._catch_up(), self._named(provider)
            paid = paid_outside(
                amount,
                currency,
                metadata or {},
                now,
                at=at,
                captured_at=captured_at,
                reference=reference,
                status=status,
            )
            here = its.office.local
            return its.pay(replace(paid, at=here(paid.at), captured_at=here(paid.captured_at)), account)

    def checkout(
        self,
        session: str,
        status: str = "open",
        http_status: int = 200,
        *,
        account: str | None = None,
        **more: Any,
    ) -> None:
        """Have the billing service know a checkout session, and what it is to say of it from now on.

        account: the key of another one than the sandbox's own. more: further fields of its answer. Raises
        ValueError for what no answer can be.
        """
        with self._lock:
            self._billing.know(session, status, http_status, account, more)

    def requests(self) -> dict[str, dict[str, int]]:
        """Return for each call how many requests came, and how many were answered from their key."""
        with self._lock:
            return {name: {"requests": 0, "replayed": 0, **counts} for name, counts in self._counts.items()}

    def versions(self) -> dict[str, int]:
        """Return how many requests named which version of the API."""
        with self._lock:
            return dict(self._versions)

    def pending(self) -> list[dict[str, str | None]]:
        """Return the requests that are still on their way."""
        with self._lock:
            self._catch_up()
            return self._agenda.pending()

    def conditions(self, provider: str, **changed: Any) -> Conditions:
        """Change what a provider works under, and return it; office.py has them.

        What isn't named stays as it is. Raises ValueError, or TypeError for what there is not.
        """
        with self._lock:
            its = self._named(provider)
            made = replace(its.office.conditions, **changed)
            check_plan(its.refunds, made.refund_first, made.refund_then)
            its.office.conditions = made
            return made

    def reset(self) -> None:
        """Forget everything, the clock's offset and the faults included."""
        with self._lock:
            self._begin_anew()

    def _act(self, provider: str, act: Act, account: str | None) -> str:
        with self._lock:
            at, its = self._catch_up(), self._named(provider)
            return its.act(act, account, its.office.local(at))

    def _named(self, name: str) -> Provider:
        known = {each.name: each for each in self._providers.values()}
        require(name in known, f"there is no provider {name!r}: {', '.join(known)}")
        return known[name]

    def _catch_up(self) -> float:
        now = self._clock.now()
        self._agenda.run(now)
        return now
