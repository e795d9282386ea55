"""Whatever happens in whatever order, every invariant holds, and no payment is lost, kept, or used twice.

Requests, payments, webhooks, disputes, a provider with every fault, runs, reruns, and runs that are killed by
SIGKILL, as they come; then the faults end, time goes by, and the jobs run until there is nothing left to do.
"""

import random
import subprocess
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, update

from jobctl.invariants.every import RULES
from jobctl.providers import transport
from jobctl.sandbox import Sandbox
from jobctl.sandbox.faults import POINTS
from jobctl.tables.findings import findings
from jobctl.tables.marketplace import ledger_postings, requests, wallet_transactions, wallets
from tests.bazaar import Bazaar
from tests.conftest import Worlds

CLEANUP, RELEASE, WALLETS, SETTLER = (
    "payment-cleanup",
    "escrow-release",
    "wallet-creation",
    "settle-operations",
)
JOBS = (CLEANUP, RELEASE, WALLETS, SETTLER)
STATUSES = (*["success"] * 4, "failed", "abandoned", "processing", "reversed")
FEES = (None, 0, 333, 10_000)
ANY = st.integers(0, 1_000)  # of what there is, one


class Marketplace(RuleBasedStateMachine):
    worlds: Worlds
    folder: Path
    count = 0

    def __init__(self) -> None:
        super().__init__()
        Marketplace.count += 1
        self.stack = ExitStack()
        world = self.stack.enter_context(self.worlds(self.folder / f"example-{self.count}"))
        sandbox = self.stack.enter_context(Sandbox())
        self.bazaar = Bazaar(world, sandbox, now=datetime.now(UTC))
        self.creators = [world.user(verified_at=self.bazaar.now) for _ in range(2)]

    @initialize(seed=ANY)
    def begin(self, seed: int) -> None:
        """Begin with a dozen requests, of which most are paid or being paid."""
        dice = random.Random(seed)
        for n in range(12):
            self.ask(n, dice.randrange(1, 10**6), dice.choice(["NGN", "NGN", "USD"]), dice.randrange(60))
            if n % 6:
                self.pay(-1, dice.choice(STATUSES), dice.choice(FEES), dice.randrange(1_000))

    # ── what the application and its customers do ────────────────────────────────────────────

    @rule(creator=ANY, amount=st.integers(1, 10**6), currency=st.sampled_from(["NGN", "USD"]), age=ANY)
    def ask(self, creator: int, amount: int, currency: str, age: int) -> None:
        self.bazaar.request(
            creator_id=self.creators[creator % len(self.creators)],
            amount_minor=amount,
            currency=currency,
            created_at=self.bazaar.now - timedelta(hours=age % 60),
        )

    @rule(
        which=ANY, status=st.sampled_from(STATUSES), points=st.sampled_from([None, 0, 333, 10_000]), odd=ANY
    )
    def pay(self, which: int, status: str, points: int | None, odd: int) -> None:
        """Begin a payment; one in eight is of another amount at the provider, or never came to it."""
        if request := self.one(requests, which, requests.c.status == "pending"):
            made = self.bazaar.transaction(request.id, fee_basis_points=points)
            if odd % 8 != 1:
                wrong = {"amount": request.amount_minor + 1} if odd % 8 == 0 else {}
                self.bazaar.at_paystack(made, status, **wrong)

    @rule(which=ANY, status=st.sampled_from(STATUSES))
    def decide(self, which: int, status: str) -> None:
        if payment := self.one(wallet_transactions, which, wallet_transactions.c.reference.is_not(None)):
            with suppress(ValueError):  # what the provider itself would not do
                self.bazaar.at_paystack(payment.id, status)

    @rule(which=ANY)
    def tell(self, which: int) -> None:
        """Let a webhook tell of a success, and the application follow it by docs/marketplace.md."""
        ours = wallet_transactions.c
        charged = {(each.intent, each.amount) for each in self.effects("charge")}
        payment = self.one(wallet_transactions, which, ours.status == "pending", ours.reference.is_not(None))
        if payment is None or (payment.reference, payment.amount_minor) not in charged:
            return
        with self.bazaar.world.engine.begin() as connection:
            asked = select(requests).where(requests.c.id == payment.request_id).with_for_update()
            request = connection.execute(asked).one()
            waits = request.status == "pending" and request.paid_at is None
            mine = update(wallet_transactions).where(ours.id == payment.id, ours.status == "pending")
            values = {"status": "completed", "paid_at": self.bazaar.now}
            connection.execute(mine.values(values if waits else values | {"escrow_status": "void"}))
            if waits:
                begun = {"status": "in_progress", "paid_at": self.bazaar.now}
                connection.execute(update(requests).where(requests.c.id == request.id).values(begun))

    @rule(which=ANY, dispute=st.sampled_from([None, "open", "resolved"]))
    def work(self, which: int, dispute: str | None) -> None:
        done = {"status": "completed", "completed_at": self.bazaar.now, "dispute": dispute}
        theirs = (requests.c.status == "in_progress") & (requests.c.id % 3 == which % 3)
        with self.bazaar.world.engine.begin() as connection:
            connection.execute(update(requests).where(theirs).values(done))

    @rule(which=ANY, status=st.sampled_from(["active", "frozen", "closed"]))
    def manage(self, which: int, status: str) -> None:
        if wallet := self.one(wallets, which):
            self.bazaar.world.change(wallets, wallet.id, status=status)

    # ── what goes wrong ──────────────────────────────────────────────────────────────────────

    @rule(kind=st.sampled_from(sorted(set(POINTS) - {"delay"})), call=st.sampled_from(["any", "refund"]))
    def fault(self, kind: str, call: str) -> None:
        self.bazaar.sandbox.fault(kind, call, times=3)

    @rule(job=st.sampled_from(JOBS), seconds=st.floats(0.25, 0.8))
    def kill(self, job: str, seconds: float) -> None:
        """Start a real run, and end it by SIGKILL, if it has not ended by then."""
        settings = self.bazaar.world.settings
        account = {"PAYSTACK_URL": settings.paystack_url, "PAYSTACK_RATE_LIMIT": "1000/s"}
        key = str(settings.paystack_secret_key)
        process = self.bazaar.world.process(job, "-q", PAYSTACK_SECRET_KEY=key, **account)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=seconds)
        process.kill()
        process.communicate()

    # ── what the jobs do ─────────────────────────────────────────────────────────────────────

    @rule(job=st.sampled_from(JOBS), hours=st.sampled_from([0, 0, 1, 20]))
    def run(self, job: str, hours: int) -> None:
        self.bazaar.pass_time(hours=hours)
        self.bazaar.run(job)

    @invariant()
    def every_rule_holds(self) -> None:
        with self.bazaar.world.engine.connect() as connection:
            broken = {each.name: connection.execute(each.broken).all() for each in RULES}
        assert {name: rows for name, rows in broken.items() if rows} == {}

    def teardown(self) -> None:
        try:
            self.come_to_an_end()
            self.every_rule_holds()
            self.nothing_is_lost()
        finally:
            self.stack.close()

    def come_to_an_end(self) -> None:
        self.bazaar.sandbox.clear_faults()
        for wallet in self.bazaar.world.rows(wallets):
            self.bazaar.world.change(wallets, wallet.id, status="active")
        for n in range(5):
            self.work(n, None)
            self.bazaar.pass_time(hours=24)
            for job in (CLEANUP, SETTLER, WALLETS, RELEASE):
                self.bazaar.run(job)

    def nothing_is_lost(self) -> None:
        """Each payment that the provider has is released, given back, still held, or a person has it."""
        charged = {each.intent: each.amount for each in self.effects("charge")}
        refunded = Counter(each.intent for each in self.effects("refund"))
        assert set(refunded.values()) <= {1}
        rows = self.bazaar.world.rows(wallet_transactions)
        known = {each.reference: each for each in rows if each.reference}
        released = [each.wallet_transaction_id for each in self.bazaar.world.rows(ledger_postings)]
        found = {each.once_key.rpartition(".")[2] for each in self.bazaar.world.rows(findings)}
        for reference, amount in charged.items():
            row = known[reference]
            assert row.status != "completed" or row.amount_minor == amount
            assert (row.status, row.escrow_status) != ("completed", "void")
            assert (row.escrow_status == "released") == (row.id in released)
            assert not (reference in refunded and row.id in released)
            if row.status == "completed" and row.escrow_status == "refunded":
                assert reference in refunded or reference in found
            undecided = self.bazaar.asked(row.request_id).status != "completed" or row.status == "unverified"
            disputed = self.bazaar.asked(row.request_id).dispute == "open"
            if row.escrow_status == "pending":
                assert undecided or disputed
        kept = [each for each in rows if each.escrow_status in ("pending", "released")]
        of_requests = Counter(each.request_id for each in kept if each.status == "completed")
        assert set(of_requests.values()) <= {1}
        assert {self.bazaar.asked(each).status for each in of_requests} <= {"in_progress", "completed"}

    def effects(self, kind: str) -> list[Any]:
        return [each for each in self.bazaar.sandbox.ledger() if each.kind == kind]

    def one(self, table: Any, which: int, *conditions: Any) -> Any:
        """Return one of the rows, if there are any."""
        with self.bazaar.world.engine.connect() as connection:
            rows = connection.execute(select(table).where(*conditions).order_by(table.c.id)).all()
        return rows[which % len(rows)] if rows else None


def test_every_invariant_holds(worlds: Worlds, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(transport, "PATIENCE", timedelta(0))
    machine = type("Machine", (Marketplace,), {"worlds": staticmethod(worlds), "folder": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=6,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # to find a shorter way to a failure would take hours of killed runs
            suppress_health_check=list(HealthCheck),
        ),
    )
