"""Who came, and who is told so: a world in which a session is over, then one changed fact per test."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text

from jobctl.errors import Exit
from jobctl.output import plain
from jobctl.tables.frame import idle_runs, runs
from jobctl.tables.notifications import inbox, notifications, users
from jobctl.tables.sessions import ATTENDANCE, sessions
from tests import postgres
from tests.world import NOW, Done, World, ago, ahead, command

ANALYZER = "session-attendance-analyzer"
UNKNOWN, NOT_CANCELLED, OVER = (
    "attendance is not known yet",
    "it was not cancelled",
    "it was ended, or should have SESSION_ATTENDANCE_GRACE ago",
)
PERSONAL = ("Wilhelmina", "w.horse@example.com", "https://market.example/join/horse")
# Who came, what comes of it, and who is told what.
RESULTS: tuple[tuple[tuple[str, ...], str, dict[str, str]], ...] = (
    (("expert", "consumer"), "all_present", {}),
    (
        ("consumer",),
        "no_show_expert",
        {"expert": "session-missed-by-expert", "consumer": "session-apology"},
    ),
    (("expert",), "no_show_consumer", {"consumer": "session-missed"}),
    ((), "none_showed", {"expert": "session-missed-by-expert", "consumer": "session-apology"}),
)


def analyze(world: World, **options: Any) -> Done:
    return world.run(ANALYZER, **options)


def over(world: World, *came: str, **values: Any) -> int:
    """Let a session of two hours ago have ended an hour ago, with those who came."""
    given = {"starts_at": ago(hours=2), "status": "ended", "ended_at": ago(hours=1)}
    session = world.session(**(given | values))
    for each in came:
        world.attend(session, getattr(world.booked(session), f"{each}_id"))
    return session


def expected(world: World, session: int, told: dict[str, str]) -> list[tuple[int, str, str]]:
    row = world.booked(session)
    return sorted(
        (getattr(row, f"{who}_id"), channel, template)
        for who, template in told.items()
        for channel in ("email", "tray")
    )


def channels_of(world: World) -> list[str]:
    return sorted(channel for _, channel, _ in world.told())


def state(world: World) -> tuple[list[Any], ...]:
    return world.rows(sessions), world.rows(notifications), world.trail(), world.rows(runs)


class TestResults:
    @pytest.mark.parametrize(("came", "result", "told"), RESULTS, ids=str)
    def test_who_came_and_who_is_told(
        self, world: World, came: tuple[str, ...], result: str, told: dict[str, str]
    ) -> None:
        session = over(world, *came)
        done = analyze(world)
        row = world.booked(session)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"analysed": 1})
        assert (row.attendance, row.attendance_at, row.status) == (result, NOW, "ended")
        assert sorted(world.told()) == expected(world, session, told)
        assert (world.last_run().outcome, world.last_run().counts) == ("done", {"analysed": 1})

    def test_all_four_at_once(self, world: World) -> None:
        made = {over(world, *came): (result, told) for came, result, told in RESULTS}
        assert analyze(world).counts == {"analysed": 4}
        assert {each.id: each.attendance for each in world.rows(sessions)} == {
            session: result for session, (result, _) in made.items()
        }
        assert sorted(world.told()) == sorted(
            each for session, (_, told) in made.items() for each in expected(world, session, told)
        )

    def test_a_stranger_and_another_sessions_attendees_do_not_count(self, world: World) -> None:
        session = over(world)
        row = world.booked(session)
        world.attend(session, world.user())
        both = {"expert_id": row.expert_id, "consumer_id": row.consumer_id}
        other = over(world, "expert", "consumer", **both)
        analyze(world)
        assert world.booked(session).attendance == "none_showed"
        assert world.booked(other).attendance == "all_present"

    def test_who_comes_to_be_known_later_changes_nothing(self, world: World) -> None:
        session = over(world, "consumer")
        analyze(world)
        before = state(world)
        world.attend(session, world.booked(session).expert_id)
        assert analyze(world).counts == {}
        assert state(world) == before


class TestNotices:
    def test_what_they_hold(self, world: World) -> None:
        session = over(world)
        analyze(world)
        starts_at = plain(world.booked(session).starts_at)
        facts = [
            (each.status, each.category, each.context, each.queued_at, each.expires_at, each.session_id)
            for each in world.rows(notifications)
        ]
        assert facts == [("queued", "session", {"starts_at": starts_at}, NOW, None, None)] * 4

    @pytest.mark.parametrize("came", [(), ("expert",), ("consumer",)], ids=str)
    @pytest.mark.parametrize("locale", ["en", "de", "es"])
    def test_they_are_sent_in_each_language(self, world: World, came: tuple[str, ...], locale: str) -> None:
        """An hour after the session that they are about, with its time in the reader's zone."""
        world.configure(notification_channels=("tray",))
        reader = {"locale": locale, "time_zone": "Asia/Kathmandu"}
        over(world, *came, expert_id=world.user(**reader), consumer_id=world.user(**reader))
        analyze(world)
        assert set(world.send().counts) == {"sent"}
        assert all("15:45 (" in each.body for each in world.rows(inbox))

    @pytest.mark.parametrize(
        ("said", "channels"),
        [
            ([("tray", "*", False)], ["email"]),
            ([("tray", "session", False)], ["email"]),
            ([("tray", "reminder", False)], ["email", "tray"]),
            ([("tray", "*", False), ("tray", "session", True)], ["email", "tray"]),
            ([("tray", "*", False), ("email", "*", False)], []),
        ],
        ids=str,
    )
    def test_preferences(self, world: World, said: list[tuple[str, str, bool]], channels: list[str]) -> None:
        session = world.booked(over(world, "expert"))
        for channel, category, accepted in said:
            world.opt_out(session.consumer_id, channel, category, accepted=accepted)
        assert analyze(world).counts == {"analysed": 1}
        assert channels_of(world) == channels
        assert world.booked(session.id).attendance == "no_show_consumer"

    @pytest.mark.parametrize(
        ("fact", "channels"),
        [({"deleted_at": ago(days=1)}, []), ({"email": None}, ["tray"])],
        ids=str,
    )
    def test_who_is_gone_and_who_has_no_address(
        self, world: World, fact: dict[str, Any], channels: list[str]
    ) -> None:
        session = world.booked(over(world, "expert"))
        world.change(users, session.consumer_id, **fact)
        assert analyze(world).counts == {"analysed": 1}
        assert channels_of(world) == channels

    def test_notification_channels(self, world: World) -> None:
        world.configure(notification_channels=("sms", "tray"))
        over(world, "expert")
        analyze(world)
        assert channels_of(world) == ["tray"]

    def test_what_is_queued_under_its_key_already_is_left_alone(self, world: World) -> None:
        world.configure(notification_channels=("tray",))
        session = over(world)
        analyze(world)
        world.send()
        before = world.rows(notifications)
        world.change(sessions, session, attendance=None, attendance_at=None)
        assert analyze(world, now=ahead(minutes=1)).counts == {"analysed": 1}
        assert world.rows(notifications) == before
        assert world.booked(session).attendance_at == ahead(minutes=1)


