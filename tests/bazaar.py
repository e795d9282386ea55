"""Requests to creators, what was paid for them, and wallets."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from jobctl.parsing import rate
from jobctl.sandbox import PAYSTACK_SECRET_KEY, Sandbox
from jobctl.tables.marketplace import ledger_entries, requests, wallet_transactions, wallets
from tests.world import NOW, Done, World, ago

TOKENS = "/realms/flutterwave/protocol/openid-connect/token"


@dataclass
class Bazaar:
    """A world in which somebody asks a creator for something, for 100 naira."""

    world: World
    sandbox: Sandbox
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.world.configure(
            paystack_secret_key=PAYSTACK_SECRET_KEY,
            paystack_url=self.sandbox.url,
            paystack_rate_limit=rate("100000/s"),
            paystack_timeout=timedelta(seconds=5),
            flutterwave_token_url=f"{self.sandbox.url}{TOKENS}",
            flutterwave_timeout=timedelta(seconds=5),
        )
        self.sandbox.set_clock(self.now)

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)
        self.sandbox.set_clock(self.now)

    def run(self, job: str, **options: Any) -> Done:
        return self.world.run(job, now=self.now, **options)

    def request(self, **values: Any) -> int:
        """Add a request that is pending since two days, of two people of its own."""
        people = {name: values.get(name) or self.world.user(name=name) for name in ("user_id", "creator_id")}
        given = {"amount_minor": 10_000, "currency": "NGN", "created_at": ago(days=2, minutes=1)}
        return self.world.add(requests, given | people | values)

    def transaction(self, request_id: int, **values: Any) -> int:
        """Add what is paid for a request: pending, and in escrow."""
        request = self.asked(request_id)
        given = {
            "request_id": request_id,
            "user_id": request.user_id,
            "provider": "paystack",
            "reference": f"ref-{len(self.world.rows(wallet_transactions)) + 1}",
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "escrow_status": "pending",
            "created_at": request.created_at,
        }
        return self.world.add(wallet_transactions, given | values)

    def paid(self, **values: Any) -> int:
        """Add a completed request with its payment in escrow; return the transaction's number."""
        given = {"status": "completed", "paid_at": ago(days=2), "completed_at": ago(hours=3)}
        return self.transaction(self.request(**given | values), status="completed", paid_at=ago(days=2))

    def at_paystack(self, transaction_id: int, status: str, **values: Any) -> None:
        """Let a payment be so at the provider; values: another `amount`, or `currency`."""
        row = self.moved(transaction_id)
        given = {"amount": row.amount_minor, "currency": row.currency, "at": self.now - timedelta(hours=1)}
        given |= {"at": min(row.created_at, self.now), "captured_at": self.now} | values
        self.sandbox.pay("paystack", reference=row.reference, status=status, **given)

    def wallet(self, user_id: int | None, **values: Any) -> int:
        """Add a wallet; of the platform where there is no user."""
        given = {"user_id": user_id, "kind": "platform" if user_id is None else "user"}
        return self.world.add(wallets, {**given, "currency": "NGN", "created_at": ago(days=9), **values})

    def asked(self, request_id: int) -> Any:
        return self.world.one(requests, request_id)

    def moved(self, transaction_id: int) -> Any:
        return self.world.one(wallet_transactions, transaction_id)

    def balances(self) -> dict[int | None, int]:
        """Return the balances by their owner, after a look that each is what the ledger says."""
        entries = ledger_entries.c
        sums = select(entries.wallet_id, func.sum(entries.amount_minor)).group_by(entries.wallet_id)
        with self.world.engine.connect() as connection:
            entered = {row[0]: int(row[1]) for row in connection.execute(sums)}
        found = self.world.rows(wallets)
        assert {each.id: each.balance_minor for each in found if each.balance_minor} == {
            key: amount for key, amount in entered.items() if key is not None and amount
        }
        return {each.user_id: each.balance_minor for each in found}
