"""`jobctl health`: what a probe is told of the database and of each job's last success."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from jobctl import db
from jobctl.commands import health
from jobctl.errors import Exit
from jobctl.locks import open_locks
from jobctl.output import plain
from jobctl.providers import transport
from jobctl.registry import JOBS
from jobctl.steps.running import Stop
from jobctl.tables.frame import idle_runs, runs
from tests.servers import closed_port
from tests.world import Done, World, command

SENDER, DAILY = "notification-sender", "wallet-creation"  # "* * * * *", "0 10 * * *"
PASSWORD = "HORSE-STAPLE"
FRAME = ["settings", "database", "migrations"]


def present(**span: float) -> datetime:
    return datetime.now(UTC) + timedelta(**span)


def probe(*arguments: str) -> Done:
    """Ask for the report as JSON, whose `healthy` the exit code must repeat."""
    done = command("health", "--json", *arguments)
    assert done.err == ""
    assert done.exit_code == (0 if done.document["healthy"] else 1)
    return done


def said(done: Done, check: str) -> Any:
    """Return what the report says of a job, or of a check of another kind."""
    (found,) = [each for each in done.document["checks"] if check in (each["check"], each["job"])]
    return found


def healthy(job: str) -> bool | None:
    """Tell what the report on all jobs makes of one; it is as healthy as that one alone."""
    done = probe()
    found: bool | None = said(done, job)["healthy"]
    assert done.exit_code == (found is False)
    return found


def noted(world: World, job: str = SENDER) -> Any:
    (row,) = (each for each in world.rows(idle_runs) if each.job == job)
    return row


def broken(world: World, **values: Any) -> int:
    return world.message(template="no-such-template", **values)


@pytest.mark.usefixtures("environment")
class TestAll:
    def test_on_a_fresh_database_nothing_is_wrong(self, world: World) -> None:
        """An installation may do without a job; that it never ran is no fault."""
        before = world.everything()
        checks = probe().document["checks"]
        assert [each["check"] for each in checks] == FRAME + ["job"] * len(JOBS)
        assert [each["healthy"] for each in checks] == [True] * 3 + [None] * len(JOBS)
        assert [each["job"] for each in checks[3:]] == [each.name for each in JOBS]
        assert {each["said"] for each in checks[3:]} == {"never ran"}
        assert world.everything() == before

    def test_people_get_a_line_per_check(self, world: World) -> None:
        world.send(now=present(hours=-1))
        world.run(DAILY, now=present())
        done = command("health", SENDER, DAILY, "autopayments")
        assert done.exit_code == 1
        lines = [line.split() for line in done.out.splitlines()]
        kind = "PostgreSQL" if world.settings.database_url else "SQLite"
        assert [line[:2] for line in lines] == [
            ["✓", "settings"],
            ["✓", "database"],
            ["✓", "migrations"],
            ["✗", SENDER],
            ["✗", "autopayments"],
            ["✓", DAILY],
        ]
        assert (lines[1][2], lines[2][2]) == (kind, db.SCHEMA)
        assert "late:" in lines[3]

    def test_a_job_that_is_not_there_is_wrong_usage(self) -> None:
        assert command("health", "no-such-job").exit_code == Exit.USAGE


@pytest.mark.usefixtures("environment")
class TestSchedule:
    """A job has to succeed after each of its scheduled times, within the grace."""

    def test_one_that_succeeded_lately(self, world: World) -> None:
        world.send(now=(at := present()))
        found = said(probe(SENDER), SENDER)
        minute = at.replace(second=0, microsecond=0) + timedelta(minutes=2)
        assert found["healthy"]
        assert (found["last_success_at"], found["due_at"]) == (plain(at), plain(minute))

    @pytest.mark.parametrize(("minutes", "well"), [(13, True), (17, False)])
    def test_one_that_succeeded_some_time_ago(self, world: World, minutes: int, *, well: bool) -> None:
        world.send(now=present(minutes=-minutes))
        assert healthy(SENDER) is well

    def test_the_grace_is_a_setting(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.send(now=present(minutes=-17))
        monkeypatch.setenv("HEALTH_GRACE", "20m")
        assert healthy(SENDER)
        monkeypatch.setenv("HEALTH_GRACE", "5m")
        assert healthy(SENDER) is False

    def test_what_counts_is_the_last_time_that_is_the_grace_ago(self, world: World) -> None:
        """Not how long the success is past: a day is right for a daily job, but for a minute of clocks."""
        world.run(DAILY)
        limit = present(minutes=-15)
        due = limit.replace(hour=10, minute=0, second=0, microsecond=0)
        due -= timedelta(days=due > limit)
        row = noted(world, DAILY).id
        world.change(idle_runs, row, last_success_at=due)
        assert healthy(DAILY)
        world.change(idle_runs, row, last_success_at=due - timedelta(seconds=60))
        assert healthy(DAILY)
        world.change(idle_runs, row, last_success_at=due - timedelta(seconds=61))
        assert healthy(DAILY) is False
        assert said(probe(), DAILY)["due_at"] == plain(due)

    def test_only_the_named_are_judged(self, world: World) -> None:
        world.send(now=present(hours=-1))
        world.run(DAILY, now=present())
        assert probe(DAILY).exit_code == 0
        assert [each["job"] for each in probe(DAILY).document["checks"]] == [None] * 3 + [DAILY]
        assert probe(SENDER, DAILY).exit_code == 1

    def test_one_that_is_named_must_have_run(self) -> None:
        assert said(probe(SENDER), SENDER)["healthy"] is False


@pytest.mark.usefixtures("environment")
class TestSuccess:
    """It is a run of all that is due, in which nothing went wrong."""

    def test_a_run_that_did_something(self, world: World) -> None:
        world.message()
        world.send(now=(at := present()))
        row = noted(world)
        assert (row.idle_runs, row.last_idle_at) == (0, None)
        assert (row.last_success_at, row.last_at) == (at, at)

    def test_one_with_a_row_that_failed_is_none(self, world: World) -> None:
        world.send(now=present(hours=-1))
        world.message()
        broken(world)
        assert world.send(now=present()).exit_code == Exit.ITEMS_FAILED
        assert healthy(SENDER) is False

    def test_one_that_could_do_nothing_is_none(self, world: World) -> None:
        """Its channel is away: that is an idle run, and of no use to anybody."""
        world.send(now=present(hours=-1))
        away(world)
        assert world.send(now=present()).exit_code == Exit.UNREACHABLE
        assert healthy(SENDER) is False

    @pytest.mark.parametrize("option", ["since", "limit", "only"])
    @pytest.mark.parametrize("idle", [False, True], ids=["busy", "idle"])
    def test_one_that_an_option_bounds_is_none(self, world: World, option: str, *, idle: bool) -> None:
        """Run by hand over one row, it says nothing about the schedule."""
        world.send(now=present(hours=-1))
        message = world.message(send_after=present(hours=1) if idle else None, queued_at=present())
        bound = {"since": present(hours=-1), "limit": 1, "only": message}[option]
        done = world.send(now=present(), **{option: bound})
        assert (done.exit_code, done.counts) == (Exit.DONE, {} if idle else {"sent": 1})
        assert noted(world).idle_runs == 1 + idle
        assert healthy(SENDER) is False

    @pytest.mark.parametrize("due", [0, 3])
    def test_one_that_was_stopped_is_none(self, world: World, due: int) -> None:
        for _ in range(due):
            world.message()
        world.stop.now(Exit.TERMINATED)
        assert world.send(now=present()).exit_code == Exit.TERMINATED
        assert [each.last_success_at for each in world.rows(idle_runs)] == [None]

    def test_one_that_left_to_another_is_none(self, world: World) -> None:
        world.send(now=present(hours=-1))
        with open_locks(world.settings) as rival:
            assert rival.take_job(SENDER, share=False)
            world.send(now=present())
        assert (noted(world).overlapped, healthy(SENDER)) == (1, False)

    def test_a_dry_run_is_none(self, world: World) -> None:
        world.send(now=present(), dry_run=True)
        assert world.rows(idle_runs) == []

    def test_a_loop_succeeds_tick_by_tick(self, world: World) -> None:
        """It may go on for weeks, and an early failure is its exit code to the end."""
        at = present()

        def renewed() -> None:
            assert noted(world).last_success_at == at
            world.change(idle_runs, noted(world).id, last_success_at=at - timedelta(hours=1))

        def failed() -> None:
            assert world.rows(idle_runs) == []

        def renewed_and_queued() -> None:
            renewed()
            world.message()

        broken(world)
        world.stop = Between(failed, renewed_and_queued, renewed)
        assert world.send(now=at, every=timedelta(seconds=10)).exit_code == Exit.ITEMS_FAILED
        assert healthy(SENDER)

    def test_a_tick_that_fails_takes_no_success_from_those_before_it(self, world: World) -> None:
        def age() -> None:
            world.change(idle_runs, noted(world).id, last_success_at=present(hours=-1))
            broken(world)

        world.stop = Between(age)
        world.send(now=present(), every=timedelta(seconds=10))
        assert healthy(SENDER) is False


class Between(Stop):
    """Waits no time for the next tick: does something else, and ends the loop when nothing is left to do."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        super().__init__(timedelta(seconds=8))
        self.acts = list(acts)

    def wait(self, seconds: float) -> bool:
        if self.acts:
            self.acts.pop(0)()
            return False
        return True


