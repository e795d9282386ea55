"""The effect step: claims, crashes, fences, limits. The sender stands in for every job of its kind."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from jobctl.db import open_database
from jobctl.errors import Exit, JobctlError
from jobctl.locks import open_locks
from jobctl.parsing import uncertain
from jobctl.tables.frame import idle_runs, runs
from jobctl.tables.notifications import inbox, notifications
from tests.world import NOW, World, ago, ahead


def test_limit_bounds_the_rows_attempted(world: World) -> None:
    world.messages(10)
    assert world.send(limit=3).counts == {"sent": 3}
    assert list(world.statuses().values()).count("queued") == 7


def test_limit_counts_what_failed_too(world: World) -> None:
    world.messages(4, template="no-such-template")
    assert world.send(limit=3).counts == {"failed": 3}


def test_only_takes_that_row_alone_and_still_asks_the_conditions(world: World) -> None:
    due, other, later = world.message(), world.message(), world.message(send_after=ahead(hours=1))
    assert world.send(only=due).counts == {"sent": 1}
    assert world.send(only=later).counts == {}
    assert world.statuses() == {due: "sent", other: "queued", later: "queued"}


def test_nothing_due_leaves_one_row_per_job_however_often(world: World) -> None:
    world.send()
    world.send(now=ahead(seconds=10))
    (idle,) = world.rows(idle_runs)
    assert (idle.job, idle.idle_runs, idle.last_idle_at) == ("notification-sender", 2, ahead(seconds=10))
    assert world.rows(runs) == []


def test_nothing_due_prints_nothing_where_cron_would_mail_it(world: World) -> None:
    done = world.send(as_json=False)
    assert (done.exit_code, done.out, done.err) == (Exit.DONE, "", "")


def test_quiet_says_only_what_failed(world: World) -> None:
    world.message()
    assert world.send(as_json=False, verbosity=-1).out == ""
    world.message(template="no-such-template")
    assert world.send(as_json=False, verbosity=-1).out != ""


def test_a_backlog_is_taken_in_pages(world: World) -> None:
    ids = world.messages(1200)
    assert world.send(concurrency=64).counts == {"sent": 1200}
    assert {each.row_id for each in world.trail()} == set(ids)
    assert len(world.trail()) == 1200


class TestClaims:
    def claim(self, world: World, message: int, run_id: int) -> None:
        world.add(
            runs,
            {
                "id": run_id,
                "job": "notification-sender",
                "started_at": ago(minutes=1),
                "outcome": "running",
                "counts": {},
                "options": {},
                "host": "elsewhere",
                "pid": 1,
                "version": "0",
            },
        )
        world.change(notifications, message, claimed_by=run_id, attempts=1)

    def test_what_a_live_run_has_is_left_alone(self, world: World) -> None:
        message = world.message()
        self.claim(world, message, 900)
        with open_locks(world.settings) as rival:
            rival.hold_run(900)
            assert world.send().counts == {}
        assert world.row(message).claimed_by == 900

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_only_settles_no_other_row_of_a_dead_run(self, world: World, dry_run: bool) -> None:
        message, other = world.message(), world.message()
        self.claim(world, message, 900)
        world.change(notifications, other, claimed_by=900, attempts=5)
        before = world.row(other)
        done = world.send(only=message, dry_run=dry_run)
        assert done.counts == {"sent": 1} if dry_run else {"sent": 1, "queued again": 1}
        assert world.row(other) == before

    def test_what_a_dead_run_had_is_sent_at_once_and_its_record_closed(self, world: World) -> None:
        message = world.message()
        self.claim(world, message, 900)
        done = world.send()
        assert done.counts == {"queued again": 1, "sent": 1}
        row = world.row(message)
        assert (row.status, row.attempts, row.crashes) == ("sent", 1, 1)
        dead = next(each for each in world.rows(runs) if each.id == 900)
        assert (dead.outcome, dead.ended_at) == ("died", NOW)

    def test_one_that_was_cancelled_meanwhile_is_let_go(self, world: World) -> None:
        """Else every run to come would find it claimed by the dead, and never be idle again."""
        message = world.message()
        self.claim(world, message, 900)
        world.change(notifications, message, status="cancelled")
        assert world.send().counts == {"changed meanwhile": 1}
        assert (world.row(message).status, world.row(message).claimed_by) == ("cancelled", None)
        assert world.send().counts == {}

    def test_a_message_that_kills_its_process_cannot_loop(self, world: World) -> None:
        """The fifth death is the last."""
        message = world.message(crashes=4)
        self.claim(world, message, 900)
        assert world.send().exit_code == Exit.ITEMS_FAILED
        assert world.row(message).status == "failed"

    def test_hold_keeps_what_a_dead_run_had_for_a_person(self, world: World) -> None:
        world.configure(on_uncertain=uncertain("hold"))
        message = world.message()
        self.claim(world, message, 900)
        assert world.send().exit_code == Exit.ITEMS_FAILED
        assert world.row(message).status == "held"
        assert world.rows(inbox) == []

    def test_a_run_releases_what_it_held(self, world: World) -> None:
        world.message()
        world.send()
        run = world.last_run()
        with open_locks(world.settings) as rival:
            assert rival.alive([run.id]) == set()


def test_a_row_that_the_database_refuses_fails_alone(world: World) -> None:
    """A batch with a bad row in it falls back to one by one."""
    good = world.messages(5)
    bad = world.message(template="welcome")
    with world.engine.begin() as connection:
        connection.execute(text(refusing(world, bad)))
    done = world.send()
    assert done.exit_code == Exit.ITEMS_FAILED
    assert {world.row(each).status for each in good} == {"sent"}
    assert world.row(bad).status == "failed"
    assert [each.row_id for each in world.errors()] == [bad]


def test_a_row_that_can_not_even_be_failed_stops_no_other(world: World) -> None:
    """The database refuses whatever the run would make of it; that is recorded, and the others go out."""
    good, bad = world.messages(5), world.message(template="no-such-template")
    with world.engine.begin() as connection:
        connection.execute(text(unchangeable(world, bad)))
    done = world.send()
    assert done.exit_code == Exit.ITEMS_FAILED
    assert {world.row(each).status for each in good} == {"sent"}
    assert (world.row(bad).status, world.row(bad).claimed_by) == ("queued", None)
    assert [each.row_id for each in world.errors()] == [bad]


class TestSentAndNotRecorded:
    """A message that was handed over, and that the database doesn't let be marked sent, has not failed."""

    @pytest.fixture
    def message(self, world: World) -> int:
        world.configure(email_channel="console")
        message = world.message(channel="email")
        with world.engine.begin() as connection:
            connection.execute(text(never_sent(world, message)))
        return message

    def test_it_is_sent_again(self, world: World, message: int) -> None:
        other = world.message(channel="email")
        done = world.send()
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1, "sent": 1})
        assert [each.row_id for each in world.errors()] == [message]
        assert world.row(other).status == "sent"
        row = world.row(message)
        assert (row.status, row.attempts, row.claimed_by) == ("queued", 1, None)
        assert row.next_attempt_at > NOW
        assert "\n" not in row.reason

    def test_or_held_for_a_person(self, world: World, message: int) -> None:
        world.configure(on_uncertain=uncertain("email=hold"))
        done = world.send()
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"held": 1})
        assert world.row(message).status == "held"
        assert [each.row_id for each in world.errors()] == [message]


