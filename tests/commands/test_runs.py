"""`jobctl runs`: what a run came to, which rows it changed, and whether it is still at work."""

from datetime import timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.locks import Locks
from jobctl.output import plain
from jobctl.tables.frame import run_errors, runs
from tests.servers import MailServer
from tests.world import NOW, World, ago, command

pytestmark = pytest.mark.usefixtures("environment")
SENDER = "notification-sender"


def listed(*arguments: str) -> Any:
    done = command("runs", "list", *arguments, "--json")
    assert (done.exit_code, done.err) == (Exit.DONE, "")
    return done.document


def shown(run: int) -> Any:
    done = command("runs", "show", str(run), "--json")
    assert (done.exit_code, done.err) == (Exit.DONE, "")
    return done.document


def run_of(world: World, **values: Any) -> int:
    """Record a run that has not ended; it lives as long as somebody holds its lock."""
    defaults = {
        "job": SENDER,
        "started_at": ago(minutes=1),
        "outcome": "running",
        "counts": {},
        "options": {},
        "host": "worker-1",
        "pid": 4711,
        "version": "0",
    }
    return world.add(runs, defaults | values)


def sent_and_failed(world: World, **options: Any) -> tuple[int, int, int]:
    """Send two messages, of which one fails; return their numbers and the run's."""
    good, bad = world.message(), world.message(template="no-such-template")
    world.send(**options)
    return good, bad, int(world.last_run().id)


class TestList:
    def test_there_are_none_yet(self, world: World) -> None:
        assert listed() == []
        assert command("runs", "list").exit_code == Exit.DONE

    def test_a_run_with_its_counts(self, world: World) -> None:
        *_, run = sent_and_failed(world)
        (line,) = listed()
        assert line == {
            "run": run,
            "job": SENDER,
            "started_at": plain(NOW),
            "ended_at": plain(NOW),
            "outcome": "items failed",
            "exit_code": 3,
            "counts": {"sent": 1, "failed": 1},
        }

    def test_an_idle_run_leaves_none(self, world: World) -> None:
        world.send()
        assert listed() == []

    def test_the_newest_are_first_and_the_limit_keeps_them(self, world: World) -> None:
        made = [run_of(world) for _ in range(25)]
        assert [each["run"] for each in listed()] == made[:4:-1]
        assert [each["run"] for each in listed("--limit", "2")] == made[:22:-1]
        assert [each["run"] for each in listed("--limit", "100")] == made[::-1]

    def test_a_job_may_be_named(self, world: World) -> None:
        sender, prune = run_of(world), run_of(world, job="history-prune")
        assert [each["run"] for each in listed(SENDER)] == [sender]
        assert [each["run"] for each in listed("history-prune")] == [prune]

    def test_so_may_a_command_that_leaves_a_record(self, world: World) -> None:
        command("notifications", "retry", str(world.message(status="failed", settled_at=NOW)))
        done = command("runs", "list", "notifications retry", "--json")
        assert [each["counts"] for each in done.document] == [{"queued again": 1}]

    def test_the_terminal_has_a_line_for_each(self, world: World) -> None:
        made = [run_of(world, ended_at=NOW, outcome="done", exit_code=0) for _ in range(3)]
        done = command("runs", "list")
        assert [line.split()[0] for line in done.out.splitlines()[1:]] == [str(each) for each in made[::-1]]

    @pytest.mark.parametrize("arguments", [("no-such-job",), ("--limit", "0"), ("--limit", "-1")], ids=str)
    def test_wrong_usage(self, world: World, arguments: tuple[str, ...]) -> None:
        assert command("runs", "list", *arguments).exit_code == Exit.USAGE


