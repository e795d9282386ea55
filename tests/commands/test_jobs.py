"""`jobctl jobs`: every job, its last run, and how many rows wait for it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from jobctl.errors import Exit
from jobctl.locks import open_locks
from jobctl.output import plain
from jobctl.registry import JOBS
from jobctl.tables.frame import runs
from jobctl.tables.notifications import notifications
from tests.world import NOW, World, ago, ahead, command

pytestmark = pytest.mark.usefixtures("environment")
SENDER = "notification-sender"


def present(**span: float) -> datetime:
    return datetime.now(UTC) + timedelta(**span)


def queued(world: World, **values: Any) -> int:
    return world.message(**{"queued_at": present(minutes=-1), **values})


def line(job: str = SENDER) -> Any:
    done = command("jobs", "--json")
    assert (done.exit_code, done.err) == (Exit.DONE, "")
    (found,) = [each for each in done.document if each["job"] == job]
    return found


def running(world: World) -> int:
    """Record a run that has not ended; it lives as long as somebody holds its lock."""
    values = {"job": SENDER, "started_at": NOW, "outcome": "running", "counts": {}, "options": {}}
    return world.add(runs, values | {"host": "worker-1", "pid": 4711, "version": "0"})


def test_every_job_has_a_line() -> None:
    document = command("jobs", "--json").document
    assert [each["job"] for each in document] == [each.name for each in JOBS]
    assert [each["summary"] for each in document] == [each.summary for each in JOBS]


def test_on_an_empty_database_nothing_waits_and_nothing_ran() -> None:
    for each in command("jobs", "--json").document:
        assert (each["waiting"], each["last_run"]) == (0, None)


def test_the_terminal_has_the_same(world: World) -> None:
    queued(world)
    done = command("jobs")
    names = [each.split()[0] for each in done.out.splitlines()]
    assert (done.exit_code, names) == (Exit.DONE, ["job", *(each.name for each in JOBS)])


class TestWaiting:
    """Counted by the very conditions that a run selects by."""

    def test_due_rows_are_counted(self, world: World) -> None:
        for _ in range(3):
            queued(world)
        assert line()["waiting"] == 3

    @pytest.mark.parametrize(
        "fact",
        [{"status": "sent"}, {"status": "failed"}, {"status": "held"}],
        ids=str,
    )
    def test_others_are_not(self, world: World, fact: dict[str, Any]) -> None:
        queued(world, **fact)
        assert line()["waiting"] == 0

    def test_what_a_run_has_claimed_waits_only_once_it_is_dead(self, world: World) -> None:
        queued(world, claimed_by=(run := running(world)))
        with open_locks(world.settings) as locks:
            locks.hold_run(run)
            assert line()["waiting"] == 0
        assert line()["waiting"] == 1

    @pytest.mark.parametrize("column", ["send_after", "next_attempt_at"])
    def test_what_is_not_due_yet_is_not_waiting(self, world: World, column: str) -> None:
        queued(world, **{column: present(hours=1)})
        assert line()["waiting"] == 0
        queued(world, **{column: present(hours=-1)})
        assert line()["waiting"] == 1

    def test_a_job_of_several_steps_counts_the_rows_of_all(self, world: World) -> None:
        old = present(days=-1000)
        run = running(world)
        world.change(runs, run, started_at=old, ended_at=old, outcome="done")
        queued(world, status="sent", settled_at=old)
        assert line("history-prune")["waiting"] == 2

    def test_a_run_brings_it_down(self, world: World) -> None:
        queued(world)
        assert command(SENDER).exit_code == Exit.DONE
        assert line()["waiting"] == 0

    def test_a_long_backlog_is_not_counted_to_its_end(self, world: World) -> None:
        row = {"channel": "tray", "template": "welcome", "context": {}, "queued_at": present(minutes=-1)}
        with world.engine.begin() as connection:
            connection.execute(insert(notifications), [row] * 10_002)
        assert line()["waiting"] == 10_001


class TestLastRun:
    def test_a_run_that_did_something(self, world: World) -> None:
        world.message()
        world.send()
        assert (line()["last_run"], line()["outcome"]) == (plain(NOW), "done")

    def test_one_that_failed(self, world: World) -> None:
        world.message(template="no-such-template")
        world.send()
        assert line()["outcome"] == "items failed"

    def test_an_idle_run_is_a_run(self, world: World) -> None:
        world.send()
        idle = line()
        assert idle["last_run"] == plain(NOW)
        assert idle["outcome"] not in ("done", "running", "failed")

    def test_the_later_of_the_two_counts(self, world: World) -> None:
        world.message(queued_at=ago(hours=2))
        world.send(now=ago(hours=1))
        assert line()["outcome"] == "done"
        world.send()
        assert line()["last_run"] == plain(NOW)
        assert line()["outcome"] != "done"
        world.message()
        world.send(now=ahead(hours=1))
        assert (line()["last_run"], line()["outcome"]) == (plain(ahead(hours=1)), "done")

    def test_another_jobs_run_is_not_its(self, world: World) -> None:
        world.send()
        assert line("history-prune")["last_run"] is None

    def test_one_that_is_at_work(self, world: World) -> None:
        with open_locks(world.settings) as locks:
            locks.hold_run(running(world))
            assert line()["outcome"] == "running"

    def test_one_whose_process_died_is_not_running(self, world: World) -> None:
        running(world)
        assert line()["outcome"] == "died"


def test_looking_changes_nothing(world: World) -> None:
    queued(world)
    running(world)
    before = world.everything()
    line()
    assert world.everything() == before
