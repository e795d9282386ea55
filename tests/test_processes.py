"""Real processes: kills, stop signals, several at once, the database cut off."""

import os
import platform
import signal
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import update

from jobctl.errors import Exit
from jobctl.locks import open_locks
from jobctl.steps.running import Stop
from jobctl.tables.frame import idle_runs, runs
from jobctl.tables.notifications import notifications
from tests import postgres
from tests.sandbox.client import until
from tests.servers import HookServer, MailServer, Reply
from tests.world import JOBCTL, NOW, World

SENDER = "notification-sender"
WEBHOOK_SECRET = "whsec_Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ=="


def mail(server: MailServer) -> dict[str, str]:
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(server.port),
        "SMTP_TLS": "none",
        "EMAIL_FROM": "Market <market@example.com>",
    }


def arrived(server: MailServer) -> list[str]:
    return [each.recipients[0] for each in server.messages]


def everyone(count: int) -> list[str]:
    return sorted(f"u{n}@example.com" for n in range(count))


def test_killed_and_run_again_nothing_is_missing_and_little_repeated(
    world: World, server: MailServer
) -> None:
    """At most the concurrency comes twice for each kill, and under the same Message-ID."""
    world.messages(60, channel="email")
    server.latency = 0.02
    for kill_after in (10, 30):
        process = world.process(SENDER, "--concurrency", "4", **mail(server))
        server.wait_for(kill_after)
        process.kill()
        process.communicate()
    assert world.call(SENDER, "-v", **mail(server)).exit_code == Exit.DONE
    assert set(world.statuses().values()) == {"sent"}
    assert sorted(set(arrived(server))) == everyone(60)
    assert len(server.messages) <= 60 + 2 * 4
    ids = {each.recipients[0]: each.parsed["Message-ID"] for each in server.messages}
    assert all(ids[each.recipients[0]] == each.parsed["Message-ID"] for each in server.messages)
    assert [each.outcome for each in world.rows(runs)] == ["died", "died", "done"]


def test_one_that_kills_every_run_is_found_and_fails_alone(world: World) -> None:
    """Whatever else a run had in hand as it died goes out, and lost no attempt by that."""
    with HookServer() as server:
        users = [world.user(webhook_url=f"{server.url}/{n}") for n in range(9)]
        ids = [world.message(each, channel="webhook") for each in users]
        deadly = ids[4]
        held = Reply(200, after=threading.Event())
        settings = {
            "WEBHOOK_CHANNEL": "http",
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
            "WEBHOOK_ALLOW_PRIVATE": "true",
            "NOTIFICATION_MAX_ATTEMPTS": "3",
        }
        # In the first run all are under way; later ones come to an end but for this one.
        server.default = held
        deaths = 0
        while world.row(deadly).status == "queued" and deaths < 9:
            process = world.process(SENDER, "--concurrency", "4", **settings)
            asked = len(server.requests)
            until(partial(has_come, server, asked, process))
            if process.poll() is None:
                process.kill()
                deaths += 1
            process.communicate()
            server.default, server.replies["/4"] = Reply(200), held
    assert world.row(deadly).status == "failed"
    assert deaths == 1 + 3
    assert {world.row(each).status for each in ids if each != deadly} == {"sent"}
    assert {world.row(each).attempts for each in ids if each != deadly} == {1}


def has_come(server: HookServer, asked: int, process: "subprocess.Popen[str]") -> bool:
    """Tell whether the request that is held has come: of the first run four, later that of one path."""
    new = [each.path for each in server.requests[asked:]]
    return process.poll() is not None or (len(new) >= 4 if not server.replies else "/4" in new)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, Exit.TERMINATED), (signal.SIGINT, Exit.INTERRUPTED)]
)
def test_told_to_stop_it_finishes_what_is_under_way(
    world: World, server: MailServer, number: int, code: Exit
) -> None:
    world.messages(60, channel="email")
    server.latency = 0.05
    process = world.process(SENDER, "--concurrency", "4", **mail(server))
    server.wait_for(8)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == code
    assert (world.last_run().outcome, world.last_run().exit_code) == ("interrupted", code)
    rows = world.rows(notifications)
    assert {each.claimed_by for each in rows} == {None}
    assert {(each.status, each.attempts) for each in rows} == {("sent", 1), ("queued", 0)}
    assert len(server.messages) == sum(each.status == "sent" for each in rows) < 60
    assert world.call(SENDER, **mail(server)).exit_code == Exit.DONE
    assert sorted(arrived(server)) == everyone(60)