class TestConditions:
    @pytest.mark.parametrize(
        "fact",
        [
            *({"attendance": each} for each in ATTENDANCE),
            {"status": "cancelled"},
            {"status": "cancelled", "ended_at": None, "ends_at": ago(hours=1)},
            {"ended_at": None, "ends_at": ahead(minutes=1)},
            {"ended_at": None, "ends_at": ago(minutes=5) + timedelta(microseconds=1)},
        ],
        ids=str,
    )
    def test_it_is_left_alone_when_one_fails(self, world: World, fact: dict[str, Any]) -> None:
        over(world, **fact)
        before = state(world)
        done = analyze(world)
        assert (done.exit_code, done.counts) == (Exit.DONE, {})
        assert state(world) == before

    @pytest.mark.parametrize(
        "fact",
        [
            {"ended_at": None, "ends_at": ago(minutes=5)},
            {"ended_at": None, "ends_at": ago(minutes=5), "status": "not_started"},
            {"ended_at": None, "ends_at": ago(minutes=5), "status": "in_progress"},
            {"ended_at": NOW, "ends_at": ahead(minutes=30)},
            {"ended_at": ago(minutes=1), "ends_at": ago(minutes=2)},
            {"instant": True},
        ],
        ids=str,
    )
    def test_it_is_due_once_it_is_over(self, world: World, fact: dict[str, Any]) -> None:
        """When it was ended, at once; when nobody ended it, after the grace."""
        over(world, **fact)
        assert analyze(world).counts == {"analysed": 1}

    def test_the_grace_is_a_setting(self, world: World) -> None:
        world.configure(session_attendance_grace=timedelta(minutes=30))
        session = over(world, ended_at=None, ends_at=ago(minutes=29))
        assert analyze(world).counts == {}
        assert analyze(world, now=ahead(minutes=1)).counts == {"analysed": 1}
        assert world.booked(session).attendance_at == ahead(minutes=1)

    @pytest.mark.usefixtures("environment")
    @pytest.mark.parametrize(
        ("fact", "condition"),
        [
            ({"attendance": "all_present"}, UNKNOWN),
            ({"status": "cancelled"}, NOT_CANCELLED),
            ({"ended_at": None, "ends_at": timedelta(minutes=-4)}, OVER),
        ],
        ids=str,
    )
    def test_why_names_the_one_that_fails(self, world: World, fact: dict[str, Any], condition: str) -> None:
        now = datetime.now(UTC)
        values = {name: now + each if isinstance(each, timedelta) else each for name, each in fact.items()}
        (told,) = command("why", ANALYZER, str(over(world, **values)), "--json").document
        assert [each["condition"] for each in told["conditions"] if not each["holds"]] == [condition]