@pytest.mark.usefixtures("environment")
class TestNoSuccessYet:
    """One that ran is judged from its first run on, as far as that is known."""

    def test_a_run_by_hand_makes_nothing_late_before_its_time(self, world: World) -> None:
        world.send(now=present(), limit=1)
        found = said(probe(SENDER), SENDER)
        assert (found["healthy"], found["last_success_at"]) == (True, None)

    @pytest.mark.parametrize("hours", [0, 1])
    def test_one_that_fails_is_late_after_its_time(self, world: World, hours: int) -> None:
        for each in (present(hours=-hours), present()):
            broken(world)
            world.send(now=each)
        assert healthy(SENDER) is (hours == 0)

    def test_one_that_dies_each_time(self, world: World) -> None:
        values = {"job": SENDER, "started_at": present(hours=-1), "outcome": "died", "counts": {}}
        world.add(runs, values | {"options": {}, "host": "worker-1", "pid": 4711, "version": "0"})
        assert healthy(SENDER) is False

    def test_one_of_whose_failures_only_the_last_is_known(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "PATIENCE", timedelta(0))
        lists = "matching-successful-payments"
        world.configure(
            yookassa_shop_id="100500",
            yookassa_secret_key="test_key",
            yookassa_api_base=f"http://127.0.0.1:{closed_port()}",
        )
        assert world.run(lists, now=present()).exit_code == Exit.UNREACHABLE
        assert world.rows(runs) == []
        found = said(probe(), lists)
        assert (found["healthy"], found["due_at"]) == (False, None)
        assert "69" in found["said"]