def test_what_does_not_answer_within_the_grace_is_left_for_the_next_run(
    world: World, server: MailServer
) -> None:
    world.messages(3, channel="email")
    server.latency = 30
    process = world.process(SENDER, "--concurrency", "2", STOP_GRACE="200ms", **mail(server))
    server.wait_for(2)
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == Exit.TERMINATED
    rows = world.rows(notifications)
    assert [(each.status, each.attempts) for each in rows] == [("queued", 1), ("queued", 1), ("queued", 0)]
    assert [each.claimed_by is None for each in rows] == [False, False, True]
    assert world.last_run().counts == {"left under way": 2, "put back": 1}
    server.latency = 0
    assert world.call(SENDER, **mail(server)).exit_code == Exit.DONE
    assert set(world.statuses().values()) == {"sent"}


def test_what_is_cancelled_while_it_waits_for_its_slot_is_not_sent(world: World, server: MailServer) -> None:
    """The application's word counts until shortly before the message goes out."""
    sent, *waiting = world.messages(4, channel="email")
    process = world.process(SENDER, **mail(server), EMAIL_RATE_LIMIT="30/m")
    server.wait_for(1)
    for each in waiting:
        world.change(notifications, each, status="cancelled")
    process.communicate(timeout=20)
    assert len(server.messages) == 1
    assert world.statuses() == {sent: "sent"} | dict.fromkeys(waiting, "cancelled")
    assert {each.claimed_by for each in world.rows(notifications)} == {None}


@pytest.mark.only("postgresql")
def test_the_trail_tells_of_the_row_as_it_was_locked(world: World, server: MailServer) -> None:
    """What a rival changed while the run waited for it is what the run changed it from."""
    (message,) = world.messages(1, channel="email")
    server.latency = 0.2
    process = world.process(SENDER, **mail(server))
    server.wait_for(1)
    with world.engine.begin() as rival:
        rival.execute(update(notifications).values(status="held"))
        postgres.await_waiting(str(world.settings.database_url), 1)
    process.communicate(timeout=20)
    (told,) = world.trail()
    assert (told.row_id, told.before["status"], told.after["status"]) == (message, "held", "sent")


def test_a_reader_that_goes_away_loses_no_message_and_no_exit_code(world: World) -> None:
    world.messages(200, channel="email")
    with world.process(SENDER, EMAIL_CHANNEL="console") as process:
        assert process.stdout
        process.stdout.close()
        process.wait(timeout=20)
    assert process.returncode == Exit.UNREACHABLE
    assert world.last_run().exit_code == Exit.UNREACHABLE
    left = [each for each in world.rows(notifications) if each.status == "queued"]
    assert left
    assert {(each.attempts, each.claimed_by) for each in left} == {(0, None)}


class TestFullDevice:
    """What is printed has nowhere to go; the exit code tells the truth of the run all the same."""

    def call(self, world: World, *arguments: str, **environment: str) -> int:
        with Path("/dev/full").open("w") as full:
            return subprocess.run(
                [JOBCTL, *arguments],
                env=world.environment(**environment),
                stdout=full,
                check=False,
                timeout=60,
            ).returncode

    def test_what_became_of_the_messages_counts(self, world: World) -> None:
        message = world.message()
        assert self.call(world, SENDER) == Exit.DONE
        assert world.row(message).status == "sent"
        world.message(template="no-such-template")
        assert self.call(world, SENDER, "--json") == Exit.ITEMS_FAILED

    def test_a_message_that_could_not_be_printed_is_not_sent(self, world: World) -> None:
        message = world.message(channel="email")
        assert self.call(world, SENDER, EMAIL_CHANNEL="console") == Exit.UNREACHABLE
        assert (world.row(message).status, world.row(message).attempts) == ("queued", 0)

    def test_a_run_that_leaves_the_job_to_another_is_done(self, world: World) -> None:
        with open_locks(world.settings) as rival:
            assert rival.take_job(SENDER, share=False)
            assert self.call(world, SENDER, "--json") == Exit.DONE

    def test_a_command_whose_answer_is_lost_has_failed(self, world: World) -> None:
        assert self.call(world, "jobs") == Exit.UNEXPECTED