class TestOptions:
    def test_since_bounds_when_it_was_over(self, world: World) -> None:
        ended = [over(world, ended_at=ago(hours=hours)) for hours in (3, 2, 1)]
        begun = {"starts_at": ago(hours=4), "ended_at": None}
        not_ended = [over(world, **begun, ends_at=ago(hours=hours)) for hours in (3, 2, 1)]
        early_end = over(world, ended_at=ago(hours=3), ends_at=ago(hours=1))
        assert analyze(world, since=ago(hours=2)).counts == {"analysed": 4}
        left = {each.id for each in world.rows(sessions) if each.attendance is None}
        assert left == {ended[0], not_ended[0], early_end}

    def test_limit(self, world: World) -> None:
        first, second = over(world, "expert"), over(world, "expert")
        assert analyze(world, limit=1).counts == {"analysed": 1}
        assert [each.attendance for each in world.rows(sessions)] == ["no_show_consumer", None]
        assert sorted(world.told()) == expected(world, first, {"consumer": "session-missed"})
        assert analyze(world).counts == {"analysed": 1}
        assert world.booked(second).attendance == "no_show_consumer"

    def test_limit_takes_those_that_were_over_first(self, world: World) -> None:
        made = [over(world, "expert", ended_at=ago(hours=hours)) for hours in (1, 2, 3)]
        shown, done = world.foretold(ANALYZER, limit=2)
        assert shown == done
        assert [each.id for each in world.rows(sessions) if each.attendance] == made[1:]

    def test_one_that_ends_in_the_future_is_not_over(self, world: World) -> None:
        """The application's clock may be ahead of the database's."""
        over(world, ended_at=ahead(seconds=2))
        assert analyze(world).counts == {}

    def test_only_takes_that_one_and_still_asks_the_conditions(self, world: World) -> None:
        over(world)
        due, cancelled = over(world), over(world, status="cancelled")
        assert analyze(world, only=cancelled).counts == {}
        assert analyze(world, only=due).counts == {"analysed": 1}
        assert [each.id for each in world.rows(sessions) if each.attendance] == [due]