def away(world: World) -> None:
    """Queue an e-mail while the mail server is away."""
    world.configure(smtp_host="127.0.0.1", smtp_port=closed_port(), smtp_tls="none", email_from="a@b.example")
    world.message(channel="email")


def unchecked(done: Done, wrong: str) -> str:
    """Return what is said to be wrong; of what comes after it nobody knows anything."""
    checks = done.document["checks"]
    assert [each["check"] for each in checks] == FRAME + ["job"] * len(JOBS)
    place = FRAME.index(wrong)
    assert [each["healthy"] for each in checks] == [True] * place + [False] + [None] * (
        len(checks) - place - 1
    )
    assert {each["said"] for each in checks[place + 1 :]} == {"not checked"}
    text = str(checks[place]["said"])
    assert PASSWORD not in done.out
    assert "\n" not in text
    return text


class TestNotReady:
    """The report comes all the same, in the same form, with one sentence on what is wrong."""

    @pytest.mark.parametrize(("revision", "hint"), [("0006", "jobctl db upgrade"), ("9999", "newer")])
    @pytest.mark.usefixtures("environment")
    def test_migrations(self, world: World, revision: str, hint: str) -> None:
        with world.engine.begin() as connection:
            connection.execute(text("UPDATE jobctl_version SET version_num = :it"), {"it": revision})
        before = world.everything()
        wrong = unchecked(probe(), "migrations")
        assert (revision in wrong, hint in wrong) == (True, True)
        assert world.everything() == before

    def test_no_tables(self, home: Path) -> None:
        (home / "jobctl.db").touch()
        assert "jobctl db upgrade" in unchecked(probe(), "migrations")

    def test_no_database(self, home: Path) -> None:
        assert str(home) in unchecked(probe(), "database")
        assert list(home.iterdir()) == []

    @pytest.mark.usefixtures("environment")
    def test_a_table_that_somebody_dropped(self, world: World) -> None:
        with world.engine.begin() as connection:
            connection.execute(text("DROP TABLE idle_runs"))
        assert "idle_runs" in unchecked(probe(), "database")

    def test_a_server_that_is_away(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        url = f"postgresql://jobctl:{PASSWORD}@127.0.0.1:{(port := closed_port())}/market"
        monkeypatch.setenv("DATABASE_URL", url)
        assert str(port) in unchecked(probe(), "database")
        told = command("health")
        assert (told.exit_code, told.err, PASSWORD in told.out) == (1, "", False)
        assert len(told.out.splitlines()) == len(FRAME) + len(JOBS)

    def test_a_server_that_takes_its_time(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The probe has a patience of its own, well below that of a job."""
        monkeypatch.setattr(health, "PATIENCE", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql://jobctl:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/market"
            monkeypatch.setenv("DATABASE_URL", url)
            assert "0.2 s" in unchecked(probe(), "database")

    @pytest.mark.parametrize("stop_grace", ["1s", "nonsense"])
    def test_settings(self, home: Path, monkeypatch: pytest.MonkeyPatch, stop_grace: str) -> None:
        monkeypatch.setenv("DATABASE_URL", f"mysql://jobctl:{PASSWORD}@127.0.0.1/market")
        monkeypatch.setenv("STOP_GRACE", stop_grace)
        wrong = unchecked(probe(), "settings")
        assert ("DATABASE_URL" in wrong, "STOP_GRACE" in wrong) == (True, stop_grace == "nonsense")
