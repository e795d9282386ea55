"""Who is reminded of which session: a world in which one is due, then one changed fact per test."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, text

from jobctl.errors import Exit, UsageError
from jobctl.output import plain
from jobctl.parsing import durations
from jobctl.tables.frame import idle_runs, runs
from jobctl.tables.notifications import inbox, notifications, users
from jobctl.tables.sessions import sessions
from tests import postgres
from tests.world import NOW, Done, World, ago, ahead, command

REMINDER = "upcoming-session-reminder"
STATUS, BOOKED, TO_COME, WITHIN, FRESH = (
    "it has not started",
    "it was booked ahead",
    "its start is still to come",
    "it starts within the longest of SESSION_REMINDER_LEADS",
    "no reminder of this start, at this lead or a shorter one, was queued",
)
PERSONAL = ("Wilhelmina", "w.horse@example.com", "+4366012345678", "https://market.example/join/horse")


def remind(world: World, **options: Any) -> Done:
    return world.run(REMINDER, **options)


def all_of(world: World, session: int, *channels: str) -> list[tuple[int, str, str]]:
    """Return what both participants are told, by all of these channels."""
    row = world.booked(session)
    both = (row.expert_id, row.consumer_id)
    return [(each, channel, "session-reminder") for each in both for channel in channels]


def queued_for(world: World, user: int) -> list[str]:
    return sorted(channel for each, channel, _ in world.told() if each == user)


def marks(row: Any) -> dict[str, Any]:
    """Return what a run writes into a session, as the audit trail and dry runs have it."""
    return {"reminded_start": plain(row.reminded_start), "reminded_lead": row.reminded_lead}


def move(world: World, session: int, starts_at: datetime) -> None:
    world.change(sessions, session, starts_at=starts_at, ends_at=starts_at + timedelta(hours=1))


def state(world: World) -> tuple[list[Any], ...]:
    return world.rows(sessions), world.rows(notifications), world.trail(), world.rows(runs)


def test_both_participants_are_told_on_each_channel(world: World) -> None:
    """The session says what it was reminded of; the run record counts it."""
    session = world.session()
    done = remind(world)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"reminded": 1})
    assert marks(world.booked(session)) == {"reminded_start": plain(ahead(minutes=10)), "reminded_lead": 900}
    assert sorted(world.told()) == all_of(world, session, "email", "tray")
    assert (world.last_run().outcome, world.last_run().counts) == ("done", {"reminded": 1})


def test_a_reminder_is_of_use_until_the_start_of_its_session(world: World) -> None:
    session = world.session()
    remind(world)
    facts = {
        (each.status, each.category, each.session_id, each.expires_at, each.queued_at)
        for each in world.rows(notifications)
    }
    assert facts == {("queued", "reminder", session, ahead(minutes=10), NOW)}


def test_each_reads_the_name_of_the_other_and_the_link(world: World) -> None:
    session = world.booked(world.session(join_url="https://market.example/join/1"))
    remind(world)
    known = {"starts_at": plain(session.starts_at), "join_url": session.join_url}
    contexts = {(each.user_id, each.channel): each.context for each in world.rows(notifications)}
    assert contexts == {
        **{(session.expert_id, each): {"partner": "Carl", **known} for each in ("email", "tray")},
        **{(session.consumer_id, each): {"partner": "Eva", **known} for each in ("email", "tray")},
    }


def test_it_arrives_in_the_language_and_time_zone_of_each(world: World) -> None:
    world.configure(notification_channels=("tray",))
    expert = world.user(locale="de-AT", time_zone="Europe/Vienna")
    session = world.booked(world.session(expert_id=expert, join_url="https://market.example/join/1"))
    remind(world)
    assert world.send().counts == {"sent": 2}
    read = {each.user_id: each.body for each in world.rows(inbox)}
    assert "13:10 (Wien)" in read[expert]
    assert "12:10 (UTC)" in read[session.consumer_id]
    assert all(session.join_url in each for each in read.values())


def test_without_a_link_or_a_partner_it_is_sent_all_the_same(world: World) -> None:
    world.configure(notification_channels=("tray",))
    consumer = world.booked(world.session(expert_id=4711)).consumer_id
    remind(world)
    (told,) = world.rows(notifications)
    assert told.user_id == consumer
    assert (told.context["partner"], told.context["join_url"]) == ("", "")
    assert world.send().counts == {"sent": 1}


class TestConditions:
    @pytest.mark.parametrize(
        "fact",
        [
            *({"status": each} for each in ("in_progress", "ended", "cancelled")),
            {"instant": True},
            {"starts_at": NOW},
            {"starts_at": ago(minutes=5)},
            {"starts_at": ahead(minutes=15, microseconds=1)},
            {"reminded_start": ahead(minutes=10), "reminded_lead": 900},
            {"reminded_start": ahead(minutes=10), "reminded_lead": 60},
        ],
        ids=str,
    )
    def test_it_is_left_alone_when_one_fails(self, world: World, fact: dict[str, Any]) -> None:
        world.session(**fact)
        before = state(world)
        done = remind(world)
        assert (done.exit_code, done.counts) == (Exit.DONE, {})
        assert state(world) == before

    @pytest.mark.parametrize(
        "fact",
        [
            {"starts_at": ahead(microseconds=1)},
            {"starts_at": ahead(minutes=15)},
            {"reminded_start": ahead(minutes=11), "reminded_lead": 900},
            {"reminded_start": ahead(minutes=10), "reminded_lead": 901},
        ],
        ids=str,
    )
    def test_it_is_due_up_to_their_very_ends(self, world: World, fact: dict[str, Any]) -> None:
        world.session(**fact)
        assert remind(world).counts == {"reminded": 1}

    @pytest.mark.usefixtures("environment")
    @pytest.mark.parametrize(
        ("fact", "condition"),
        [
            ({"status": "cancelled"}, STATUS),
            ({"instant": True}, BOOKED),
            ({"starts_at": timedelta(minutes=-1)}, TO_COME),
            ({"starts_at": timedelta(minutes=20)}, WITHIN),
            ({"reminded_start": timedelta(minutes=10), "reminded_lead": 900}, FRESH),
        ],
        ids=str,
    )
    def test_why_names_the_one_that_fails(self, world: World, fact: dict[str, Any], condition: str) -> None:
        now = datetime.now(UTC)
        given = {"starts_at": timedelta(minutes=10), **fact}
        values = {name: now + each if isinstance(each, timedelta) else each for name, each in given.items()}
        (told,) = command("why", REMINDER, str(world.session(**values)), "--json").document
        assert [each["condition"] for each in told["conditions"] if not each["holds"]] == [condition]


class TestLeads:
    """SESSION_REMINDER_LEADS: once for each, and always the shortest that has come."""

    @pytest.fixture(autouse=True, params=["24h,15m", "15m,24h"])
    def leads(self, world: World, request: pytest.FixtureRequest) -> None:
        world.configure(session_reminder_leads=durations(request.param), notification_channels=("tray",))

    def test_it_is_reminded_of_once_for_each(self, world: World) -> None:
        starts_at = ahead(hours=20)
        session = world.session(starts_at=starts_at)
        assert remind(world).counts == {"reminded": 1}
        assert world.booked(session).reminded_lead == 24 * 3600
        assert remind(world, now=starts_at - timedelta(minutes=15, microseconds=1)).counts == {}
        assert remind(world, now=starts_at - timedelta(minutes=15)).counts == {"reminded": 1}
        assert world.booked(session).reminded_lead == 15 * 60
        assert remind(world, now=starts_at - timedelta(minutes=1)).counts == {}
        assert sorted(world.told()) == sorted(all_of(world, session, "tray") * 2)

    def test_who_missed_the_long_one_is_reminded_at_the_short_one_only(self, world: World) -> None:
        session = world.session()
        assert remind(world).counts == {"reminded": 1}
        assert world.booked(session).reminded_lead == 15 * 60
        assert remind(world, now=ahead(minutes=1)).counts == {}
        assert sorted(world.told()) == all_of(world, session, "tray")

    def test_a_longer_one_that_is_added_reminds_nobody_again(self, world: World) -> None:
        world.session(starts_at=ahead(hours=20))
        remind(world)
        world.configure(session_reminder_leads=durations("48h,24h,15m"))
        assert remind(world).counts == {}

    def test_a_moved_session_begins_anew(self, world: World) -> None:
        """Reminded of at its short lead, it is moved to tomorrow: the long one is due for the new start."""
        session = world.session()
        remind(world)
        move(world, session, ahead(hours=20))
        assert remind(world).counts == {"reminded": 1}
        assert marks(world.booked(session)) == {
            "reminded_start": plain(ahead(hours=20)),
            "reminded_lead": 86400,
        }


class TestWhatChangesAfterwards:
    """notification-sender looks again at the session before it sends."""

    @pytest.fixture(autouse=True)
    def tray_only(self, world: World) -> None:
        world.configure(notification_channels=("tray",))

    def test_what_has_not_changed_is_sent(self, world: World) -> None:
        world.session()
        remind(world)
        assert world.send().counts == {"sent": 2}

    @pytest.mark.parametrize("span", [{"minutes": 12}, {"minutes": 5}], ids=str)
    def test_of_a_moved_session_the_new_start_is_reminded_of(
        self, world: World, span: dict[str, float]
    ) -> None:
        session = world.session()
        remind(world)
        stale = set(world.statuses())
        move(world, session, ahead(**span))
        assert remind(world).counts == {"reminded": 1}
        assert world.send().counts == {"cancelled": 2, "sent": 2}
        assert {each for each, status in world.statuses().items() if status == "cancelled"} == stale
        sent = [each for each in world.rows(notifications) if each.status == "sent"]
        assert {(each.expires_at, each.context["starts_at"]) for each in sent} == {
            (ahead(**span), plain(ahead(**span)))
        }

    def test_of_one_moved_far_the_reminder_waits_for_the_new_start(self, world: World) -> None:
        session = world.session()
        remind(world)
        move(world, session, ahead(hours=3))
        assert remind(world).counts == {}
        assert world.send().counts == {"cancelled": 2}
        later = ahead(hours=3, minutes=-10)
        assert remind(world, now=later).counts == {"reminded": 1}
        assert world.send(now=later).counts == {"sent": 2}

    def test_moved_back_before_anything_was_sent_the_first_reminder_holds_again(self, world: World) -> None:
        session = world.session()
        remind(world)
        first = set(world.statuses())
        for minutes in (12, 10):
            move(world, session, ahead(minutes=minutes))
            remind(world)
        assert world.send().counts == {"sent": 2, "cancelled": 2}
        assert {each for each, status in world.statuses().items() if status == "sent"} == first

    def test_moved_back_after_its_reminder_was_cancelled_it_is_reminded_of_again(self, world: World) -> None:
        session = world.session()
        remind(world)
        for minutes in (12, 10):
            move(world, session, ahead(minutes=minutes))
            world.send()
            assert remind(world).counts == {"reminded": 1}
        assert world.send().counts == {"sent": 2}

    @pytest.mark.parametrize("status", ["cancelled", "in_progress", "ended"])
    def test_the_reminder_of_a_session_that_is_not_to_come_is_cancelled(
        self, world: World, status: str
    ) -> None:
        session = world.session()
        remind(world)
        world.change(sessions, session, status=status)
        done = world.send()
        assert (done.exit_code, done.counts) == (Exit.DONE, {"cancelled": 2})
        assert world.rows(inbox) == []

    def test_the_reminder_of_a_session_that_is_gone_is_cancelled(self, world: World) -> None:
        world.session()
        remind(world)
        with world.engine.begin() as connection:
            connection.execute(delete(sessions))
        assert world.send().counts == {"cancelled": 2}

    def test_at_the_start_it_has_expired(self, world: World) -> None:
        world.session()
        remind(world)
        assert world.send(now=ahead(minutes=10)).counts == {"expired": 2}
        assert world.rows(inbox) == []


class TestWhoIsReached:
    """One changed fact about one participant; the other gets both messages all the same."""

    @pytest.mark.parametrize(
        ("said", "channels"),
        [
            ([], ["email", "tray"]),
            ([("tray", "*", False)], ["email"]),
            ([("tray", "reminder", False)], ["email"]),
            ([("tray", "marketing", False)], ["email", "tray"]),
            ([("tray", "*", False), ("tray", "reminder", True)], ["email", "tray"]),
            ([("tray", "*", True), ("tray", "reminder", False)], ["email"]),
            ([("tray", "*", False), ("email", "reminder", False)], []),
        ],
        ids=str,
    )
    def test_preferences(self, world: World, said: list[tuple[str, str, bool]], channels: list[str]) -> None:
        session = world.booked(world.session())
        for channel, category, accepted in said:
            world.opt_out(session.expert_id, channel, category, accepted=accepted)
        assert remind(world).counts == {"reminded": 1}
        assert queued_for(world, session.expert_id) == channels
        assert queued_for(world, session.consumer_id) == ["email", "tray"]
        assert world.booked(session.id).reminded_start == session.starts_at

    @pytest.mark.parametrize(
        ("fact", "channels"),
        [({"deleted_at": ago(days=1)}, []), ({"email": None}, ["tray"])],
        ids=str,
    )
    def test_who_is_gone_and_who_has_no_address(
        self, world: World, fact: dict[str, Any], channels: list[str]
    ) -> None:
        session = world.booked(world.session())
        world.change(users, session.consumer_id, **fact)
        assert remind(world).counts == {"reminded": 1}
        assert queued_for(world, session.consumer_id) == channels
        assert queued_for(world, session.expert_id) == ["email", "tray"]

    @pytest.mark.parametrize(
        ("asked", "channels"),
        [
            (("tray",), ["tray"]),
            (("sms", "webhook"), ["sms"]),
            (("webhook",), []),
            (("push", "tray"), ["tray"]),
            (("email", "sms", "tray", "webhook"), ["email", "sms", "tray"]),
        ],
        ids=str,
    )
    def test_notification_channels(self, world: World, asked: tuple[str, ...], channels: list[str]) -> None:
        """Of those that are asked for, the ones that the reader has an address for."""
        world.configure(notification_channels=asked)
        session = world.booked(world.session(expert_id=world.user(phone="+43660")))
        assert remind(world).counts == {"reminded": 1}
        assert queued_for(world, session.expert_id) == channels


class TestRunAgain:
    def test_a_second_run_finds_nothing(self, world: World) -> None:
        world.session()
        remind(world)
        before = state(world)
        assert remind(world).counts == {}
        assert remind(world, now=ahead(minutes=1)).counts == {}
        assert state(world) == before
        assert world.rows(idle_runs)[0].idle_runs == 2

    @pytest.mark.parametrize("status", ["queued", "sent", "failed", "cancelled"])
    def test_what_is_queued_under_its_key_already_is_left_alone(self, world: World, status: str) -> None:
        world.configure(notification_channels=("tray",))
        session = world.session()
        remind(world)
        for each in world.statuses():
            world.change(notifications, each, status=status)
        before = world.rows(notifications)
        world.change(sessions, session, reminded_start=None, reminded_lead=None)
        world.configure(notification_channels=("email", "tray"))
        assert remind(world).counts == {"reminded": 1}
        assert [each for each in world.rows(notifications) if each.channel == "tray"] == before
        assert sorted(world.told()) == all_of(world, session, "email", "tray")
        assert world.booked(session).reminded_start == ahead(minutes=10)


class TestOptions:
    def test_limit_takes_those_that_start_first(self, world: World) -> None:
        later, sooner = world.session(starts_at=ahead(minutes=12)), world.session()
        assert remind(world, limit=1).counts == {"reminded": 1}
        assert [each.reminded_lead for each in world.rows(sessions)] == [None, 900]
        assert sorted(world.told()) == all_of(world, sooner, "email", "tray")
        assert remind(world).counts == {"reminded": 1}
        assert sorted(world.told()) == [
            told for each in (later, sooner) for told in all_of(world, each, "email", "tray")
        ]

    def test_only_takes_that_one_and_still_asks_the_conditions(self, world: World) -> None:
        world.session()
        due, later = world.session(), world.session(starts_at=ahead(hours=1))
        assert remind(world, only=later).counts == {}
        assert remind(world, only=due).counts == {"reminded": 1}
        assert sorted(world.told()) == all_of(world, due, "email", "tray")

    def test_since_keeps_nothing_back_whose_start_is_to_come(self, world: World) -> None:
        world.session(starts_at=ahead(microseconds=1))
        assert remind(world, since=NOW).counts == {"reminded": 1}

    def test_since_in_the_future_is_refused(self, world: World) -> None:
        world.session()
        before = world.everything()
        assert remind(world, since=ahead(minutes=1)).exit_code == Exit.USAGE
        with pytest.raises(UsageError):
            remind(world, since=ahead(minutes=1), dry_run=True)
        assert world.everything() == before


class TestDryRun:
    @pytest.fixture(autouse=True)
    def market(self, world: World) -> None:
        """Sessions of all kinds: due, due once before and moved back, told in part, not due."""
        for each in (world.session(), world.session(starts_at=ahead(minutes=12))):
            world.opt_out(world.booked(each).expert_id, "tray", "reminder")
        moved = world.session(starts_at=ahead(minutes=3))
        remind(world, only=moved)
        world.change(sessions, moved, reminded_start=ahead(minutes=5))
        world.session(status="cancelled")
        world.session(expert_id=world.user(deleted_at=ago(days=1)), reminded_start=NOW, reminded_lead=60)

    @pytest.mark.parametrize(
        ("options", "rows"),
        [({}, 12), ({"limit": 2}, 5), ({"limit": 3}, 8), ({"only": 3}, 1), ({"only": 4}, 0)],
        ids=str,
    )
    def test_it_shows_what_the_real_run_does(self, world: World, options: dict[str, Any], rows: int) -> None:
        shown, done = world.foretold(REMINDER, **options)
        assert shown == done
        assert len(shown) == rows

    def test_afterwards_there_is_nothing_to_show(self, world: World) -> None:
        remind(world)
        assert remind(world, dry_run=True).document["rows"] == []


def test_the_trail_tells_from_what_to_what_and_nothing_personal(world: World) -> None:
    name, email, phone, link = PERSONAL
    expert = world.user(name=name, email=email, phone=phone)
    fresh = world.session(expert_id=expert, join_url=link)
    moved = world.session(reminded_start=ahead(hours=2), reminded_lead=60)
    remind(world)
    after = {"reminded_start": plain(ahead(minutes=10)), "reminded_lead": 900}
    assert [(each.table_name, each.row_id, each.before, each.after) for each in world.trail()] == [
        ("sessions", fresh, {"reminded_start": None, "reminded_lead": None}, after),
        ("sessions", moved, {"reminded_start": plain(ahead(hours=2)), "reminded_lead": 60}, after),
    ]
    assert {(each.run_id, each.at) for each in world.trail()} == {(world.last_run().id, NOW)}
    told = str(world.trail()) + str(world.rows(runs))
    assert not [each for each in PERSONAL if each in told]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_personal_is_printed(world: World, *, as_json: bool, dry_run: bool) -> None:
    name, email, phone, link = PERSONAL
    world.session(expert_id=world.user(name=name, email=email, phone=phone), join_url=link)
    done = remind(world, dry_run=dry_run, as_json=as_json, verbosity=2)
    assert done.out
    assert not [each for each in PERSONAL if each in done.out + done.err]


@pytest.mark.parametrize("table", ["notifications", "sessions"])
def test_a_session_and_its_reminders_are_written_together_or_not_at_all(world: World, table: str) -> None:
    """One that the database refuses is recorded, with nothing of it done, and stops no other."""
    first, bad, last = (world.session() for _ in range(3))
    before = world.booked(bad)
    if table == "notifications":
        world.refuse(notifications, "user_id", before.consumer_id)
    else:
        world.refuse(sessions, "id", bad)
    done = remind(world)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"reminded": 2, "failed": 1})
    assert [(each.table_name, each.row_id) for each in world.errors()] == [("sessions", bad)]
    assert world.booked(bad) == before
    assert [each.row_id for each in world.trail()] == [first, last]
    assert sorted(world.told()) == [
        told for each in (first, last) for told in all_of(world, each, "email", "tray")
    ]


def test_limit_counts_one_that_the_database_refuses_too(world: World) -> None:
    bad, good = world.session(), world.session()
    world.refuse(sessions, "id", bad)
    done = remind(world, limit=1)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1})
    assert world.booked(good).reminded_lead is None


def test_two_runs_at_once_remind_of_each_session_once(world: World) -> None:
    expert, consumer, now = world.user(), world.user(), datetime.now(UTC)
    given = {"starts_at": now + timedelta(minutes=10), "ends_at": now + timedelta(hours=1), "created_at": now}
    rows = [{"expert_id": expert, "consumer_id": consumer, **given}] * 300
    with world.engine.begin() as connection:
        connection.execute(insert(sessions), rows)
    with world.engine.begin() as rival:
        if world.settings.database_url:
            rival.execute(text("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE"))
        both = [world.process(REMINDER, "--share", NOTIFICATION_CHANNELS="tray") for _ in range(2)]
        if world.settings.database_url:
            postgres.await_waiting(world.settings.database_url, 2)
    for each in both:
        each.communicate(timeout=60)
    assert [each.returncode for each in both] == [Exit.DONE, Exit.DONE]
    assert sorted(each.row_id for each in world.trail()) == [each.id for each in world.rows(sessions)]
    assert len(world.rows(notifications)) == 2 * len(rows)
    assert sum(each.counts.get("reminded", 0) for each in world.rows(runs)) == len(rows)


@pytest.mark.usefixtures("environment")
class TestCommandLine:
    """By the real clock, with the settings of the environment."""

    def coming(self, world: World, **span: float) -> int:
        return world.session(starts_at=datetime.now(UTC) + timedelta(**span))

    def test_a_run(self, world: World) -> None:
        session = self.coming(world, minutes=10)
        self.coming(world, minutes=20)
        done = command(REMINDER, "--json")
        assert (done.exit_code, done.counts) == (Exit.DONE, {"reminded": 1})
        assert sorted(world.told()) == all_of(world, session, "email", "tray")
        assert command(REMINDER, "--json").counts == {}

    def test_its_settings(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_REMINDER_LEADS", "24h, 15m")
        monkeypatch.setenv("NOTIFICATION_CHANNELS", "tray")
        tomorrow, soon = self.coming(world, hours=23), self.coming(world, minutes=10)
        self.coming(world, hours=25)
        assert command(REMINDER, "--json").counts == {"reminded": 2}
        assert world.booked(tomorrow).reminded_lead == 24 * 3600
        assert world.booked(soon).reminded_lead == 15 * 60
        assert {channel for _, channel, _ in world.told()} == {"tray"}

    def test_limit_and_only(self, world: World) -> None:
        first, second, third = (self.coming(world, minutes=10) for _ in range(3))
        assert command(REMINDER, "--json", "--only", str(second)).counts == {"reminded": 1}
        assert command(REMINDER, "--json", "--limit", "1").counts == {"reminded": 1}
        assert [world.booked(each).reminded_lead for each in (first, second, third)] == [900, 900, None]

    def test_a_dry_run_as_of_another_time(self, world: World) -> None:
        session = self.coming(world, hours=2)
        before = world.everything()
        at = world.booked(session).starts_at - timedelta(minutes=15)
        for as_of, ids in ((at, [session]), (at - timedelta(seconds=1), [])):
            shown = command(REMINDER, "--dry-run", "--as-of", as_of.isoformat(), "--json").document
            assert [each["row_id"] for each in shown["rows"] if each["table"] == "sessions"] == ids
        assert world.everything() == before

    @pytest.mark.parametrize("since", ["2999-01-01", "soon"])
    def test_since_that_cannot_be(self, world: World, since: str) -> None:
        self.coming(world, minutes=10)
        assert command(REMINDER, "--since", since).exit_code == Exit.USAGE
        assert world.told() == []

    def test_with_nothing_due_nothing_is_said(self, world: World) -> None:
        self.coming(world, hours=2)
        done = command(REMINDER)
        assert (done.exit_code, done.out, done.err) == (Exit.DONE, "", "")