class TestShow:
    def test_the_run_itself(self, world: World) -> None:
        *_, run = sent_and_failed(world, limit=2)
        document = shown(run)
        assert document["id"] == run
        assert document["job"] == SENDER
        assert document["options"] == {"limit": 2}
        assert (document["outcome"], document["exit_code"]) == ("items failed", 3)
        assert document["counts"] == {"sent": 1, "failed": 1}
        assert document["pid"] > 0
        assert document["version"]

    def test_what_it_found_to_differ_in_money(self, world: World) -> None:
        found = {"what": "succeeded at the provider and was missing here", "currency": "RUB"}
        drift = [{**found, "payments": 2, "amount_minor": 100_000}]
        run = run_of(world, ended_at=NOW, outcome="done", exit_code=0, drift=drift)
        assert shown(run)["drift"] == drift
        said = "2 payments of 1000.00 RUB in all succeeded at the provider and were missing here."
        assert said in command("runs", "show", str(run)).out

    def test_the_rows_that_it_changed(self, world: World) -> None:
        good, bad, run = sent_and_failed(world)
        changes = {each["row_id"]: each for each in shown(run)["changes"]}
        assert set(changes) == {good, bad}
        assert {each["table_name"] for each in changes.values()} == {"notifications"}
        for row, status in ((good, "sent"), (bad, "failed")):
            assert changes[row]["before"]["status"] == "queued"
            assert changes[row]["after"]["status"] == status

    def test_its_errors_by_row(self, world: World) -> None:
        _, bad, run = sent_and_failed(world)
        (error,) = shown(run)["errors"]
        assert (error["table_name"], error["row_id"]) == ("notifications", bad)
        assert "no-such-template" in error["error"]

    def test_another_runs_rows_are_not_among_them(self, world: World) -> None:
        good, bad, run = sent_and_failed(world)
        other_good, other_bad, other = sent_and_failed(world)
        for number, rows, failed in ((run, {good, bad}, bad), (other, {other_good, other_bad}, other_bad)):
            document = shown(number)
            assert {each["row_id"] for each in document["changes"]} == rows
            assert [each["row_id"] for each in document["errors"]] == [failed]

    def test_json_has_all_rows_and_the_terminal_the_first_twenty(self, world: World) -> None:
        messages = world.messages(600)
        world.send()
        run = int(world.last_run().id)
        assert sorted(each["row_id"] for each in shown(run)["changes"]) == messages
        lines = [line for line in command("runs", "show", str(run)).out.splitlines() if "→" in line]
        assert len(lines) == 20

    def test_the_terminal_has_errors_and_changes(self, world: World) -> None:
        good, bad, run = sent_and_failed(world)
        done = command("runs", "show", str(run))
        assert done.exit_code == Exit.DONE
        for part in (f"notifications {good}", f"notifications {bad}", "no-such-template", "1 sent"):
            assert part in done.out

    def test_the_terminal_has_the_options_as_they_were_given(self, world: World) -> None:
        *_, run = sent_and_failed(world, limit=2, share=True)
        assert "options     limit=2 share=True" in command("runs", "show", str(run)).out.splitlines()
        command("notifications", "retry", "2")
        run = int(world.last_run().id)
        assert "options     ids=2" in command("runs", "show", str(run)).out.splitlines()

    def test_nothing_personal_is_told(self, world: World) -> None:
        world.configure(email_channel="console")
        world.message(world.user(name="Wilhelmina", email="nobody at all"), channel="email")
        world.send()
        run = int(world.last_run().id)
        told = command("runs", "show", str(run)).out + str(shown(run))
        for secret in ("Wilhelmina", "nobody at all"):
            assert secret not in told

    @pytest.mark.parametrize("number", ["4711", "0", "-1", "last", "99999999999999999999"])
    def test_a_run_that_is_not_there(self, world: World, number: str) -> None:
        run_of(world)
        for options in ((), ("--json",)):
            done = command("runs", "show", number, *options)
            assert (done.exit_code, done.out) == (Exit.USAGE, "")


class TestOutcome:
    """A run that has not closed its record is running while its process lives, and died when it doesn't."""

    def outcomes(self, run: int) -> list[str]:
        (line,) = [each for each in listed() if each["run"] == run]
        return [line["outcome"], shown(run)["outcome"]]

    def test_one_whose_process_lives(self, world: World, locks: Locks) -> None:
        run = run_of(world)
        locks.hold_run(run)
        assert self.outcomes(run) == ["running", "running"]

    def test_one_whose_process_died(self, world: World, locks: Locks) -> None:
        run, other = run_of(world), run_of(world)
        locks.hold_run(other)
        assert self.outcomes(run) == ["died", "died"]

    def test_one_that_ended_is_what_it_was(self, world: World) -> None:
        ended = {"ended_at": NOW, "exit_code": 69}
        for outcome in ("done", "items failed", "interrupted", "failed", "died"):
            assert self.outcomes(run_of(world, outcome=outcome, **ended)) == [outcome, outcome]

    def test_a_real_process_while_it_works_and_after_it_was_killed(self, world: World) -> None:
        world.message(channel="email")
        with MailServer() as server:
            server.latency = 60
            process = world.process(
                SENDER,
                SMTP_HOST="127.0.0.1",
                SMTP_PORT=str(server.port),
                SMTP_TLS="none",
                EMAIL_FROM="m@example.com",
            )
            server.wait_for(1)
            run = int(world.last_run().id)
            alive = self.outcomes(run)
            process.kill()
            process.communicate()
            dead = self.outcomes(run)
        assert (alive, dead) == (["running"] * 2, ["died"] * 2)
        assert shown(run)["pid"] == process.pid

    def test_looking_changes_nothing(self, world: World) -> None:
        """The next run of the job closes the record; whoever looks only reads."""
        run = run_of(world)
        world.add(run_errors, {"run_id": run, "at": NOW, "table_name": "notifications", "error": "x"})
        before = world.everything()
        self.outcomes(run)
        command("runs", "show", str(run))
        assert world.everything() == before

    def test_the_jobs_next_run_closes_the_record(self, world: World) -> None:
        run = run_of(world)
        world.send(now=NOW + timedelta(minutes=1))
        (row,) = world.rows(runs)
        assert (row.id, row.outcome, row.ended_at) == (run, "died", NOW + timedelta(minutes=1))
