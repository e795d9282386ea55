"""Professionals, their credits, and what must be true of these whatever ran."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from jobctl.tables.credits import credit_balances, credit_transactions, professionals
from jobctl.tables.notifications import notifications
from tests.world import NOW, Done, World, ago


@dataclass
class Office:
    """A world of professionals."""

    world: World
    now: datetime = NOW

    def run(self, job: str, **options: Any) -> Done:
        return self.world.run(job, now=self.now, **options)

    def professional(
        self, verification_status: str = "basic", balance: tuple[int, int] | None = (0, 0), **user: Any
    ) -> int:
        """Add one with so many free and paid credits, of which nothing is written down; None: no balance."""
        given = {"verification_status": verification_status, "created_at": ago(days=400)}
        made = self.world.add(professionals, {"user_id": self.world.user(**user), **given})
        if balance:
            free, paid = balance
            has = {"free_credits": free, "paid_credits": paid, "created_at": ago(days=400)}
            self.world.add(credit_balances, {"professional_id": made, **has})
        return made

    def lot(self, professional: int, amount: int, expires_at: datetime | None = None, **values: Any) -> int:
        """Add a lot to a professional's credits, and to the balance, a month ago."""
        has = self.balance(professional)
        self.world.change(credit_balances, has.id, paid_credits=has.paid_credits + amount)
        bought = {
            "professional_id": professional,
            "type": "purchase",
            "credit_type": "paid",
            "amount": amount,
            "remaining_amount": amount,
            "expires_at": expires_at,
            "free_before": has.free_credits,
            "free_after": has.free_credits,
            "paid_before": has.paid_credits,
            "paid_after": has.paid_credits + amount,
            "created_at": ago(days=30),
        }
        return self.world.add(credit_transactions, bought | values)

    def balance(self, professional: int) -> Any:
        (found,) = (e for e in self.world.rows(credit_balances) if e.professional_id == professional)
        return found

    def has(self, professional: int) -> tuple[int, int]:
        found = self.balance(professional)
        return found.free_credits, found.paid_credits

    def transactions(self, kind: str, professional: int | None = None) -> list[Any]:
        rows = self.world.rows(credit_transactions)
        return [e for e in rows if e.type == kind and professional in (None, e.professional_id)]

    def left(self, lot: int) -> int:
        return int(self.world.one(credit_transactions, lot).remaining_amount)

    def told(self, template: str) -> list[Any]:
        rows = self.world.rows(notifications)
        return [each for each in rows if (each.template, each.channel) == (template, "tray")]

    def agree(self) -> None:
        """Hold balances against their last transactions and lots, and these against those before."""
        by_professional: dict[int, list[Any]] = defaultdict(list)
        for each in self.world.rows(credit_transactions):
            by_professional[each.professional_id].append(each)
        for professional, rows in by_professional.items():
            for one, next_one in pairwise(rows):
                before = next_one.free_before, next_one.paid_before
                assert (one.free_after, one.paid_after) == before, (one, next_one)
            assert (rows[-1].free_after, rows[-1].paid_after) == self.has(professional)
            assert sum(each.remaining_amount or 0 for each in rows) == self.has(professional)[1]
