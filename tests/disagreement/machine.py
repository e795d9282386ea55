"""The whole machine: the parts together, what holds after each step, and what holds in the end."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis.stateful import initialize, invariant
from sqlalchemy import Table

from jobctl.errors import Exit
from jobctl.sandbox import OTHER_YOOKASSA_SHOP_ID
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import ledger_postings, requests, wallet_transactions
from jobctl.tables.sessions import orders, sessions
from jobctl.tables.subscriptions import payments, subscription_periods
from tests.disagreement import reckoning
from tests.disagreement.escrow import STATUSES
from tests.disagreement.stage import ANY, MONEY, TOLD
from tests.disagreement.supplying import Supplying
from tests.disagreement.troubles import OWN, Troubles

# After the troubles: what is unknown is asked about, absences are believed, refusals repeated daily, and
# what nobody came back to expires.
REST: tuple[dict[str, float], ...] = (
    *[{"minutes": 6.0}] * 2,
    {"minutes": 40},
    {"hours": 3},
    {"hours": 12},
    *[{"hours": 25.0}] * 6,
)
AT_REST = {"lag": 0, "most": None, "unknown": (), "refund_first": None, "refund_then": None}
# What was asked of another shop stays unknown until its key is given again, and settle-operations says so.
ELSEWHERE = f"shop-{OTHER_YOOKASSA_SHOP_ID}"
COUNTED = {"idle_runs", "sqlite_sequence", "runs"}


def operation_names(operations: Sequence[Any]) -> Iterator[str]:
    for each in operations:
        amount = None if each.amount_minor is None else f"{each.amount_minor} {each.currency}"
        words = (each.id, each.subject, each.subject_id, each.cycle, each.attempt, each.kind, amount)
        ends = (each.status, each.code, each.payment_id, each.first_sent_at, each.settled_at, each.look_until)
        yield " ".join(str(word) for word in (*words, *ends))


class AnyWorld(Supplying, Troubles):
    @initialize(seed=ANY)
    def begin(self, seed: int) -> None:
        """Begin with some sessions, subscriptions and requests, whatever they are."""
        dice = random.Random(seed)
        for provider in ("stripe", "yookassa", dice.choice(["stripe", "yookassa"])):
            usual = dice.choice([0, 0, dice.randrange(10)])
            self.book(provider, usual, dice.randrange(1, 30), dice.randrange(100, 9999), "USD")
            self.subscribe(provider, usual, dice.randrange(-20, 20))
            self.ask_creator(dice.randrange(1, 10**6), dice.randrange(60), dice.choice(STATUSES), 2)
        self.extend(0, "stripe", 0)

    @invariant()
    def every_rule_holds(self) -> None:
        TOLD["steps"] += 1
        broken = self.broken()
        assert broken == {}, broken

    def teardown(self) -> None:
        try:
            self.come_to_rest()
            self.nobody_is_wronged()
            self.nothing_is_left_to_do()
        finally:
            self.stack.close()

    def come_to_rest(self) -> None:
        self.sandbox.clear_faults()
        for name, keys in OWN.items():
            self.world.configure(**keys)
            self.sandbox.conditions(name, **AT_REST)
        for span in REST:
            self.pass_time(**span)
            for job in MONEY:
                self.run_job(job)
            self.every_rule_holds()

    def nobody_is_wronged(self) -> None:
        operations = self.world.rows(money_operations)
        TOLD.update(f"op {each.kind} {each.status}" for each in operations)
        TOLD.update(f"finding {each.kind} {each.status}" for each in self.world.rows(findings))
        TOLD.update(f"effect {each.kind}" for each in self.sandbox.ledger())
        excused = reckoning.excuses(self.open_findings(), operations, self.reversed)
        left = [each for each in operations if self.is_left(each, excused)]
        assert left == [], left
        there = reckoning.accounts(self.sandbox.ledger())
        rows, by_id = self.world.rows, self.by_id
        wrong = [
            *reckoning.wrong_orders(rows(orders), by_id(sessions), there, excused),
            *reckoning.wrong_payments(rows(payments), rows(subscription_periods), there, excused),
            *reckoning.wrong_escrow(
                rows(wallet_transactions),
                by_id(requests),
                rows(ledger_postings),
                there,
                excused,
            ),
        ]
        assert wrong == [], self.told(wrong)

    def told(self, wrong: Sequence[str]) -> str:
        """Tell what is wrong, and all that was asked of providers."""
        named = [*operation_names(self.world.rows(money_operations))]
        found = [f"{each.kind}: {each.reason} ({each.status})" for each in self.world.rows(findings)]
        return "\n".join([*wrong, *named, *found])

    def stranded(self) -> list[Any]:
        rows = self.world.rows(money_operations)
        return [each for each in rows if each.account == ELSEWHERE and each.settled_at is None]

    def by_id(self, table: Table) -> dict[int, Any]:
        return {each.id: each for each in self.world.rows(table)}

    def is_left(self, operation: Any, excused: reckoning.Excuses) -> bool:
        """Tell whether an operation is open though nobody was told of it."""
        done = operation.settled_at is not None and operation.look_until is None
        told = f"{operation.subject}-{operation.subject_id}" in excused.subjects
        return not done and not told

    def nothing_is_left_to_do(self) -> None:
        """See that another round of runs changes nothing, and complains of nothing."""
        for job in MONEY:
            self.run_job(job)
        before = self.everything()
        codes = {job: self.run_job(job).exit_code for job in MONEY}
        allowed = {Exit.DONE, *([Exit.UNKNOWN_OUTCOME] if self.stranded() else [])}
        complaining = {job: code for job, code in codes.items() if code not in allowed}
        assert complaining == {}, complaining
        after = self.everything()
        changed = {name: (before[name], after[name]) for name in after if after[name] != before[name]}
        assert changed == {}, changed

    def everything(self) -> dict[str, Any]:
        return {name: rows for name, rows in self.world.everything().items() if name not in COUNTED}
