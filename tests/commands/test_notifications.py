"""`jobctl notifications`: finding the messages that need someone, and queueing them again."""

from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.output import plain
from jobctl.tables.frame import runs
from jobctl.tables.notifications import STATUSES
from tests.world import NOW, World, ago, command

pytestmark = pytest.mark.usefixtures("environment")
UNFINISHED = ("failed", "held")


def listed(*arguments: str) -> Any:
    done = command("notifications", "list", *arguments, "--json")
    assert (done.exit_code, done.err) == (Exit.DONE, "")
    return done.document


def ids(*arguments: str) -> list[int]:
    return [each["id"] for each in listed(*arguments)]


def one_of_each(world: World, **values: Any) -> dict[str, int]:
    """Make a message in every status that there is; return their numbers by it."""
    return {status: world.message(status=status, **values) for status in STATUSES}


def given_up(world: World, **values: Any) -> int:
    """Make a message that failed for good after all its attempts."""
    defaults: dict[str, Any] = {"status": "failed", "attempts": 5, "settled_at": NOW, "reason": "550 no"}
    return world.message(**defaults | values)


class TestList:
    def test_there_are_none(self, world: World) -> None:
        assert listed() == []
        assert listed("--failed") == []
        assert command("notifications", "list").exit_code == Exit.DONE

    def test_what_is_said_of_each(self, world: World) -> None:
        user = world.user()
        message = given_up(world, user_id=user, queued_at=ago(minutes=1))
        assert listed() == [
            {
                "id": message,
                "user_id": user,
                "channel": "tray",
                "template": "welcome",
                "status": "failed",
                "attempts": 5,
                "queued_at": plain(ago(minutes=1)),
                "settled_at": plain(NOW),
                "reason": "550 no",
            }
        ]

    def test_without_options_all_newest_first(self, world: World) -> None:
        made = one_of_each(world)
        assert ids() == list(made.values())[::-1]

    def test_failed_are_those_that_need_someone(self, world: World) -> None:
        made = one_of_each(world)
        assert set(ids("--failed")) == {made[each] for each in UNFINISHED}

    @pytest.mark.parametrize("status", STATUSES)
    def test_those_in_one_status(self, world: World, status: str) -> None:
        made = one_of_each(world)
        assert ids("--status", status) == [made[status]]

    def test_those_of_one_user(self, world: World) -> None:
        one, other = world.user(), world.user()
        made = [world.message(one), world.message(one)]
        world.message(other)
        assert ids("--user", str(one)) == made[::-1]

    def test_options_together_narrow(self, world: World) -> None:
        user = world.user()
        mine = one_of_each(world, user_id=user)
        one_of_each(world)
        assert set(ids("--failed", "--user", str(user))) == {mine[each] for each in UNFINISHED}
        assert ids("--failed", "--status", "held", "--user", str(user)) == [mine["held"]]
        assert ids("--failed", "--status", "sent") == []

    def test_the_limit_keeps_the_newest(self, world: World) -> None:
        made = world.messages(60)
        assert ids() == made[:9:-1]
        assert ids("--limit", "2") == made[:57:-1]

    def test_nothing_personal_is_told(self, world: World) -> None:
        world.message(
            world.user(name="Wilhelmina"), address="w@example.com", context={"partner": "Bartholomew"}
        )
        told = command("notifications", "list").out + command("notifications", "list", "--json").out
        for secret in ("Wilhelmina", "w@example.com", "Bartholomew"):
            assert secret not in told

    @pytest.mark.parametrize(
        "arguments",
        [("--status", "lost"), ("--user", "0"), ("--user", "anna"), ("--limit", "0")],
        ids=" ".join,
    )
    def test_wrong_usage(self, world: World, arguments: tuple[str, ...]) -> None:
        done = command("notifications", "list", *arguments)
        assert (done.exit_code, done.out) == (Exit.USAGE, "")

    def test_a_user_whose_number_is_beyond_all_numbers_has_none(self, world: World) -> None:
        world.message()
        done = command("notifications", "list", "--user", "99999999999999999999", "--json")
        assert done.exit_code in (Exit.DONE, Exit.USAGE)


