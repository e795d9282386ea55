"""What goes wrong: answers, lists, clocks, keys, people at the provider, kills, runs beside each other."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from jobctl.sandbox import (
    OTHER_PAYSTACK_SECRET_KEY,
    OTHER_SECRET_KEY,
    OTHER_YOOKASSA_SECRET_KEY,
    OTHER_YOOKASSA_SHOP_ID,
    PAYSTACK_SECRET_KEY,
    SECRET_KEY,
    YOOKASSA_SECRET_KEY,
    YOOKASSA_SHOP_ID,
)
from jobctl.tables.journal import money_operations
from tests.disagreement.stage import ANY, ASKING, MONEY, STRUCK, TOLD, TROUBLES, Stage, happening

OWN = {
    "stripe": {"stripe_secret_key": SECRET_KEY},
    "yookassa": {"yookassa_shop_id": YOOKASSA_SHOP_ID, "yookassa_secret_key": YOOKASSA_SECRET_KEY},
    "paystack": {"paystack_secret_key": PAYSTACK_SECRET_KEY},
}
OTHERS = {
    "stripe": {"stripe_secret_key": OTHER_SECRET_KEY},
    "yookassa": {
        "yookassa_shop_id": OTHER_YOOKASSA_SHOP_ID,
        "yookassa_secret_key": OTHER_YOOKASSA_SECRET_KEY,
    },
    "paystack": {"paystack_secret_key": OTHER_PAYSTACK_SECRET_KEY},
}
CUSTOMERS = (
    "cus_1",
    "pm_yk_ok",
    "pm_yk_pending_succeeds",
    "pm_yk_pending_canceled",
)  # that others don't know
REASONS = {
    "stripe": ("requested_by_customer", "fraudulent", "duplicate", "abandoned"),
    "yookassa": ("canceled_by_merchant", "fraud_suspected"),
}
REFUNDS = {
    "stripe": ("pending", "succeeded", "failed"),
    "yookassa": ("pending", "succeeded", "canceled"),
    "paystack": ("pending", "processed", "failed"),
}
HELD, TAKEN = ("hold",), ("capture", "charge")
CANCELLING = ("cancel_session", "delete_user", "unsubscribe", "take_place", "give_card", "begin_by_hand")
JOB = st.sampled_from(MONEY)
ASKER = st.sampled_from(ASKING)  # jobs that ask providers
NUMBER = st.sampled_from([1, 1, 1, 2, 3, 5])  # of a request
NAMES = st.sampled_from(sorted(OWN))


class Troubles(Stage):
    # ── answers, lists, clocks, keys ─────────────────────────────────────────────────────────

    @initialize(concurrency=st.sampled_from([1, 1, 4]))
    def be_busy(self, concurrency: int) -> None:
        """Have so many requests under way at once: with more than one, faults strike any of them."""
        self.world.configure(payment_concurrency=concurrency)

    @initialize(skew=st.sampled_from([0, 0, 0, 660, -660, -7200]), provider=NAMES)
    def tell_time(self, skew: int, provider: str) -> None:
        """Let one provider's clock be off, from the beginning to the end."""
        self.sandbox.conditions(provider, skew=skew)

    @happening(
        kind=st.sampled_from(TROUBLES), call=st.sampled_from(STRUCK), times=st.integers(2, 5), long=ANY
    )
    def fault(self, kind: str, call: str, times: int, long: int) -> None:
        self.trouble(kind, call, long, times)

    @rule()
    def calm(self) -> None:
        self.sandbox.clear_faults()

    @happening(provider=NAMES, lag=st.sampled_from([0, 120, 3600]), most=st.sampled_from([None, 1, 3]))
    def condition(self, provider: str, lag: int, most: int | None) -> None:
        self.sandbox.conditions(provider, lag=lag, most=most)

    @happening(provider=NAMES, becomes=st.integers(0, 2), after=st.sampled_from([0, 60, 100_000]))
    def refund_slowly(self, provider: str, becomes: int, after: int) -> None:
        statuses = REFUNDS[provider]
        with suppress(ValueError):
            plan = {"refund_first": statuses[0], "refund_then": statuses[becomes] if becomes else None}
            self.sandbox.conditions(provider, refund_after=after, **plan)

    @happening(provider=NAMES, known=st.booleans())
    def change_key(self, provider: str, known: bool) -> None:
        """Change to another integration's key, or back; the other knows none of our customers."""
        ours = all(getattr(self.world.settings, name) == value for name, value in OWN[provider].items())
        self.world.configure(**(OTHERS if ours else OWN)[provider])
        self.sandbox.conditions(provider, unknown=CUSTOMERS if ours else ())

    # ── people at the provider ───────────────────────────────────────────────────────────────

    def held_or_taken(self, which: int, kinds: tuple[str, ...]) -> Any:
        found = self.effects(*kinds)
        return found[which % len(found)] if found else None

    @happening(which=ANY, reason=ANY)
    def cancel_hold(self, which: int, reason: int) -> None:
        if hold := self.held_or_taken(which, HELD):
            reasons = REASONS[hold.provider]
            self.at_dashboard("cancel", hold.provider, hold.intent, reasons[reason % len(reasons)])

    @happening(which=ANY)
    def lapse_hold(self, which: int) -> None:
        if hold := self.held_or_taken(which, HELD):
            self.at_dashboard("lapse", hold.provider, hold.intent)

    @happening(which=ANY, part=st.sampled_from([None, None, 100]))
    def capture_hold(self, which: int, part: int | None) -> None:
        if hold := self.held_or_taken(which, HELD):
            self.at_dashboard("capture", hold.provider, hold.intent, part)

    @happening(which=ANY, part=st.sampled_from([None, None, 1]))
    def refund_taken(self, which: int, part: int | None) -> None:
        if taken := self.held_or_taken(which, TAKEN):
            self.at_dashboard("refund", taken.provider, taken.intent, part)

    @happening(which=ANY, method=ANY)
    def complete_declined(self, which: int, method: int) -> None:
        """Let a customer come back and pay what a card had declined, where that still stands open."""
        ours = money_operations.c
        if found := self.one(
            money_operations, which, ours.status == "declined", ours.payment_id.is_not(None)
        ):
            self.at_dashboard("complete", found.provider, found.payment_id)

    @happening(which=ANY)
    def reverse_payment(self, which: int) -> None:
        taken = [each for each in self.effects("charge") if each.provider == "paystack"]
        if taken:
            intent = taken[which % len(taken)].intent
            self.at_dashboard("reverse", "paystack", intent)
            self.reversed.add(intent)

    # ── runs, and what happens in the middle of them ─────────────────────────────────────────

    @rule(job=JOB | ASKER)
    def run_one(self, job: str) -> None:
        self.run_job(job)

    @rule(job=ASKER)
    def run_asking(self, job: str) -> None:
        self.run_job(job)

    @rule(minutes=st.sampled_from([0, 3, 40]))
    def run_all(self, minutes: int) -> None:
        self.pass_time(minutes=minutes)
        for each in MONEY:
            self.run_job(each)

    @happening(
        span=st.sampled_from(
            [{"minutes": 3}, {"minutes": 20}, {"hours": 2}, {"hours": 25}, {"days": 6}, {"days": 31}]
        )
    )
    def wait(self, span: dict[str, float]) -> None:
        self.pass_time(**span)

    @rule(job=ASKER, number=NUMBER, after=st.booleans(), act=st.sampled_from(CANCELLING), which=ANY)
    def change_meanwhile(self, job: str, number: int, after: bool, act: str, which: int) -> None:
        """Have the application change something in the middle of a run."""
        self.provide(job, which)
        more: dict[str, list[Any]] = {
            "take_place": ["both"],
            "unsubscribe": [True],
            "give_card": ["stripe", 0],
            "begin_by_hand": ["stripe"],
        }
        doing = getattr(self, act)
        self.meanwhile(job, number, lambda: doing(which, *more.get(act, [])), after=after)

    @rule(job=ASKER, other=JOB, number=NUMBER, after=st.booleans(), due=ANY)
    def run_meanwhile(self, job: str, other: str, number: int, after: bool, due: int) -> None:
        """Have another run do its work in the middle of one; they share it, where it is the same job."""
        self.provide(job, due)
        self.meanwhile(job, number, lambda: self.run_job(other, share=True), after=after)

    def meanwhile(self, job: str, number: int, act: Callable[[], Any], *, after: bool) -> None:
        wrong: list[BaseException] = []

        def doing() -> bool:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 (of this thread, to be raised in the other)
                wrong.append(error)
            return True

        self.sandbox.meanwhile(number, doing, after=after)
        self.run_job(job, share=True)
        TOLD["meanwhile"] += not self.sandbox.never()
        for each in wrong:
            raise each

    @precondition(lambda self: self.processes)
    @rule(job=ASKER, number=NUMBER, after=st.booleans(), due=ANY)
    def kill(self, job: str, number: int, after: bool, due: int) -> None:
        """Start a real run, and end it by SIGKILL at a request: before its effect, or before its answer."""
        self.provide(job, due)
        process = self.start(job)

        def kill() -> bool:
            process.kill()
            process.wait()
            return False

        self.sandbox.meanwhile(number, kill, after=after)
        self.finish(job, process)
        TOLD["kills"] += not self.sandbox.never()

    @precondition(lambda self: self.processes)
    @rule(job=ASKER, due=ANY)
    def run_two(self, job: str, due: int) -> None:
        """Start two real runs at once that share the work."""
        self.provide(job, due)
        for each in [self.start(job) for _ in range(2)]:
            self.finish(job, each)