class TestEncodings:
    """Whatever a terminal can show, nobody's run ends over a tick; and JSON stays JSON."""

    @pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
    def test_signs_that_it_lacks(self, world: World, encoding: str) -> None:
        message = world.message(world.user(name="佐藤 \N{SNOWMAN}\N{PARTY POPPER}"), channel="email")
        environment = {"PYTHONIOENCODING": encoding, "EMAIL_CHANNEL": "console"}
        explained = world.call("why", SENDER, str(message), **environment)
        assert (explained.exit_code, explained.err) == (Exit.DONE, "")
        sent = world.call(SENDER, "--json", **environment)
        assert (sent.exit_code, sent.counts) == (Exit.DONE, {"sent": 1})
        world.message(world.user(name="佐藤"), channel="email")
        failed = world.message(template="no-such-template")
        assert world.call(SENDER, **environment).exit_code == Exit.ITEMS_FAILED
        assert sorted(world.statuses().values()) == ["failed", "sent", "sent"]
        listed = world.call("notifications", "list", "--failed", "--json", **environment)
        assert [each["id"] for each in listed.document] == [failed]


def test_two_runs_share_the_work(world: World, server: MailServer) -> None:
    world.messages(200, channel="email")
    server.latency = 0.02
    both = [world.process(SENDER, "--share", "--concurrency", "4", **mail(server)) for _ in range(2)]
    for each in both:
        each.communicate(timeout=60)
    assert sorted(arrived(server)) == everyone(200)
    assert min(each.counts["sent"] for each in world.rows(runs)) >= 40


def of_this_process() -> dict[str, Any]:
    values = {"job": SENDER, "started_at": NOW, "outcome": "running", "counts": {}, "options": {}}
    return values | {"host": platform.node(), "pid": os.getpid(), "version": "0"}


class TestOverlap:
    def test_a_second_start_leaves_at_once_and_is_counted(self, world: World) -> None:
        world.message()
        with open_locks(world.settings) as rival:
            assert rival.take_job(SENDER, share=False)
            assert world.send().exit_code == Exit.DONE
        assert set(world.statuses().values()) == {"queued"}
        assert world.rows(idle_runs)[0].overlapped == 1

    def test_it_is_an_error_where_asked_for(self, world: World) -> None:
        with open_locks(world.settings) as rival:
            assert rival.take_job(SENDER, share=False)
            done = world.call(SENDER, "--fail-if-locked")
            assert (done.exit_code, f"process {os.getpid()}" in done.err) == (Exit.LOCK_HELD, True)

    def test_it_says_who_has_the_lock(self, world: World) -> None:
        """The host, the process, the run where it has one, and since when."""
        with open_locks(world.settings) as rival:
            assert rival.take_job(SENDER, share=False)
            run = world.add(runs, of_this_process())
            rival.hold_run(run)
            said = world.call(SENDER, "--json").document["held_by"]
        assert said.startswith(f"run {run}, since {NOW:%Y-%m-%d %H:%M:%SZ}; {platform.node()[:35]}, ")
        assert f"process {os.getpid()}" in said

    def test_those_that_share_exclude_those_that_do_not(self, world: World) -> None:
        with open_locks(world.settings) as rival, open_locks(world.settings) as other:
            assert rival.take_job(SENDER, share=True)
            assert other.take_job(SENDER, share=True)
            with open_locks(world.settings) as third:
                assert not third.take_job(SENDER, share=False)

    def test_jobs_do_not_exclude_each_other(self, world: World) -> None:
        with open_locks(world.settings) as rival:
            assert rival.take_job("history-prune", share=False)
            assert world.send().exit_code == Exit.DONE


