"""The money step: recover what others left open, journal new requests, send them, settle the answers.

A request is in the journal, committed, before it is sent. Subjects are locked before their operations, by
everybody; no lock is held across a request.
"""

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select
from sqlalchemy.exc import DBAPIError

from jobctl import changes, db, journal
from jobctl.changes import ChangedMeanwhileError
from jobctl.db import among, among_named, first_line, id_list, id_list_type, passing_over
from jobctl.errors import Exit, JobctlError
from jobctl.job import Call, Due, Means, MoneyStep, RecoveryStep, SettleStep
from jobctl.journal import Operation
from jobctl.providers.proof import proved
from jobctl.providers.protocol import REFUSED_AGAIN, Answer, Inquiry, NotListed, Rejected, Unknown
from jobctl.providers.switchboard import Providers, account, horizon, repeats_500
from jobctl.steps.booking import Books, Item, Owners, Taken, owners_of
from jobctl.steps.concluding import (
    NOTHING_SENT,
    OTHER_ACCOUNT,
    UNWANTED,
    AnyMoney,
    Conclusion,
    OtherAccount,
    closing,
    key_is_alive,
    stored_answer,
)
from jobctl.steps.effect import dead_owners
from jobctl.steps.running import Options, Running
from jobctl.steps.selection import After, Seen, Selection
from jobctl.steps.settling import looking
from jobctl.steps.window import Answered, Window
from jobctl.tables.journal import money_operations

log = logging.getLogger(__name__)
TELLS_NOTHING = (REFUSED_AGAIN, "idempotency_error")  # of what an earlier request under the key has done
MOST = 1000  # rows that were passed over, at once
NAMED = 5  # of the operations that nobody knows the outcome of


def run(step: AnyMoney, running: Running, owners: Callable[[], Owners]) -> None:
    """Do one run of the step: first what is unfinished of its kinds, then the rows that are due."""
    kinds = list(owners_of([step]))
    serve(MoneyRun(step, running, owners, journal.unfinished(running.at, kinds)))


def settle_all(step: SettleStep, running: Running, owners: Callable[[], Owners]) -> None:
    """Settle unfinished operations, whoever asked for them."""
    serve(MoneyRun(step, running, owners, step.due(running.at)))


def recover(step: RecoveryStep, running: Running, owners: Callable[[], Owners]) -> None:
    """Settle unfinished operations of some kinds; the options are of the job's other steps."""
    due = journal.unfinished(running.at, step.kinds)
    serve(MoneyRun(step, running, owners, due))


def serve(work: "MoneyRun") -> None:
    running = work.running
    with running.transaction() as connection:
        work.prepare(connection)
        some = work.anything(connection)
        if some:
            from jobctl.checks.ready import refuse_unready  # noqa: PLC0415 (no idle run pays for it)

            refuse_unready(connection, work.selection.due.table if work.selection else None)
            running.open_record(connection)
    if some:
        means = Means(running.stop, work.concurrency, running.out, clock=running.clock)
        with Providers(running.at.settings, means) as providers:
            work.serve(providers)
    work.tell_unknown()