def test_a_second_run_finds_nothing(world: World) -> None:
    for came, _, _ in RESULTS:
        over(world, *came)
    analyze(world)
    before = state(world)
    assert analyze(world).counts == {}
    assert analyze(world, now=ahead(days=1)).counts == {}
    assert state(world) == before
    assert world.rows(idle_runs)[0].idle_runs == 2


class TestDryRun:
    @pytest.fixture(autouse=True)
    def market(self, world: World) -> None:
        """Sessions of all kinds: all results, told in part, told already, not due."""
        made = [over(world, *came) for came, _, _ in RESULTS]
        world.opt_out(world.booked(made[1]).expert_id, "tray", "session")
        analyze(world, only=made[3])
        world.change(sessions, made[3], attendance=None, attendance_at=None)
        world.opt_out(world.booked(made[2]).consumer_id, "email")
        over(world, status="cancelled")

    @pytest.mark.parametrize(
        ("options", "rows"),
        [({}, 8), ({"limit": 2}, 5), ({"only": 3}, 2), ({"only": 4}, 1), ({"only": 5}, 0)],
        ids=str,
    )
    def test_it_shows_what_the_real_run_does(self, world: World, options: dict[str, Any], rows: int) -> None:
        shown, done = world.foretold(ANALYZER, **options)
        assert shown == done
        assert len(shown) == rows

    def test_afterwards_there_is_nothing_to_show(self, world: World) -> None:
        analyze(world)
        assert analyze(world, dry_run=True).document["rows"] == []


def test_the_trail_tells_from_what_to_what_and_nothing_personal(world: World) -> None:
    name, email, link = PERSONAL
    person = world.user(name=name, email=email)
    made = {over(world, *came, consumer_id=person, join_url=link): result for came, result, _ in RESULTS}
    analyze(world)
    assert [(each.table_name, each.row_id, each.before, each.after) for each in world.trail()] == [
        (
            "sessions",
            session,
            {"attendance": None, "attendance_at": None},
            {"attendance": result, "attendance_at": plain(NOW)},
        )
        for session, result in made.items()
    ]
    assert {(each.run_id, each.at) for each in world.trail()} == {(world.last_run().id, NOW)}
    told = str(world.trail()) + str(world.rows(runs))
    assert not [each for each in PERSONAL if each in told]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_personal_is_printed(world: World, *, as_json: bool, dry_run: bool) -> None:
    name, email, link = PERSONAL
    over(world, consumer_id=world.user(name=name, email=email), join_url=link)
    done = analyze(world, dry_run=dry_run, as_json=as_json, verbosity=2)
    assert done.out
    assert not [each for each in PERSONAL if each in done.out + done.err]


@pytest.mark.parametrize("table", ["notifications", "sessions"])
def test_result_and_notices_are_written_together_or_not_at_all(world: World, table: str) -> None:
    """A session that the database refuses is recorded, with nothing of it done, and stops no other."""
    first, bad, last = (over(world) for _ in range(3))
    before = world.booked(bad)
    if table == "notifications":
        world.refuse(notifications, "user_id", before.consumer_id)
    else:
        world.refuse(sessions, "id", bad)
    done = analyze(world)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"analysed": 2, "failed": 1})
    assert [(each.table_name, each.row_id) for each in world.errors()] == [("sessions", bad)]
    assert world.booked(bad) == before
    assert [each.row_id for each in world.trail()] == [first, last]
    told = {"expert": "session-missed-by-expert", "consumer": "session-apology"}
    assert sorted(world.told()) == sorted(expected(world, first, told) + expected(world, last, told))