def never_sent(world: World, message: int) -> str:
    """Make the database refuse to have one message marked sent."""
    if world.settings.database_url:
        return f"ALTER TABLE notifications ADD CONSTRAINT no CHECK (id <> {message} OR status <> 'sent')"
    return (
        f"CREATE TRIGGER no BEFORE UPDATE OF status ON notifications "
        f"WHEN NEW.id = {message} AND NEW.status = 'sent' BEGIN SELECT RAISE(ABORT, 'no'); END"
    )


def unchangeable(world: World, message: int) -> str:
    """Make the database refuse another status for one message."""
    if world.settings.database_url:
        return f"ALTER TABLE notifications ADD CONSTRAINT no CHECK (id <> {message} OR status = 'queued')"
    return (
        f"CREATE TRIGGER no BEFORE UPDATE OF status ON notifications WHEN NEW.id = {message} "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    )


def refusing(world: World, message: int) -> str:
    """Make the database refuse the inbox row of one message."""
    if world.settings.database_url:
        return f"ALTER TABLE inbox ADD CONSTRAINT no CHECK (notification_id <> {message})"
    return (
        f"CREATE TRIGGER no BEFORE INSERT ON inbox WHEN NEW.notification_id = {message} "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    )


def test_a_message_cancelled_while_it_was_sent_stays_cancelled(world: World) -> None:
    """Only the allowed transitions are written; the rival's decision stands, and is counted as such."""
    message = world.message()
    with world.engine.begin() as connection:
        connection.execute(text(cancelling(world)))
    assert world.send().counts == {"changed meanwhile": 1}
    assert world.row(message).status == "cancelled"