class MoneyRun(Window):
    """One run of one money step, or of settle-operations, which begins nothing new."""

    def __init__(
        self,
        step: AnyMoney | SettleStep | RecoveryStep,
        running: Running,
        owners: Callable[[], Owners],
        recovery: Due,
    ) -> None:
        options = running.options
        super().__init__(running, options.concurrency or step.concurrency(running.at.settings))
        self.step = step if isinstance(step, MoneyStep) else None
        self.bounded = isinstance(step, SettleStep)  # else --since, --limit and --only are of other rows
        self.recovery = recovery
        self.books = Books(running, owners, self.closed)
        self.selection = None if self.step is None else self.selecting(None)
        self.pages: dict[tuple[bool, bool], Select[Any]] = {}  # built once for each shape
        self.again: Select[Any] | None = None
        self.after: After | None = None
        self.recovered: After | None = None
        self.hand: tuple[Selection, After] | None = None  # the last row that this turn took up
        self.had = Seen()  # rows in hand, by this run: some of them may be due still
        self.unknown: set[int] = set()  # operations of this run of which nobody knows what became
        self.all_recovered, self.all_begun = False, self.step is None

    # ── what is to be done ───────────────────────────────────────────────────────────────────

    def prepare(self, connection: Connection) -> None:
        """Build the selection of unfinished operations; those of runs that died are anybody's."""
        dead = dead_owners(money_operations, connection, self.running.locks)
        mine = money_operations.c.claimed_by.in_(dead)
        left = connection.scalars(select(money_operations.c.id).where(mine)).all() if dead else ()
        options = self.running.options if self.bounded else Options()
        self.unfinished = Selection(self.recovery, options.since, options.only, also=left)

    def anything(self, connection: Connection) -> bool:
        selections = [self.unfinished, *([self.selection] if self.selection else [])]
        return any(connection.scalar(each.one()) is not None for each in selections)

    def serve(self, outside: Providers) -> None:
        self.books.providers = outside
        super().serve(outside)
        self.serve_what_others_had(outside, db.PATIENCE)
        for name in sorted({*outside.opened} - self.closed):
            if down := outside.elsewhere(name):
                self.running.close_scope(down)

    def settle_and_claim(self, answered: Sequence[Answered], wanted: int) -> Sequence[Item]:
        for item, answer in answered:
            if down := closing(item.operation.provider, answer):
                self.close_scope(down)
            elif item.answer is None and isinstance(answer, Rejected) and answer.later:
                self.running.fail(
                    Exit.UNREACHABLE,
                    f"{item.operation.provider} put requests off ({answer.code}): the next run asks anew",
                )
        self.books.at = self.at
        try:
            return self.one_turn(answered, wanted)
        except JobctlError:
            raise
        except Exception:  # isolation: one bad row never stops the others
            log.debug("turn.broken", exc_info=True)
        followed = [follow for each in answered for follow in self.settle_alone(*each)]
        return [*followed, *self.narrowed(wanted)]

    def one_turn(self, answered: Sequence[Answered], wanted: int) -> Sequence[Item]:
        taken, self.hand = Taken(), None
        with self.running.transaction() as connection:
            self.books.settle(connection, answered, taken)
            self.recover(connection, wanted, taken)
            self.begin_new(connection, wanted, taken)
        return self.remember(taken)

    def narrowed(self, wanted: int) -> Sequence[Item]:
        """Take up fewer and fewer, until what cannot be taken up stands alone; name it, and pass it over."""
        while wanted > 0:
            try:
                return self.one_turn([], wanted)
            except JobctlError:
                raise
            except Exception as error:  # noqa: BLE001 (isolation: one bad row never stops the others)
                if wanted == 1:
                    self.pass_over(error)
                wanted //= 2
        return []

    def pass_over(self, error: Exception) -> None:
        """Name the one row that could not be taken up, and go on behind it."""
        if self.hand is None:  # what finds rows failed, not a row
            raise error
        selection, place = self.hand
        table = selection.due.table.name
        with self.running.transaction() as connection:
            self.running.record.error(connection, self.at.present, table, place[1], why(error))
        self.running.record.counts["failed"] += 1
        if selection is self.unfinished:
            self.recovered = place
        else:
            self.after = place
            self.had.add(place[1])
        self.running.attempted += selection is not self.unfinished or self.bounded

    def remember(self, taken: Taken) -> Sequence[Item]:
        """Note how far the run has come, once it is committed."""
        for down in self.books.down:
            self.close_scope(down)
        self.books.down.clear()
        self.recovered = taken.recovered or self.recovered
        self.all_recovered = self.all_recovered or taken.all_recovered
        self.after = taken.after or self.after
        self.all_begun = self.all_begun or taken.exhausted
        self.exhausted = self.all_recovered and self.all_begun
        self.running.attempted += taken.attempted
        self.running.record.counts.update(taken.counts)
        for each in taken.conclusions:
            self.count(each)
        return taken.items

    def count(self, made: Conclusion) -> None:
        if made.outcome:
            self.running.record.counts[made.outcome] += 1
        (self.unknown.add if made.outcome == "unknown" else self.unknown.discard)(made.operation.id)
        extra = {"operation": made.operation.id, "row": made.operation.subject_id, "outcome": made.outcome}
        log.info("operation.concluded", extra=extra)

    # ── unfinished operations ────────────────────────────────────────────────────────────────

    def has_all(self) -> bool:
        return self.all_recovered and (self.all_begun or not self.running.left())

    def recover(self, connection: Connection, wanted: int, taken: Taken) -> None:
        """Take up unfinished operations, each with what is to be done about it."""
        room = wanted - len(taken.items)
        if self.bounded:
            room = min(room, self.running.left())
            taken.all_recovered = not self.running.left()
        if self.all_recovered or room <= 0:
            return
        found = self.page(connection, self.unfinished, self.recovered, room)
        taken.all_recovered = len(found) < room
        if self.bounded:
            taken.attempted = len(found)
        if not found:
            return
        taken.recovered = (found[-1].place_in_order, found[-1].id)
        operations = [Operation(*row[:-1]) for row in found]
        items = [item for each in operations if (item := self.alone(connection, each, taken))]
        self.claim(connection, items)
        taken.items += items

    def page(
        self, connection: Connection, selection: Selection, after: After | None, size: int
    ) -> Sequence[Any]:
        shape = (selection is self.unfinished, after is None)
        if shape not in self.pages:
            page = selection.page(first=after is None)
            self.pages[shape] = page.with_for_update(**passing_over(selection.due.table))
        found = connection.execute(self.pages[shape], selection.place(after, size)).all()
        if found:
            self.hand = selection, (found[-1].place_in_order, found[-1].id)
        return found

    def alone(self, connection: Connection, operation: Operation, taken: Taken) -> Item | None:
        """Plan one operation; what its job stumbles over is its own failure, never the run's."""
        try:
            return self.planned(connection, operation)
        except (DBAPIError, JobctlError):
            raise
        except Exception as error:  # isolation
            log.debug("planned.broken", exc_info=True)
            self.running.record.error(
                connection, self.at.present, money_operations.name, operation.id, why(error)
            )
            taken.counts.append("failed")
            return None

    def planned(self, connection: Connection, operation: Operation) -> Item | None:
        """Decide what is to be done about an unfinished operation; None where nothing can be."""
        step = self.books.owner(operation)
        if step is None:
            return None
        if self.is_out_of_reach(operation):
            restore = {"first_sent_at": operation.first_sent_at}
            return Item(operation, step, None, answer=NotListed(), restore=restore)
        if self.is_ours(operation):
            return self.possible(connection, step, operation)
        return self.at_another_account(connection, step, operation)

    def at_another_account(self, connection: Connection, step: AnyMoney, operation: Operation) -> Item | None:
        """Have a person told, once, of what only an account can tell or do that the settings don't have."""
        told = operation.code == OTHER_ACCOUNT
        if operation.provider in self.closed or told or not operation.is_open:
            return None
        sent = operation.first_sent_at
        unsent = sent is None and operation.status == "started"
        if not unsent and (sent is None or sent + horizon(operation.provider) > self.at.now):
            return None
        answer: Any = OtherAccount(account(self.running.at.settings, operation.provider))
        if unsent and not operation.undoes:
            answer = NOTHING_SENT  # its subject is asked for anew, of the account that there is now
        restore = {"first_sent_at": sent, "answer_by": operation.answer_by}
        (row,) = self.books.subjects(connection, step, [operation.subject_id], lock=False) or [None]
        return Item(operation, step, row, answer=answer, restore=restore)

    def possible(self, connection: Connection, step: AnyMoney, operation: Operation) -> Item | None:
        """Decide what to ask about an operation whose account can be asked."""
        (row,) = self.books.subjects(connection, step, [operation.subject_id], lock=False) or [None]
        restore = {
            "first_sent_at": operation.first_sent_at,
            "answer_by": operation.answer_by,
            "missed_at": operation.missed_at,
        }
        if operation.seemed_absent:
            return Item(operation, step, row, look=True, restore=restore)
        if not operation.is_open:
            return Item(operation, step, row, answer=stored_answer(operation), restore=restore)
        wanted = operation.undoes or (
            row is not None and step.wanted(self.at, row, operation, looking(connection))
        )
        if operation.first_sent_at is not None:
            return Item(operation, step, row, look=self.must_look(operation, wanted=wanted), restore=restore)
        if wanted and journal.waiting_among(connection, operation.subject, [operation.subject_id]):
            return None
        return Item(operation, step, row, answer=None if wanted else UNWANTED, restore=restore)

    def is_out_of_reach(self, operation: Operation) -> bool:
        """Tell whether what seemed absent at another account may no longer turn up there."""
        until = operation.look_until
        if not operation.seemed_absent or until is None or until > self.at.now:
            return False
        if not self.books.is_open(operation.provider):
            return False
        return account(self.running.at.settings, operation.provider) != operation.account

    def is_ours(self, operation: Operation) -> bool:
        """Tell whether the settings have the account that was asked, and its provider can be asked."""
        if not self.books.is_open(operation.provider):
            return False
        named = account(self.running.at.settings, operation.provider)
        sent, told = operation.first_sent_at is not None, operation.code == OTHER_ACCOUNT
        # Of what was sent and cannot be asked about settle-operations tells: no other run can do anything.
        if named != operation.account and not told and (self.bounded or not sent):
            self.running.fail(
                Exit.UNKNOWN_OUTCOME if sent else Exit.MISCONFIGURED,
                f"money operation {operation.id} {'was' if sent else 'is to be'} asked of the "
                f"{operation.provider} account {operation.account}, and the settings have {named}",
            )
        return named == operation.account

    def must_look(self, operation: Operation, *, wanted: bool) -> bool:
        """Tell whether to look what became of a request; else it can be sent again, word for word."""
        # What the provider has under its key it would tell again as it was when it was asked first.
        known = operation.payment_id is not None and operation.kind != "refund"
        if known or operation.status == "pending":
            return True
        # Some answer the same key with the same server error for ever; others want to be asked until it ends.
        stored = (operation.code or "").startswith("http_5") and not repeats_500(operation.provider)
        # A refusal says nothing of the first request, and what a list lacks is looked for once more.
        doubted = operation.code in TELLS_NOTHING or operation.missed_at is not None
        return stored or doubted or not wanted or not key_is_alive(operation, self.at.present)

    def claim(self, connection: Connection, items: Sequence[Item]) -> None:
        mine: dict[int, dict[str, Any]] = {}
        for each in items:
            sending = not each.look and each.answer is None
            mine[each.id] = {"claimed_by": self.running.run_id}
            if sending:
                mine[each.id] |= self.books.sent(each.operation.provider, each.operation.first_sent_at)
                mine[each.id]["missed_at"] = None  # what lists lacked until now tells nothing of this sending
        changes.update_each(connection, money_operations, mine, None, self.books.author)

    # ── new operations ───────────────────────────────────────────────────────────────────────

    def begin_new(self, connection: Connection, wanted: int, taken: Taken) -> None:
        """Journal requests for rows that are due."""
        room = min(wanted - len(taken.items), self.running.left())
        if self.step is None or self.selection is None or room <= 0 or self.all_begun:
            return
        found = self.page(connection, self.selection, self.after, room)
        taken.exhausted, taken.attempted = len(found) < room, len(found)
        if not found:
            return
        taken.after = (found[-1].place_in_order, found[-1].id)
        for row in found:
            self.had.add(row.id)
        locked = self.still_due(connection, self.selection, [row.id for row in found])
        rows = {row.id: self.step.row(*row[:-1]) for row in locked}
        for operation in self.books.begin(connection, self.step, rows.values(), taken):
            taken.items.append(Item(operation, self.step, rows[operation.subject_id]))

    def still_due(self, connection: Connection, selection: Selection, ids: Sequence[int]) -> Sequence[Any]:
        """Read rows that are locked by now once more: what lies beside them may have changed meanwhile.

        On PostgreSQL the statement that locks them sees what lies beside them as it was when it began.
        """
        dialect = connection.dialect.name
        key = selection.due.key
        if self.again is None:
            theirs = among_named(key, bindparam("the_ids", type_=id_list_type(key, dialect)), dialect)
            self.again = selection.rows().where(theirs).order_by(selection.order, key)
        return connection.execute(self.again, {"the_ids": id_list(ids, dialect)}).all()

    def proves(self, item: Any, answer: Any) -> bool:
        return not isinstance(answer, Unknown) and closing(item.operation.provider, answer) is None

    # ── what others had ──────────────────────────────────────────────────────────────────────

    def passed_over(self) -> list[int]:
        selection = self.selecting(None)
        with self.running.transaction() as connection:
            keys = connection.scalars(selection.keys().order_by(selection.key))
            return list(islice((each for each in keys if each not in self.had), MOST))

    def others_have(self, ids: Sequence[int]) -> list[int]:
        selection = self.selecting(ids)
        table, key = selection.due.table, selection.key
        free = selection.keys().with_for_update(**passing_over(table)).cte("free")
        others = selection.keys().where(key.not_in(select(free.c.id)))
        with self.running.transaction() as connection:
            return list(connection.scalars(others))

    def goes_on(self) -> bool:
        """Tell whether rows that were passed over may be taken up still; SQLite passes none over."""
        passes = self.step is not None and not self.running.database.embedded
        return passes and not self.closed and super().goes_on()

    def name_locked(self, ids: Sequence[int]) -> None:
        assert self.step is not None, "rows without a step"
        with self.running.transaction() as connection:
            for each in ids:
                self.books.complain(connection, self.step, each, db.TOO_LONG)
                self.running.record.counts["failed"] += 1

    def begin_again(self, ids: Sequence[int]) -> None:
        self.selection, self.after = self.selecting(ids), None
        self.all_begun = self.exhausted = False
        self.pages.clear()

    def selecting(self, ids: Sequence[int] | None) -> Selection:
        """Return the selection of rows that are due, of `ids` alone where they are given."""
        assert self.step is not None, "a selection without a step"
        options = self.running.options
        made = Selection(self.step.due(self.running.at), options.since, options.only)
        if ids is not None:
            made.conditions.append(among(made.key, ids, self.running.database.engine.dialect.name))
        return made

    # ── calls ────────────────────────────────────────────────────────────────────────────────

    def decide(self, item: Item) -> Any:
        if item.answer is not None:
            return item.answer
        return Call((item.operation.provider,), item, {})

    def make(self, outside: Providers, payload: Item) -> Any:
        operation = payload.operation
        provider = outside.open(operation.provider)
        if not payload.look:
            told: Answer = provider.send(operation.kind, operation.request, operation.key)
        else:
            assert operation.first_sent_at is not None, "a look for what was never sent"
            told = provider.look(
                Inquiry(operation.kind, operation.key, operation.payment_id, operation.first_sent_at)
            )
        told = proved(operation, provider.live, told)
        if operation.payment_id is None:
            return told
        return outside.placed(operation.provider, told, looked=payload.look)

    def settle_alone(self, item: Item, answer: Any) -> Sequence[Item]:
        """Settle one answer; where its subject cannot follow, keep the fact for a later run."""
        taken = Taken()
        try:
            with self.running.transaction() as connection:
                self.books.settle(connection, [(item, answer)], taken, alone=True)
        except JobctlError:
            raise
        except Exception as error:  # noqa: BLE001 (isolation, as above)
            log.warning("operation.unsettled", extra={"operation": item.id})
            taken = self.keep_fact(item, answer, why(error))
        return self.remember(taken)

    def keep_fact(self, item: Item, answer: Any, reason: str) -> Taken:
        """Keep what was answered; where the database takes no text of it, in words of our own alone."""
        for plain in (False, True):
            taken = Taken()
            try:
                with self.running.transaction() as connection:
                    self.books.keep_fact(connection, item, answer, reason, taken, plain=plain)
            except JobctlError:
                raise
            except Exception:  # isolation
                log.debug("fact.refused", exc_info=True)
            else:
                return taken
        self.running.fail(Exit.ITEMS_FAILED, f"the answer to operation {item.id} could not be written down")
        self.unknown.add(item.id)
        return Taken()

    # ── the end ──────────────────────────────────────────────────────────────────────────────

    def tell_unknown(self) -> None:
        """Let the exit code tell of operations whose outcome nobody knows, and nobody is at work on.

        A run answers for those that it had to do with; settle-operations for all that there are.
        """
        mine = None if self.bounded else list(self.unknown)
        if mine == []:
            return
        with self.running.transaction() as connection:
            rows = connection.execute(uncertain(mine, connection.dialect.name)).all()
        # What this run has claimed still, and is not under way, it could not write down.
        others = {row.claimed_by for row in rows if row.claimed_by} - {self.running.record.id}
        alive = self.running.locks.alive(others)
        left = [row for row in rows if row.claimed_by not in alive and row.id not in self.claimed]
        if left:
            named = [f"{each.id} of {each.subject} {each.subject_id}" for each in left[:NAMED]]
            some = ", ".join(named) + (", …" if len(left) > NAMED else "")
            self.running.fail(
                Exit.UNKNOWN_OUTCOME,
                f"what became of money operations is unknown ({len(left)}: {some}): "
                "jobctl settle-operations asks the provider once an answer is overdue",
            )


def uncertain(ids: Sequence[int] | None, dialect: str) -> Select[Any]:
    """Select the operations, of these or all, that were sent and of which nobody knows what became."""
    ours = money_operations.c
    open_ones = ours.settled_at.is_(None) & ours.first_sent_at.is_not(None)
    open_ones = open_ones if ids is None else open_ones & among(ours.id, ids, dialect)
    states = ours.status.in_(["started", "unknown"])
    return (
        select(ours.id, ours.claimed_by, ours.subject, ours.subject_id)
        .where(open_ones, states)
        .order_by(ours.id)
    )


def why(error: Exception) -> str:
    if isinstance(error, DBAPIError):
        return f"the database refused what follows from it: {first_line(error.orig or error)}"
    if isinstance(error, ChangedMeanwhileError):
        return "what follows from it has to wait: the row has changed, or another operation is open"
    return f"{type(error).__name__}: {first_line(error)}"