class TestEvery:
    def test_it_repeats_in_one_process_and_leaves_one_record(self, world: World) -> None:
        world.messages(3)
        done = world.call(SENDER, "--every", "500ms", "--for", "3s", "--limit", "1", "--json")
        assert done.exit_code == Exit.DONE
        assert done.counts == {"sent": 3}
        assert len(world.rows(runs)) == 1
        assert world.rows(idle_runs)[0].idle_runs >= 1

    def test_the_last_tick_leaves_one_interval_to_the_next_start(self, world: World) -> None:
        world.stop = Hurried()
        world.send(every=timedelta(seconds=10), lasting=timedelta(minutes=1))
        assert world.rows(idle_runs)[0].idle_runs == 6

    def test_stopped_between_two_ticks_it_leaves_at_once(self, world: World) -> None:
        process = world.process(SENDER, "--every", "1h")
        while not world.rows(idle_runs):
            assert process.poll() is None
        process.terminate()
        process.communicate(timeout=10)
        assert process.returncode == Exit.TERMINATED

    def test_a_start_that_finds_the_lock_waits_for_its_predecessor(self, world: World) -> None:
        """Else a minutely crontab line would lose whole minutes to its predecessor's last seconds."""
        world.message()
        with open_locks(world.settings) as rival:
            assert rival.take_job(SENDER, share=False)
            world.stop = Hurried(meanwhile=lambda: rival.__exit__(None, None, None))
            once = timedelta(seconds=10)
            assert world.send(every=once, lasting=once).counts == {"sent": 1}

    def test_it_waits_no_longer_than_an_interval(self, world: World) -> None:
        world.message()
        world.stop = Hurried()
        with open_locks(world.settings) as rival:
            assert rival.take_job(SENDER, share=False)
            world.send(every=timedelta(seconds=10), lasting=timedelta(minutes=1))
        assert set(world.statuses().values()) == {"queued"}
        assert sum(world.stop.waited) == pytest.approx(10, abs=0.2)


class Hurried(Stop):
    """Waits no time at all, and notes how long it should have been."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        super().__init__(timedelta(seconds=8))
        self.meanwhile, self.waited = meanwhile, list[float]()

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.meanwhile()
        return False


@pytest.mark.only("postgresql")
class TestDatabaseCutOff:
    """What only a database server can do to a run."""

    def test_cut_off_in_the_middle_nothing_is_lost(self, world: World, server: MailServer) -> None:
        """The server ends every connection; the run says so with 69, and the next one goes on."""
        world.messages(60, channel="email")
        server.latency = 0.05
        process = world.process(SENDER, "--concurrency", "4", **mail(server))
        server.wait_for(10)
        cut_off(str(world.settings.database_url), "")
        _, said = process.communicate(timeout=20)
        assert process.returncode == Exit.UNREACHABLE
        assert "Traceback" not in said
        assert world.call(SENDER, **mail(server)).exit_code == Exit.DONE
        assert sorted(set(arrived(server))) == everyone(60)
        assert len(server.messages) <= 64

    def test_with_its_locks_gone_it_sends_no_more(self, world: World, server: MailServer) -> None:
        world.messages(60, channel="email")
        server.latency = 0.05
        process = world.process(SENDER, "--concurrency", "4", **mail(server))
        server.wait_for(10)
        cut_off(str(world.settings.database_url), "jobctl locks")
        process.communicate(timeout=20)
        assert process.returncode == Exit.UNREACHABLE
        assert len(server.messages) < 30
        rows = world.rows(notifications)
        assert sum(each.status == "sent" for each in rows) == len(server.messages)


def cut_off(url: str, application: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE %s AND pid <> pg_backend_pid()",
            [f"{application or 'jobctl'}%"],
        )
