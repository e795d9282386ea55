"""What an effect step's run writes of its rows: the outcomes of calls, and which rows have none.

What the database refuses of a row, and whatever else goes wrong with it, is that row's failure: what cannot
be written of several rows at once is written of fewer, until the bad row stands alone.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from jobctl import db
from jobctl.changes import ChangedMeanwhileError
from jobctl.db import first_line
from jobctl.job import Broken, Lost
from jobctl.steps.claiming import AnyEffect, Claims
from jobctl.steps.running import Running
from jobctl.steps.settling import Noted, forget_known, in_parts, looking, note, tally, write
from jobctl.steps.window import Answered
from jobctl.tables.types import Key

log = logging.getLogger(__name__)
UNTOLD = "it failed, and the database refused the reason too: the log has it"
AT_LEAST = timedelta(milliseconds=20)  # to wait for a lock even so: most transactions are over by then


@dataclass(frozen=True)
class Unrecorded(Lost):
    """A call whose outcome is known, and that the database doesn't let us write down."""


class Outcomes:
    """The outcomes of one run, each written with what the job makes of it."""

    def __init__(self, step: AnyEffect, running: Running, claims: Claims) -> None:
        self.step, self.running, self.claims = step, running, claims
        self.at = running.at  # renewed with every turn
        self.called: set[Key] = set()  # those about whom a call was made, until they are settled
        self.kept: set[Key] = set()  # those whose claims stay, for the next run to settle
        self.patience = db.PATIENCE  # that is left to wait for locks of others, in the whole run

    @contextmanager
    def transaction(self, *, alone: bool = False) -> Iterator[Connection]:
        """Give a transaction that waits a bounded time for others' locks, longer for a row that is alone."""
        began, patience = time.monotonic(), db.PATIENCE if alone else db.BRIEFLY
        try:
            with self.running.transaction() as connection:
                db.bound_waiting(connection, max(AT_LEAST, min(patience, self.patience)))
                yield connection
        except DBAPIError as error:
            if db.gave_up_waiting(error):
                self.patience -= timedelta(seconds=time.monotonic() - began)
            raise

    # ── answers ──────────────────────────────────────────────────────────────────────────────

    def write(self, connection: Connection, answered: Sequence[Answered]) -> list[Noted]:
        """Let the job settle answers, in the transaction that what it wants is written in."""
        items = [note(self.step, self.at, row, answer, looking(connection)) for row, answer in answered]
        for item, (_, answer) in zip(items, answered, strict=True):
            forget_known(item, connection)
            if isinstance(answer, Unrecorded) and not item.errors:
                item.outcome, item.errors = "failed", [answer.reason]
        if items:
            self.running.open_record(connection)
            how = {"claimed": self.claims.marks, "free": not self.step.polls}
            write(connection, self.claims.table, items, self.running.record, self.at, **how)
        return items

    def settle(self, answered: Sequence[Answered]) -> None:
        """Settle answers apart from anything else, so that none fails with another."""
        in_parts(answered, self.settle_together, self.settle_instead)

    def settle_together(self, answered: Sequence[Answered]) -> None:
        with self.transaction(alone=len(answered) == 1) as connection:
            items = self.write(connection, answered)
        self.count(items)

    def settle_instead(self, one: Answered, error: Exception) -> None:
        """Settle a row as failed whose answer cannot be written; what was called about is as good as lost."""
        row, answer = one
        if isinstance(error, ChangedMeanwhileError):
            self.let_go(row)
            return
        reason = db.refusal(error)
        if isinstance(answer, Broken | Unrecorded):
            self.leave(row, reason)
        elif row.id in self.called:
            self.settle([(row, Unrecorded(f"its outcome could not be recorded: {reason}"))])
        else:
            self.settle([(row, Broken(reason))])

    def leave(self, row: Any, reason: str) -> None:
        """Leave a row as it is, and name it; what went out is lost to the next run, which finds our claim."""
        if row.id in self.called and not self.step.looks_up:
            self.kept.add(row.id)
        self.refuse(row.id, reason)

    # ── rows without an outcome ──────────────────────────────────────────────────────────────

    def give_back(self, ids: Sequence[Key]) -> None:
        """Return rows whose call never began, with their attempt."""
        in_parts(ids, self.give_back_together, self.keep)

    def give_back_together(self, ids: Sequence[Key]) -> None:
        with self.transaction() as connection:
            self.claims.give_back(connection, ids)

    def let_go(self, row: Any) -> None:
        """Free the claim, if it is still the one, on a row that somebody else has decided about."""
        log.warning("row.changed_meanwhile", extra={"table": self.claims.table.name, "row": row.id})
        self.running.record.counts["changed meanwhile"] += 1
        if self.claims.marks:
            self.free({row.id: row.claimed_by or self.running.run_id})

    def free(self, owners: dict[Key, int]) -> None:
        """Give up the claims on rows, each where that run still has it."""

        def together(ids: Sequence[Key]) -> None:
            with self.transaction() as connection:
                for owner in {owners[each] for each in ids}:
                    self.claims.free(connection, [each for each in ids if owners[each] == owner], owner)

        in_parts(list(owners), together, self.keep)

    def free_what_is_left(self, under_way: Sequence[Key]) -> None:
        """Give up the claims on rows that nobody has settled, but not where an outcome is open."""
        if self.running.record.id is None or not self.claims.marks:
            return
        with self.running.transaction() as connection:
            left = self.claims.left(connection, [*under_way, *self.kept])
        self.free(dict.fromkeys(left, self.running.run_id))

    def keep(self, row_id: Key, error: Exception) -> None:
        """Name a row whose claim cannot be given up; the next run finds it claimed by one that has ended."""
        self.kept.add(row_id)
        named = (self.claims.table.name, row_id)
        if named not in self.running.stuck:  # by another step of the job, which is about the same table
            self.running.stuck.add(named)
            self.refuse(row_id, db.refusal(error))

    # ── what is told ─────────────────────────────────────────────────────────────────────────

    def count(self, items: Sequence[Noted]) -> None:
        for item in items:
            tally(self.running.record, item)
            for exit_code, complaint in item.complaints:
                self.running.fail(exit_code, complaint)
            log.info("row.settled", extra={"row": item.row.id, "outcome": item.outcome})
        if lines := [line for item in items for line in item.said]:
            self.running.tell("\n".join(lines))

    def refuse(self, row_id: Key, reason: str) -> None:
        """Record that a row failed, and why; where even that is refused, that it did."""
        table = self.claims.table.name

        def record(reasons: Sequence[str]) -> None:
            with self.running.transaction() as connection:
                self.running.open_record(connection)
                self.running.record.error(connection, self.at.present, table, row_id, reasons[0])

        def say_so(_: str, error: Exception) -> None:
            log.warning("row.failed", extra={"row": row_id, "reason": reason, "refused": first_line(error)})
            record([UNTOLD])

        in_parts([reason], record, say_so)
        self.running.record.counts["failed"] += 1