class TestRetry:
    @pytest.mark.parametrize("status", UNFINISHED)
    def test_it_is_queued_with_all_its_attempts_before_it(self, world: World, status: str) -> None:
        message = given_up(world, status=status, next_attempt_at=NOW)
        assert command("notifications", "retry", str(message)).exit_code == Exit.DONE
        row = world.row(message)
        assert (row.status, row.attempts, row.claimed_by) == ("queued", 0, None)
        assert (row.next_attempt_at, row.settled_at, row.reason) == (None, None, None)

    def test_the_next_run_sends_it(self, world: World) -> None:
        message = given_up(world)
        command("notifications", "retry", str(message))
        assert world.send().counts == {"sent": 1}
        assert world.row(message).status == "sent"

    def test_several_by_number(self, world: World) -> None:
        one, two, left = (given_up(world) for _ in range(3))
        assert command("notifications", "retry", str(one), str(two)).exit_code == Exit.DONE
        assert world.statuses() == {one: "queued", two: "queued", left: "failed"}

    def test_a_number_given_twice_is_one_message(self, world: World) -> None:
        message = given_up(world)
        assert command("notifications", "retry", str(message), str(message)).exit_code == Exit.DONE
        assert world.last_run().counts == {"queued again": 1}

    def test_all_are_those_that_failed_or_are_held(self, world: World) -> None:
        made = one_of_each(world)
        assert command("notifications", "retry", "--all").exit_code == Exit.DONE
        expected = {number: "queued" if status in UNFINISHED else status for status, number in made.items()}
        assert world.statuses() == expected

    def test_an_erased_one_has_nothing_left_to_send(self, world: World) -> None:
        message = given_up(world, erased_at=NOW)
        assert listed("--failed") == []
        assert command("notifications", "retry", str(message)).exit_code == Exit.USAGE

    def test_all_of_none_is_nothing_to_do(self, world: World) -> None:
        message = world.message(status="sent")
        before = world.everything()
        assert command("notifications", "retry", "--all").exit_code == Exit.DONE
        assert world.everything() == before
        assert world.row(message).status == "sent"

    def test_more_than_a_page_of_them(self, world: World) -> None:
        made = world.messages(4500, status="failed", attempts=5, settled_at=NOW)
        assert command("notifications", "retry", "--all").exit_code == Exit.DONE
        assert set(world.statuses().values()) == {"queued"}
        assert world.last_run().counts == {"queued again": len(made)}
        assert sorted(each.row_id for each in world.trail()) == made

    def test_what_waits_for_its_time_keeps_waiting(self, world: World) -> None:
        """`send_after` is the sender's wish, not a failed attempt's; so is the expiry."""
        message = given_up(world, send_after=NOW, expires_at=NOW)
        command("notifications", "retry", str(message))
        assert (world.row(message).send_after, world.row(message).expires_at) == (NOW, NOW)


class TestWhatARetryLeaves:
    """A person's retry is a change like a job's: with a run record and a trail."""

    def test_a_run_record(self, world: World) -> None:
        message = given_up(world)
        command("notifications", "retry", str(message))
        (run,) = world.rows(runs)
        assert (run.job, run.outcome, run.exit_code) == ("notifications retry", "done", 0)
        assert run.counts == {"queued again": 1}
        assert run.options == {"ids": [message]}
        assert run.ended_at

    def test_a_trail_from_what_to_what(self, world: World) -> None:
        one, two = given_up(world), given_up(world, status="held")
        command("notifications", "retry", "--all")
        trail = {each.row_id: each for each in world.trail()}
        assert {each.run_id for each in trail.values()} == {world.last_run().id}
        assert (trail[one].before["status"], trail[one].after["status"]) == ("failed", "queued")
        assert (trail[two].before["status"], trail[two].after["status"]) == ("held", "queued")
        assert "reason" not in trail[one].before

    def test_runs_show_shows_it(self, world: World) -> None:
        message = given_up(world)
        command("notifications", "retry", "--all")
        document = command("runs", "show", str(world.last_run().id), "--json").document
        assert document["options"] == {"all": True}
        assert [each["row_id"] for each in document["changes"]] == [message]

    def test_nothing_found_leaves_nothing(self, world: World) -> None:
        world.message()
        before = world.everything()
        assert command("notifications", "retry", "4711").exit_code == Exit.USAGE
        assert world.everything() == before


class TestUsage:
    @pytest.mark.parametrize("arguments", [(), ("--all", "1"), ("0",), ("-1",), ("one",)], ids=" ".join)
    def test_numbers_or_all_and_not_both(self, world: World, arguments: tuple[str, ...]) -> None:
        message = given_up(world)
        done = command("notifications", "retry", *arguments)
        assert (done.exit_code, done.out) == (Exit.USAGE, "")
        assert world.row(message).status == "failed"

    @pytest.mark.parametrize("status", [each for each in STATUSES if each not in UNFINISHED])
    def test_a_message_that_needs_nobody_is_left_alone(self, world: World, status: str) -> None:
        message = world.message(status=status, attempts=1)
        before = world.row(message)
        assert command("notifications", "retry", str(message)).exit_code == Exit.USAGE
        assert world.row(message) == before

    @pytest.mark.parametrize("number", ["4711", "99999999999999999999"])
    def test_a_wrong_number_among_right_ones_is_told_and_nothing_is_done(
        self, world: World, number: str
    ) -> None:
        message = given_up(world)
        done = command("notifications", "retry", str(message), number)
        assert done.exit_code == Exit.USAGE
        assert done.err
        assert world.row(message).status == "failed"