def test_two_runs_at_once_look_at_each_session_once(world: World) -> None:
    given = {"starts_at": ago(hours=2), "ends_at": ago(hours=1), "created_at": ago(days=1)}
    rows = [{"expert_id": world.user(), "consumer_id": world.user(), **given}] * 300
    with world.engine.begin() as connection:
        connection.execute(insert(sessions), rows)
    with world.engine.begin() as rival:
        if world.settings.database_url:
            rival.execute(text("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE"))
        both = [world.process(ANALYZER, "--share", NOTIFICATION_CHANNELS="tray") for _ in range(2)]
        if world.settings.database_url:
            postgres.await_waiting(world.settings.database_url, 2)
    for each in both:
        each.communicate(timeout=60)
    assert [each.returncode for each in both] == [Exit.DONE, Exit.DONE]
    assert sorted(each.row_id for each in world.trail()) == [each.id for each in world.rows(sessions)]
    assert len(world.rows(notifications)) == 2 * len(rows)
    assert sum(each.counts.get("analysed", 0) for each in world.rows(runs)) == len(rows)


@pytest.mark.usefixtures("environment")
class TestCommandLine:
    """With the settings of the environment."""

    def test_a_run(self, world: World) -> None:
        session = over(world, "expert")
        done = command(ANALYZER, "--json")
        assert (done.exit_code, done.counts) == (Exit.DONE, {"analysed": 1})
        assert sorted(world.told()) == expected(world, session, {"consumer": "session-missed"})
        assert command(ANALYZER, "--json").counts == {}

    def test_its_settings(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_ATTENDANCE_GRACE", "2h")
        monkeypatch.setenv("NOTIFICATION_CHANNELS", "tray")
        now = datetime.now(UTC)
        over(world, ended_at=None, ends_at=now - timedelta(minutes=119))
        due = over(world, ended_at=None, ends_at=now - timedelta(minutes=121))
        assert command(ANALYZER, "--json").counts == {"analysed": 1}
        assert world.booked(due).attendance == "none_showed"
        assert {channel for _, channel, _ in world.told()} == {"tray"}

    def test_since_limit_and_only(self, world: World) -> None:
        now = datetime.now(UTC)
        old, young, last = (over(world, ended_at=now - timedelta(hours=hours)) for hours in (48, 2, 1))
        assert command(ANALYZER, "--json", "--since", "36h", "--limit", "1").counts == {"analysed": 1}
        assert [bool(world.booked(each).attendance) for each in (old, young, last)] == [False, True, False]
        assert command(ANALYZER, "--json", "--only", str(last)).counts == {"analysed": 1}
        assert [bool(world.booked(each).attendance) for each in (old, young, last)] == [False, True, True]

    def test_a_dry_run_as_of_another_time(self, world: World) -> None:
        ends_at = datetime.now(UTC) + timedelta(hours=1)
        session = over(world, ended_at=None, ends_at=ends_at)
        before = world.everything()
        at = ends_at + timedelta(minutes=5)
        for as_of, ids in ((at, [session]), (at - timedelta(seconds=1), [])):
            shown = command(ANALYZER, "--dry-run", "--as-of", as_of.isoformat(), "--json").document
            assert [each["row_id"] for each in shown["rows"] if each["table"] == "sessions"] == ids
        assert world.everything() == before

    def test_since_in_the_future_is_refused(self, world: World) -> None:
        over(world)
        assert command(ANALYZER, "--since", "2999-01-01").exit_code == Exit.USAGE
        assert world.told() == []

    def test_with_nothing_due_nothing_is_said(self, world: World) -> None:
        over(world, status="cancelled")
        done = command(ANALYZER)
        assert (done.exit_code, done.out, done.err) == (Exit.DONE, "", "")


def test_a_refusal_on_the_first_page_costs_the_run_not_its_record(world: World) -> None:
    """The record is written with the first change, and has to be written again where that is undone."""
    over = {"starts_at": ago(hours=3), "status": "ended", "ended_at": ago(hours=1)}
    bad, good = world.session(**over), world.session(**over)
    world.refuse(sessions, "id", bad)
    assert world.run("session-attendance-analyzer").counts == {"failed": 1, "analysed": 1}
    (run,) = [each.id for each in world.rows(runs)]
    assert [(each.run_id, each.row_id) for each in world.errors()] == [(run, bad)]
    assert {(each.run_id, each.row_id) for each in world.trail()} == {(run, good)}
