"""One bad row never stops the others, wherever it fails and whatever is raised: effect steps."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Lock
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, func, select, text, update

from jobctl import db, registry, session
from jobctl.errors import Exit
from jobctl.locks import Locks
from jobctl.registry import Entry
from jobctl.steps.running import Stop
from jobctl.tables.findings import findings
from jobctl.tables.frame import runs
from jobctl.tables.notifications import notifications
from jobctl.tables.sessions import sessions
from jobctl.tables.subscriptions import payments
from tests.payments import Market
from tests.rival import while_held
from tests.servers import closed_port
from tests.steps import effect_job
from tests.steps.effect_job import UNWRITABLE
from tests.subscribers import Club
from tests.world import NOW, World

JOB = Entry("call", "tests.steps.effect_job", "* * * * *", None, "Call about messages.", ())
LOOK = Entry("look", "tests.steps.looking_job", "* * * * *", None, "Look messages up.", ())


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "JOBS", (*registry.JOBS, JOB, LOOK))


@contextmanager
def rolled_back() -> Iterator[list[object]]:
    """Collect the transactions that are given up meanwhile."""
    found: list[object] = []
    listener = found.append
    event.listen(Engine, "rollback", listener)
    try:
        yield found
    finally:
        event.remove(Engine, "rollback", listener)


class TestClaiming:
    def test_an_old_message_that_breaks_a_rule_of_the_applications(self, world: World) -> None:
        """A CHECK that is NOT VALID lets it lie there, and refuses whatever is done to it."""
        bad, *good = world.messages(22)
        world.refuse(notifications, "id", bad)
        for _ in range(2):
            done = world.send()
            assert done.exit_code == Exit.ITEMS_FAILED
            assert world.failed(done) == [bad]
        assert world.statuses() == {bad: "queued"} | dict.fromkeys(good, "sent")
        assert {each.error.count("the database refused its change") for each in world.errors()} == {1}

    @pytest.mark.parametrize("bad", [[21], [7, 8], [0, 11, 21], list(range(22))], ids=str)
    def test_wherever_it_stands(self, world: World, bad: list[int]) -> None:
        ids = world.messages(22)
        refused = [ids[n] for n in bad]
        for each in refused:
            world.change(notifications, each, address="bad")
        world.forbid(notifications, "NEW.address = 'bad'")
        done = world.send()
        assert world.failed(done) == refused
        assert world.statuses() == {each: "queued" if each in refused else "sent" for each in ids}
        assert done.counts == {"sent": 22 - len(bad), "failed": len(bad)} if len(bad) < 22 else {"failed": 22}

    def test_a_page_with_one_costs_few_transactions(self, world: World) -> None:
        ids = world.messages(500)
        world.refuse(notifications, "id", ids[333])
        with rolled_back() as found:
            done = world.send(concurrency=400)
        assert done.counts == {"sent": 499, "failed": 1}
        assert len(found) <= 11

    def test_limit_counts_it_as_attempted(self, world: World) -> None:
        bad, *_ = world.messages(5)
        world.refuse(notifications, "id", bad)
        assert world.send(limit=3).counts == {"sent": 2, "failed": 1}

    def test_a_payment_that_is_looked_up(self, club: Club) -> None:
        users = [club.buyer() for _ in range(3)]
        bad, *good = [club.begun(each, club.pay(each)) for each in users]
        club.world.forbid(payments, f"NEW.id = {bad} AND NEW.claimed_by IS NOT NULL")
        done = club.run("matching-pending-payments", limit=3)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"applied": 2, "failed": 1})
        assert club.world.failed(done) == [bad]
        assert [club.paid(each).status for each in (bad, *good)] == ["pending", "succeeded", "succeeded"]


class TestGivingUpClaims:
    def claimed_by_the_dead(self, world: World, messages: list[int]) -> None:
        with world.engine.begin() as connection:
            theirs = notifications.c.id.in_(messages)
            connection.execute(update(notifications).where(theirs).values(claimed_by=900, attempts=1))

    def test_what_dead_runs_had(self, world: World) -> None:
        good, bad = world.messages(4), world.message()
        self.claimed_by_the_dead(world, [*good, bad])
        world.refuse(notifications, "id", bad)
        for _ in range(2):
            done = world.send()
            assert done.exit_code == Exit.ITEMS_FAILED
            assert world.failed(done) == [bad]
        assert {world.row(each).status for each in good} == {"sent"}
        assert (world.row(bad).status, world.row(bad).claimed_by) == ("queued", 900)

    def test_what_a_run_gives_back(self, world: World) -> None:
        """A channel that is down costs no message an attempt, but for the one that can't be given back."""
        mail = {"smtp_host": "127.0.0.1", "smtp_port": closed_port(), "smtp_tls": "none"}
        world.configure(**mail, email_from="us@example.com")
        ids = world.messages(12, channel="email")
        bad = ids[7]
        world.forbid(notifications, f"NEW.id = {bad} AND NEW.claimed_by IS NULL")
        done = world.send(concurrency=2)
        assert done.exit_code == Exit.UNREACHABLE
        assert set(world.failed(done)) <= {bad}
        assert {each.attempts for each in world.rows(notifications) if each.id != bad} == {0}
        assert {each.claimed_by for each in world.rows(notifications) if each.id != bad} == {None}

    def test_what_somebody_else_has_decided_about(self, world: World) -> None:
        other, bad = world.message(), world.message()
        self.claimed_by_the_dead(world, [other, bad])
        for each in (other, bad):
            world.change(notifications, each, status="cancelled")
        world.refuse(notifications, "id", bad)
        done = world.send()
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"changed meanwhile": 2, "failed": 1})
        assert world.failed(done) == [bad]
        assert world.row(other).claimed_by is None