def cancelling(world: World) -> str:
    """Let the application cancel each message at the moment when it is claimed."""
    if not world.settings.database_url:
        return (
            "CREATE TRIGGER rival AFTER UPDATE OF claimed_by ON notifications "
            "WHEN NEW.claimed_by IS NOT NULL "
            "BEGIN UPDATE notifications SET status = 'cancelled' WHERE id = NEW.id; END"
        )
    return (
        "CREATE FUNCTION rival() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.status := 'cancelled'; RETURN NEW; END $$; "
        "CREATE TRIGGER rival BEFORE UPDATE OF claimed_by ON notifications FOR EACH ROW "
        "WHEN (NEW.claimed_by IS NOT NULL) EXECUTE FUNCTION rival()"
    )


class TestDryRun:
    def test_it_shows_what_the_real_run_then_does(self, world: World) -> None:
        world.configure(email_channel="console")
        sent, failed = world.message(channel="email"), world.message(template="no-such-template")
        expired, skipped = world.message(expires_at=NOW), world.message(user_id=4711)
        world.message(send_after=ahead(hours=1))
        shown = world.send(dry_run=True).document
        assert {each["row_id"]: each["outcome"] for each in shown["rows"]} == {
            sent: "would be sent",
            failed: "failed",
            expired: "expired",
            skipped: "skipped",
        }
        world.send()
        for each in shown["rows"]:
            row = world.row(each["row_id"])
            assert row.status == each["after"].get("status", "sent")
            assert each["after"].get("reason", row.reason) == row.reason

    def test_what_needs_nobody_outside_is_shown_as_a_change(self, world: World) -> None:
        message = world.message()
        (shown,) = world.send(dry_run=True).document["rows"]
        assert (shown["row_id"], shown["outcome"], shown["request"]) == (message, "sent", {})
        assert (shown["before"]["status"], shown["after"]["status"]) == ("queued", "sent")

    def test_it_changes_nothing(self, world: World) -> None:
        """Not even a row's version, with every outcome among the rows and a dead run's claim."""
        world.message()
        world.message(template="no-such-template")
        world.message(expires_at=NOW)
        world.message(claimed_by=77, attempts=1)
        before = world.everything()
        assert world.send(dry_run=True).exit_code == Exit.DONE
        assert world.everything() == before

    def test_it_pages_through_a_backlog(self, world: World) -> None:
        ids = world.messages(1100)
        shown = world.send(dry_run=True).document
        assert [each["row_id"] for each in shown["rows"]] == ids
        assert shown["counts"] == {"sent": 1100}

    def test_limit_since_and_only_bound_it_alike(self, world: World) -> None:
        old, new = world.message(queued_at=ago(hours=2)), world.message()
        for options, expected in (
            ({"limit": 1}, [old]),
            ({"since": ago(hours=1)}, [new]),
            ({"only": new}, [new]),
        ):
            shown = world.send(dry_run=True, **options).document
            assert [each["row_id"] for each in shown["rows"]] == expected

    def test_as_of_asks_the_same_of_another_time(self, world: World) -> None:
        world.message(send_after=ahead(hours=1))
        assert world.send(dry_run=True).counts == {}
        assert world.send(dry_run=True, as_of=ahead(hours=2)).counts == {"sent": 1}

    def test_a_dead_runs_claim_is_shown_as_the_real_run_handles_it(self, world: World) -> None:
        message = world.message(claimed_by=77, attempts=1)
        last = world.message(claimed_by=78, attempts=1, crashes=4)
        spared = [world.message(claimed_by=79, attempts=4) for _ in range(2)]
        shown = world.send(dry_run=True).document
        assert {each["row_id"]: each["outcome"] for each in shown["rows"]} == {
            last: "failed",
            message: "sent",
            **dict.fromkeys(spared, "sent"),
        }
        world.send()
        assert world.statuses() == {message: "sent", last: "failed", **dict.fromkeys(spared, "sent")}
        assert [world.row(each).attempts for each in spared] == [4, 4]

    def test_on_a_terminal_the_first_twenty_and_the_totals(self, world: World) -> None:
        world.messages(25)
        lines = world.send(dry_run=True, as_json=False).out.splitlines()
        assert sum(line.startswith("notifications ") for line in lines) == 20


def test_a_dry_run_could_not_write_if_it_tried(world: World) -> None:
    message = world.message()
    with open_database(world.settings, read_only=True) as database:
        for statement in (
            f"UPDATE notifications SET status = 'sent' WHERE id = {message}",
            "DELETE FROM notifications",
            "CREATE TABLE sneaky (id INTEGER)",
        ):
            with pytest.raises((DBAPIError, JobctlError)), database.transaction() as connection:
                connection.execute(text(statement))
    assert world.row(message).status == "queued"