class TestWhateverIsRaised:
    @pytest.mark.parametrize("where", ["ask", "call", "settle"])
    @pytest.mark.parametrize("what", ["too deep", "half a character", "an error with a NUL"])
    def test_in_the_job(self, world: World, where: str, what: str) -> None:
        good, bad = world.messages(5), world.message(topic=f"{where}: {what}")
        done = world.run("call")
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"sent": 5, "failed": 1})
        assert {world.row(each).status for each in good} == {"sent"}
        assert world.failed(done) == [bad]

    def test_in_a_dry_run_that_makes_the_calls(self, world: World) -> None:
        world.messages(5)
        bad = world.message(topic="call: too deep")
        shown = world.run("look", dry_run=True).document
        assert shown["counts"] == {"sent": 5, "failed": 1}
        assert [each["row_id"] for each in shown["rows"] if each["outcome"] == "failed"] == [bad]

    def test_in_a_thread_even_to_leave_the_process(self, world: World) -> None:
        world.messages(5)
        bad = world.message(topic="exit")
        done = world.run("call")
        assert done.counts == {"sent": 5, "failed": 1}
        assert world.failed(done) == [bad]

    @pytest.mark.parametrize("what", [*UNWRITABLE, "notice"])
    def test_in_what_it_wants_written(self, world: World, what: str) -> None:
        world.user()
        good, bad = world.messages(5), world.message(topic=what)
        done = world.run("call")
        assert {world.row(each).status for each in good} == {"sent"}
        if what == "a NUL" and not world.settings.database_url:  # which SQLite takes
            assert (done.exit_code, world.row(bad).status) == (Exit.DONE, "sent")
            return
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"sent": 5, "failed": 1})
        assert world.failed(done) == [bad]
        assert world.row(bad).status == "failed"
        assert world.run("call").counts == {}

    @pytest.mark.parametrize("what", ["error", "finding"])
    def test_what_is_said_of_it_is_storable(self, world: World, what: str) -> None:
        ids = [*world.messages(5), world.message(topic=what)]
        done = world.run("call")
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"sent": 6})
        assert set(world.statuses()) == set(ids)
        told = [*(each.error for each in world.errors()), *(each.reason for each in world.rows(findings))]
        assert told
        assert all("\x00" not in each and "\ud800" not in each for each in told)
        assert world.run("call").exit_code == Exit.DONE

    def test_an_error_that_cannot_be_recorded_is_recorded_without_its_words(self, world: World) -> None:
        good, bad = world.messages(5), world.message(topic="a reason")
        world.refuse(notifications, "id", bad)
        refuse_words(world)
        done = world.send()
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"sent": 5, "failed": 1})
        assert world.failed(done) == [bad]
        assert {world.row(each).status for each in good} == {"sent"}


def refuse_words(world: World) -> None:
    """Have the database refuse errors that tell of it."""
    rule = "ALTER TABLE run_errors ADD CONSTRAINT words CHECK (error NOT LIKE '%the database refused its%')"
    trigger = (
        "CREATE TRIGGER words BEFORE INSERT ON run_errors WHEN NEW.error LIKE '%the database refused its%' "
        "BEGIN SELECT RAISE(ABORT, 'no words'); END"
    )
    with world.engine.begin() as connection:
        connection.execute(text(rule if world.settings.database_url else trigger))


@pytest.mark.only("postgresql")
def test_what_was_begun_is_said_where_the_database_goes_away(world: World) -> None:
    """A trigger ends our own session when the first answer is to be settled."""
    world.messages(5)
    ends = "BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END"
    with world.engine.begin() as connection:
        connection.execute(text(f"CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ {ends} $$"))
        settling = "BEFORE UPDATE OF status ON notifications FOR EACH ROW EXECUTE FUNCTION gone()"
        connection.execute(text(f"CREATE TRIGGER gone {settling}"))
    done = world.run("call", concurrency=5)
    assert (done.exit_code, done.counts) == (Exit.UNREACHABLE, {"left under way": 5})


class Releasing(Stop):
    """Tells of no stop, and lets go of what a rival has locked once a run waits for it."""

    rival: Connection

    def wait(self, seconds: float) -> bool:
        self.rival.commit()
        return super().wait(min(seconds, 0.0))


class Stopping(Stop):
    """Is told to stop once a run waits."""

    def wait(self, seconds: float) -> bool:
        self.now(Exit.TERMINATED)
        return super().wait(seconds)


@pytest.mark.only("postgresql")
class TestWhatOthersHaveLocked:
    """SQLite has one writer at a time, and locks no rows."""

    @pytest.fixture
    def rival(self, world: World) -> Iterator[Connection]:
        with world.engine.connect() as connection:
            yield connection
            connection.rollback()

    @pytest.mark.parametrize("others", [0, 40])
    def test_what_stays_locked_is_named(
        self, world: World, rival: Connection, monkeypatch: pytest.MonkeyPatch, others: int
    ) -> None:
        monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=50))
        message, *rest = world.messages(1 + others)
        rival.execute(select(notifications.c.id).where(notifications.c.id == message).with_for_update())
        done = world.send()
        assert (done.exit_code, world.failed(done)) == (Exit.ITEMS_FAILED, [message])
        assert {world.row(each).status for each in rest} == ({"sent"} if others else set())
        rival.rollback()
        assert world.send().counts == {"sent": 1}

    def test_what_stays_locked_keeps_no_other_waiting(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The others are served before anything is waited for."""
        monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=50))
        message, *rest = world.messages(5)
        theirs = select(notifications.c.id).where(notifications.c.id == message).with_for_update()
        seen: list[int] = []

        def look(connection: Connection) -> None:
            sent = select(func.count()).where(notifications.c.status == "sent")
            seen.append(connection.scalar(sent) or 0)

        done = while_held(world, theirs, world.send, more=look)
        assert (seen, done.counts["sent"] >= len(rest)) == ([len(rest)], True)

    def test_nor_does_it_keep_what_is_changed_in_bulk(self, market: Market) -> None:
        locked, *rest = [market.past_session(None) for _ in range(5)]
        theirs = select(sessions.c.id).where(sessions.c.id == locked).with_for_update()
        seen: list[int] = []

        def look(connection: Connection) -> None:
            analysed = select(func.count()).where(sessions.c.attendance.is_not(None))
            seen.append(connection.scalar(analysed) or 0)

        done = while_held(market.world, theirs, lambda: market.run("session-attendance-analyzer"), more=look)
        assert (seen, sum(done.counts.values())) == ([len(rest)], 1 + len(rest))

    def test_what_is_let_go_of_is_served_by_the_same_run(self, world: World, rival: Connection) -> None:
        ids = world.messages(30)
        world.stop = Releasing(timedelta(seconds=8))
        world.stop.rival = rival
        theirs = notifications.c.id.in_(ids[3:5])
        rival.execute(select(notifications.c.id).where(theirs).with_for_update())
        assert world.send().counts == {"sent": 30}

    def test_what_is_free_before_the_run_is_through_is_not_missed(
        self, world: World, rival: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody has it locked any more when the run looks for what it passed over."""
        message, *_ = world.messages(5)
        rival.execute(select(notifications.c.id).where(notifications.c.id == message).with_for_update())
        guard = Lock()

        def let_go() -> None:
            with guard:
                rival.rollback()

        monkeypatch.setattr(effect_job, "MEANWHILE", let_go)
        assert world.run("call", concurrency=4).counts == {"sent": 5}

    def test_what_a_rival_is_cancelling_as_it_is_answered_stays_cancelled(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (message,) = world.messages(1)
        under_way, cancelled = Event(), Event()

        def be_overtaken() -> None:
            under_way.set()
            cancelled.wait(30)

        monkeypatch.setattr(effect_job, "MEANWHILE", be_overtaken)
        cancel = update(notifications).values(status="cancelled", settled_at=NOW)
        done = while_held(world, cancel, lambda: world.run("call"), once=under_way.is_set, then=cancelled.set)
        assert done.counts == {"changed meanwhile": 1}
        assert (world.row(message).status, world.row(message).claimed_by) == ("cancelled", None)

    def test_a_record_that_cannot_be_closed_is_told(
        self, world: World, rival: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was sent is sent; the next run closes the record."""
        monkeypatch.setitem(session.NEEDED, "lock_timeout", "100ms")
        (message,) = world.messages(1)
        monkeypatch.setattr(
            effect_job, "MEANWHILE", lambda: rival.execute(text("LOCK TABLE runs IN SHARE MODE"))
        )
        done = world.run("call")
        assert (done.exit_code, done.counts) == (Exit.UNREACHABLE, {"sent": 1})
        rival.rollback()
        assert world.row(message).status == "sent"
        world.messages(1)
        monkeypatch.setattr(effect_job, "MEANWHILE", lambda: None)
        world.run("call")
        assert [each.outcome for each in world.rows(runs)] == ["died", "done"]

    def test_what_stays_due_is_served_once(self, world: World) -> None:
        for _ in range(3):
            world.message(topic="left")
        world.messages(2)
        assert world.run("call", concurrency=4).counts == {"left as it is": 3, "sent": 2}

    def test_what_another_run_is_claiming_is_no_matter_of_ours(
        self, world: World, rival: Connection, locks: Locks
    ) -> None:
        theirs, *ours = world.messages(5)
        world.stop = Releasing(timedelta(seconds=8))
        world.stop.rival = rival
        locks.hold_run(900)
        claiming = update(notifications).where(notifications.c.id == theirs)
        rival.execute(claiming.values(claimed_by=900, attempts=1))
        done = world.send(share=True)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"sent": 4})
        assert world.row(theirs).claimed_by == 900
        assert {world.row(each).status for each in ours} == {"sent"}

    def test_a_stop_ends_the_wait_and_blames_no_row(self, world: World, rival: Connection) -> None:
        message, *_ = world.messages(5)
        rival.execute(select(notifications.c.id).where(notifications.c.id == message).with_for_update())
        world.stop = Stopping(timedelta(seconds=8))
        done = world.send()
        assert (done.exit_code, done.counts) == (Exit.TERMINATED, {"sent": 4})
        assert world.errors() == []

    def test_limit_is_reached_without_a_wait(self, world: World, rival: Connection) -> None:
        message, *rest = world.messages(5)
        rival.execute(select(notifications.c.id).where(notifications.c.id == message).with_for_update())
        assert world.send(limit=len(rest)).counts == {"sent": 4}

    def test_many_that_stay_locked_share_one_patience(
        self, world: World, rival: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Locked while they were called about, they are lost to the next run, which finds our claims."""
        monkeypatch.setattr(db, "BRIEFLY", timedelta(milliseconds=50))
        monkeypatch.setattr(db, "PATIENCE", timedelta(milliseconds=200))
        ids = world.messages(20)
        locking, guard = select(notifications.c.id).with_for_update(), Lock()

        def lock() -> None:
            with guard:
                rival.execute(locking)

        monkeypatch.setattr(effect_job, "MEANWHILE", lock)
        with waits() as bounds:
            done = world.run("call", concurrency=20, limit=20)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 20})
        assert sorted(world.failed(done)) == ids
        assert (bounds[0], bounds[-1]) == (50, 20)
        assert {(each.status, each.claimed_by) for each in world.rows(notifications)} == {
            ("queued", done.document["run"])
        }
        rival.rollback()
        monkeypatch.setattr(effect_job, "MEANWHILE", lambda: None)
        assert world.run("call").counts == {"failed": 20}
        assert set(world.statuses().values()) == {"failed"}


@contextmanager
def waits() -> Iterator[list[int]]:
    """Collect how many milliseconds each transaction lets a lock be waited for."""
    found: list[int] = []

    def listener(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if told := re.fullmatch(r"SET LOCAL lock_timeout = (\d+)", statement):
            found.append(int(told[1]))

    event.listen(Engine, "before_cursor_execute", listener)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", listener)
