"""What becomes of a queued message: a world in which it is due, then one changed fact per test."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from jobctl.errors import Exit
from jobctl.parsing import rate, uncertain
from jobctl.steps import effect
from jobctl.tables.notifications import inbox, notifications
from tests.servers import DROP, HookServer, MailServer, Reply, closed_port
from tests.world import NOW, World, ago, ahead, command


def test_a_due_message_is_sent(world: World) -> None:
    """The row says when; the audit trail says from what to what; the run record counts it."""
    message = world.message()
    done = world.send()
    row = world.row(message)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"sent": 1})
    assert (row.status, row.attempts, row.claimed_by) == ("sent", 1, None)
    assert row.settled_at >= NOW
    (audit,) = world.trail()
    assert (audit.table_name, audit.row_id) == ("notifications", message)
    assert (audit.before["status"], audit.after["status"]) == ("queued", "sent")
    assert (world.last_run().outcome, world.last_run().exit_code) == ("done", 0)


def test_the_tray_puts_it_into_the_inbox(world: World) -> None:
    user = world.user(name="Anna")
    message = world.message(user)
    world.send()
    (placed,) = world.rows(inbox)
    assert (placed.user_id, placed.notification_id, placed.subject) == (user, message, "Welcome, Anna")


@pytest.mark.parametrize(
    "fact",
    [
        {"status": "sent"},
        {"status": "failed"},
        {"send_after": ahead(seconds=1)},
        {"next_attempt_at": ahead(seconds=1)},
    ],
    ids=str,
)
def test_it_is_left_alone_when_one_condition_fails(world: World, fact: dict[str, Any]) -> None:
    message = world.message(**fact)
    before = world.row(message)
    assert world.send().exit_code == Exit.DONE
    assert world.row(message) == before


def test_send_after_and_next_attempt_may_be_this_very_instant(world: World) -> None:
    world.message(send_after=NOW)
    world.message(next_attempt_at=NOW)
    assert world.send().counts == {"sent": 2}


def test_oldest_goes_first(world: World) -> None:
    new, old = world.message(queued_at=ago(hours=1)), world.message(queued_at=ago(hours=2))
    world.send(limit=1)
    assert world.statuses() == {new: "queued", old: "sent"}


def test_since_bounds_when_it_was_queued(world: World) -> None:
    early, late = world.message(queued_at=ago(hours=2)), world.message(queued_at=ago(hours=1))
    world.send(since=ago(hours=1))
    assert world.statuses() == {early: "queued", late: "sent"}


def test_past_its_time_it_expires_and_is_never_sent_late(world: World) -> None:
    message = world.message(expires_at=NOW)
    done = world.send()
    assert (done.exit_code, done.counts) == (Exit.DONE, {"expired": 1})
    assert world.row(message).status == "expired"
    assert world.rows(inbox) == []


def test_a_superseded_message_is_cancelled(world: World) -> None:
    user = world.user()
    old = world.message(user, topic="session-7")
    new = world.message(user, topic="session-7")
    other = world.message(user, topic="session-8")
    assert world.send().exit_code == Exit.DONE
    assert world.statuses() == {old: "cancelled", new: "sent", other: "sent"}


class TestRecipients:
    def test_one_who_is_unknown_is_skipped(self, world: World) -> None:
        message = world.message(user_id=4711)
        assert world.send().counts == {"skipped": 1}
        assert world.row(message).reason

    def test_one_who_left_is_skipped(self, world: World) -> None:
        world.message(world.user(deleted_at=ago(days=1)))
        assert world.send().counts == {"skipped": 1}

    def test_one_who_opted_out_of_the_channel_is_skipped(self, world: World) -> None:
        user = world.user()
        world.opt_out(user, "tray")
        world.message(user)
        assert world.send().counts == {"skipped": 1}

    def test_opting_out_never_suppresses_a_receipt(self, world: World) -> None:
        user = world.user()
        world.opt_out(user, "tray")
        world.opt_out(user, "tray", "transactional")
        world.message(user, category="transactional")
        assert world.send().counts == {"sent": 1}

    def test_opting_out_of_a_category_leaves_the_others(self, world: World) -> None:
        user = world.user()
        world.opt_out(user, "tray", "marketing")
        digest, reminder = world.message(user, category="marketing"), world.message(user, category="reminder")
        world.send()
        assert world.statuses() == {digest: "skipped", reminder: "sent"}

    def test_accepting_a_category_goes_before_opting_out_of_the_channel(self, world: World) -> None:
        user = world.user()
        world.opt_out(user, "tray")
        world.opt_out(user, "tray", "reminder", accepted=True)
        world.message(user, category="reminder")
        assert world.send().counts == {"sent": 1}

    def test_one_without_an_address_is_a_failure_for_a_person(self, world: World) -> None:
        world.configure(email_channel="console")
        message = world.message(world.user(email=None), channel="email")
        assert world.send().exit_code == Exit.ITEMS_FAILED
        assert world.row(message).status == "failed"
        assert world.errors()[0].row_id == message


class TestBadRows:
    """One bad row never stops the others; its error is recorded with its number."""

    @pytest.mark.parametrize(
        "fact",
        [
            {"template": "no-such-template"},
            {"template": "../../etc/passwd"},
            {"template": "session-reminder", "context": {}},
            {
                "template": "session-reminder",
                "context": {"partner": "X", "join_url": "u", "starts_at": "soon"},
            },
            {"template": "payment-receipt", "context": {"amount": "free", "description": "", "paid_at": ""}},
            {"context": None},
            {"context": ["nonsense"]},
            {"context": 17},
        ],
        ids=str,
    )
    def test_it_fails_alone(self, world: World, fact: dict[str, Any]) -> None:
        good, bad = world.message(), world.message(**fact)
        done = world.send()
        assert done.exit_code == Exit.ITEMS_FAILED
        assert world.statuses() == {good: "sent", bad: "failed"}
        assert [each.row_id for each in world.errors()] == [bad]
        assert world.row(bad).reason

    @pytest.mark.parametrize(
        "context", ['{"a": ' + "9" * 5000 + "}", "[" * 1500 + "]" * 1500], ids=["long", "deep"]
    )
    def test_json_that_python_cannot_read_fails_alone(
        self, world: World, monkeypatch: pytest.MonkeyPatch, context: str
    ) -> None:
        """Neither for the run, nor for whoever looks at it."""
        good, bad = world.message(), world.message()
        with world.engine.begin() as connection:
            change = text("UPDATE notifications SET context = CAST(:context AS jsonb) WHERE id = :id")
            if not world.settings.database_url:
                change = text("UPDATE notifications SET context = :context WHERE id = :id")
            connection.execute(change, {"context": context, "id": bad})
        assert len(world.send(dry_run=True).document["rows"]) == 2
        assert world.send().exit_code == Exit.ITEMS_FAILED
        assert world.statuses() == {good: "sent", bad: "failed"}
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        assert command("why", "notification-sender", str(bad)).exit_code == Exit.DONE

    @pytest.mark.only("sqlite")
    def test_half_a_character_costs_no_other_an_attempt(self, world: World) -> None:
        """PostgreSQL lets nobody queue it."""
        world.configure(email_channel="console")
        good = world.messages(5, channel="email")
        context = {"partner": "\ud800", "join_url": "u", "starts_at": "2026-03-02T13:00:00+00:00"}
        bad = world.message(template="session-reminder", context=context)
        done = world.send()
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"sent": 5, "failed": 1})
        assert world.failed(done) == [bad]
        assert {(world.row(each).status, world.row(each).attempts) for each in good} == {("sent", 1)}

    @pytest.mark.parametrize(
        ("channel", "fact"),
        [
            ("email", {"email": "a@b\r\nBcc: x"}),
            ("email", {"email": "two@x.example, three@x.example"}),
            ("email", {"email": "nadia at example"}),
            ("email", {"email": "=?utf-8?q?=0A?=@example.com"}),
            ("webhook", {"webhook_url": "not a url"}),
            ("webhook", {"webhook_url": "ftp://x.example/"}),
            ("webhook", {"webhook_url": "https://user:word@x.example/"}),
        ],
        ids=str,
    )
    def test_one_that_nobody_outside_need_be_asked_about_fails_in_a_dry_run_too(
        self, world: World, channel: str, fact: dict[str, str]
    ) -> None:
        world.configure(email_channel="console", webhook_channel="console")
        message = world.message(world.user(**fact), channel=channel)
        (shown,) = world.send(dry_run=True).document["rows"]
        assert (shown["outcome"], shown["after"]["status"]) == ("failed", "failed")
        assert world.send().exit_code == Exit.ITEMS_FAILED
        row = world.row(message)
        assert (row.status, row.reason) == ("failed", shown["after"]["reason"])

    def test_nonsense_of_the_recipient_does_not_stop_the_message(self, world: World) -> None:
        """An unknown time zone or language falls back, and the text says which zone it is in."""
        session = {"partner": "Ben", "join_url": "u", "starts_at": "2026-03-02T13:00:00+00:00"}
        user = world.user(locale="xx-nonsense", time_zone="Mars/Olympus")
        world.message(user, template="session-reminder", context=session)
        assert world.send().exit_code == Exit.DONE
        assert "13:00 (UTC)" in world.rows(inbox)[0].body


class TestMail:
    """How the mail server's answers become statuses, attempts and exit codes."""

    @pytest.fixture
    def server(self, world: World) -> Iterator[MailServer]:
        with MailServer() as server:
            world.configure(**mail_settings(server))
            yield server

    @pytest.mark.parametrize("stage", ["RCPT", "DATA", "CONTENT"])
    def test_4xx_to_the_message_queues_it_again(self, world: World, server: MailServer, stage: Any) -> None:
        server.script(stage, "451 4.3.0 later")
        message = world.message(channel="email")
        done = world.send()
        row = world.row(message)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"queued again": 1})
        assert (row.status, row.attempts, row.claimed_by) == ("queued", 1, None)
        assert ahead(seconds=20) < row.next_attempt_at < ahead(seconds=60)
        assert "451" in row.reason

    @pytest.mark.parametrize("stage", ["RCPT", "DATA", "CONTENT"])
    def test_5xx_to_the_message_fails_it(self, world: World, server: MailServer, stage: Any) -> None:
        server.script(stage, "550 5.1.1 no")
        message = world.message(channel="email")
        done = world.send()
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1})
        assert (world.row(message).status, world.row(message).attempts) == ("failed", 1)
        assert "550" in world.row(message).reason

    def test_the_wait_doubles_and_the_last_attempt_fails(self, world: World, server: MailServer) -> None:
        server.script("RCPT", "451 later")
        world.configure(notification_retry_for=timedelta(minutes=8))
        message = world.message(channel="email", attempts=3)
        world.send()
        assert ahead(minutes=3) < world.row(message).next_attempt_at < ahead(minutes=6)
        world.change(notifications, message, next_attempt_at=None)
        assert world.send().exit_code == Exit.ITEMS_FAILED
        assert (world.row(message).status, world.row(message).attempts) == ("failed", 5)

    @pytest.mark.parametrize(("attempts", "status"), [(52, "queued"), (53, "failed")])
    def test_it_is_tried_for_two_days_hourly_in_the_end(
        self, world: World, server: MailServer, attempts: int, status: str
    ) -> None:
        server.script("RCPT", "451 later")
        message = world.message(channel="email", attempts=attempts)
        world.send()
        assert world.row(message).status == status
        if status == "queued":
            assert ahead(minutes=45) <= world.row(message).next_attempt_at <= ahead(minutes=75)

    @pytest.mark.parametrize(
        ("stage", "reply"), [("RCPT", "451 busy"), ("CONTENT", "452 full"), ("CONTENT", DROP)], ids=str
    )
    def test_as_many_passing_failures_in_a_row_as_are_under_way_are_the_channels(
        self, world: World, server: MailServer, stage: Any, reply: Any
    ) -> None:
        server.script(stage, reply)
        ids = world.messages(40, channel="email")
        done = world.send(concurrency=4)
        # Put back is what was claimed and not begun by then, if anything was.
        assert (done.exit_code, set(done.counts) - {"put back"}) == (
            Exit.UNREACHABLE,
            {"queued again"} if reply == DROP else set(),
        )
        rows = [world.row(each) for each in ids]
        tried = [each for each in rows if each.reason]
        assert 3 <= len(tried) <= 8
        # What may have arrived counts as tried, so that it is not sent again without end.
        made = {0, 1} if reply == DROP else {0}
        assert {(each.status, each.claimed_by) for each in rows} == {("queued", None)}
        assert {each.attempts for each in rows} == made
        assert all(ahead(seconds=20) <= each.next_attempt_at < ahead(seconds=45) for each in tried)
        server.unscript()
        assert world.send(now=ahead(minutes=1)).counts == {"sent": 40}
        assert {world.row(each).attempts for each in ids} == {each + 1 for each in made}

    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_with_a_success_between_they_are_the_messages_own(
        self, world: World, server: MailServer, concurrency: int
    ) -> None:
        """Also where it comes after them, and where nothing comes after the last."""
        ids = world.messages(6, channel="email")
        for n in (0, 1, 5):
            server.script("RCPT", "451 greylisted", f"u{n}@example.com")
        done = world.send(concurrency=concurrency)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"sent": 3, "queued again": 3})
        assert [world.row(each).attempts for each in ids] == [1] * 6

    def test_what_is_to_be_held_is_held_however_many_there_are(
        self, world: World, server: MailServer
    ) -> None:
        world.configure(on_uncertain=uncertain("email=hold"))
        server.script("CONTENT", DROP)
        ids = world.messages(9, channel="email")
        assert world.send(concurrency=3).exit_code == Exit.ITEMS_FAILED
        assert {world.row(each).status for each in ids} == {"held"}

    def test_an_acknowledgement_lost_is_sent_again_under_the_same_id(
        self, world: World, server: MailServer
    ) -> None:
        server.script("CONTENT", DROP, times=1)
        message = world.message(channel="email")
        done = world.send()
        assert (done.exit_code, world.row(message).status) == (Exit.DONE, "queued")
        assert world.row(message).attempts == 1
        world.send(now=ahead(hours=1))
        assert world.row(message).status == "sent"
        ids = [each.parsed["Message-ID"] for each in server.messages]
        assert len(ids) == 2
        assert len(set(ids)) == 1

    def test_an_acknowledgement_lost_is_held_where_the_settings_say_so(
        self, world: World, server: MailServer
    ) -> None:
        world.configure(on_uncertain=uncertain("email=hold"))
        server.script("CONTENT", DROP, times=1)
        message = world.message(channel="email")
        assert world.send().exit_code == Exit.ITEMS_FAILED
        assert world.row(message).status == "held"
        world.send(now=ahead(hours=1))
        assert len(server.messages) == 1

    @pytest.mark.parametrize(
        ("stage", "reply"),
        [("MAIL", "450 not now"), ("MAIL", "550 never"), ("RCPT", "421 closing"), ("CONTENT", "421 closing")],
    )
    def test_a_failure_of_the_channel_costs_nobody_an_attempt(
        self, world: World, server: MailServer, stage: Any, reply: str
    ) -> None:
        server.script(stage, reply)
        ids = world.messages(40, channel="email")
        tray = world.message()
        done = world.send()
        assert done.exit_code == Exit.UNREACHABLE
        left = [world.row(each) for each in ids]
        assert {(each.status, each.attempts, each.claimed_by) for each in left} == {("queued", 0, None)}
        assert world.row(tray).status == "sent"
        assert world.last_run().outcome == "failed"

    def test_the_rate_limit_spaces_messages_and_stops_no_other_channel(
        self, world: World, server: MailServer
    ) -> None:
        world.configure(email_rate_limit=rate("20/s"))
        mails, trays = world.messages(6, channel="email"), world.messages(3)
        began = time.monotonic()
        assert world.send().counts == {"sent": len(mails) + len(trays)}
        at = sorted(each.at - began for each in server.messages)
        assert all(each >= place * 0.05 for place, each in enumerate(at))
        assert sorted(each.recipients[0] for each in server.messages) == [
            f"u{n}@example.com" for n in range(6)
        ]

    def test_a_slot_is_of_no_use_without_a_place(self, world: World, server: MailServer) -> None:
        """Whoever waits for a slow server sleeps, whatever the rate would allow."""
        world.configure(email_rate_limit=rate("100/s"))
        world.messages(3, channel="email")
        server.latency = 0.8
        began = time.thread_time()
        assert world.send(concurrency=2).counts == {"sent": 3}
        assert time.thread_time() - began < 0.6

    def test_what_expires_while_it_waits_for_its_slot_is_not_sent(
        self, world: World, server: MailServer
    ) -> None:
        world.configure(email_rate_limit=rate("4/s"))
        soon = world.messages(2, channel="email")
        late = world.messages(2, channel="email", expires_at=ahead(milliseconds=300))
        assert world.send().counts == {"sent": 2, "expired": 2}
        assert {world.row(each).status for each in soon} == {"sent"}
        assert {world.row(each).status for each in late} == {"expired"}
        assert len(server.messages) == 2

    def test_what_is_cancelled_while_it_waits_for_its_slot_is_not_sent(
        self, world: World, server: MailServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is claimed by then: somebody may decide about it all the same."""
        monkeypatch.setattr(effect, "FRESH", 0.0)
        world.configure(email_rate_limit=rate("2/s"))
        first, second, third = world.messages(3, channel="email")

        def cancel() -> None:
            server.wait_for(1)
            world.change(notifications, second, status="cancelled", settled_at=NOW)

        rival = threading.Thread(target=cancel)
        rival.start()
        done = world.send(concurrency=3)
        rival.join()
        assert done.exit_code == Exit.DONE
        assert [world.row(each).status for each in (first, second, third)] == ["sent", "cancelled", "sent"]
        assert len(server.messages) == 2

    def test_421_in_the_middle_leaves_the_rest_for_the_next_run(
        self, world: World, server: MailServer
    ) -> None:
        server.script("RCPT", "421 enough", recipient="u25@example.com")
        world.messages(50, channel="email")
        done = world.send(concurrency=4)
        sent = [each for each in world.rows(notifications) if each.status == "sent"]
        assert done.exit_code == Exit.UNREACHABLE
        assert 20 <= len(sent) < 50
        server.unscript()
        assert world.send(now=ahead(minutes=1)).exit_code == Exit.DONE
        assert sorted(each.recipients[0] for each in server.messages) == sorted(
            f"u{n}@example.com" for n in range(50)
        )

    def test_messages_that_are_answered_with_421_keep_no_other_back(
        self, world: World, server: MailServer
    ) -> None:
        """Whom the channel went down with lets the others go first in the runs that follow."""
        for n in range(5):
            server.script("DATA", "421 content blocked", recipient=f"u{n}@example.com")
        world.messages(20, channel="email")
        for _ in range(6):
            assert world.send(concurrency=2).exit_code in (Exit.UNREACHABLE, Exit.DONE)
        assert len(server.messages) == 15
        assert {each.attempts for each in world.rows(notifications) if each.status == "queued"} == {0}

    def test_a_server_that_is_down(self, world: World) -> None:
        world.configure(
            smtp_host="127.0.0.1", smtp_port=closed_port(), smtp_tls="none", email_from="m@x.example"
        )
        message = world.message(channel="email")
        done = world.send()
        assert done.exit_code == Exit.UNREACHABLE
        assert (world.row(message).status, world.row(message).attempts) == ("queued", 0)


def test_a_login_refused_is_the_channels_failure(world: World) -> None:
    with MailServer(login=("jobctl", "right"), tls="starttls") as server:
        world.configure(**mail_settings(server), smtp_username="jobctl", smtp_password="wrong-horse")
        message = world.message(channel="email")
        done = world.send()
    assert done.exit_code == Exit.UNREACHABLE
    assert (world.row(message).status, world.row(message).attempts) == ("queued", 0)
    assert "wrong-horse" not in done.out + done.err + str(world.everything())


def mail_settings(server: MailServer) -> dict[str, Any]:
    return {
        "smtp_host": "127.0.0.1",
        "smtp_port": server.port,
        "smtp_tls": server.tls,
        "smtp_ca_file": server.ca_file if server.tls != "none" else None,
        "email_from": "Market <market@example.com>",
    }


class TestWebhooks:
    """The same for the answers of a user's endpoint."""

    @pytest.fixture
    def server(self, world: World) -> Iterator[HookServer]:
        with HookServer() as server:
            world.configure(webhook_secret=b"x" * 32, webhook_allow_private=True)
            yield server

    def test_a_delivery(self, world: World, server: HookServer) -> None:
        user = world.user(webhook_url=f"{server.url}/hook")
        message = world.message(user, channel="webhook", template="order.paid", context={"order": 7})
        assert world.send().counts == {"sent": 1}
        (request,) = server.requests
        assert request.headers["webhook-id"].endswith(f"notification-{message}")

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_a_passing_refusal_queues_it_again(self, world: World, server: HookServer, status: int) -> None:
        server.default = Reply(status)
        message = world.message(world.user(webhook_url=server.url), channel="webhook")
        assert world.send().exit_code == Exit.DONE
        row = world.row(message)
        assert (row.status, row.attempts) == ("queued", 1)
        assert row.next_attempt_at > ahead(seconds=20)

    def test_retry_after_is_honoured(self, world: World, server: HookServer) -> None:
        server.default = Reply(429, {"Retry-After": "7200"})
        message = world.message(world.user(webhook_url=server.url), channel="webhook")
        world.send()
        assert world.row(message).next_attempt_at >= ahead(hours=2)

    @pytest.mark.parametrize("status", [302, 400, 404, 410])
    def test_a_lasting_refusal_fails_it(self, world: World, server: HookServer, status: int) -> None:
        server.default = Reply(status, {"Location": "/elsewhere"})
        message = world.message(world.user(webhook_url=server.url), channel="webhook")
        assert world.send().exit_code == Exit.ITEMS_FAILED
        assert (world.row(message).status, world.row(message).attempts) == ("failed", 1)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [401, 403])
    def test_an_endpoint_that_locks_us_out_costs_no_attempt_and_stops_no_other(
        self, world: World, server: HookServer, status: int
    ) -> None:
        server.default = Reply(status)
        with HookServer() as healthy:
            locked = world.message(world.user(webhook_url=server.url), channel="webhook")
            other = world.message(world.user(webhook_url=healthy.url), channel="webhook")
            assert world.send().exit_code == Exit.UNREACHABLE
        assert (world.row(locked).status, world.row(locked).attempts) == ("queued", 0)
        assert world.row(other).status == "sent"

    def test_a_revoked_endpoint_stops_no_other_on_its_server(self, world: World, server: HookServer) -> None:
        server.replies["/revoked"] = Reply(403)
        revoked = [
            world.message(world.user(webhook_url=f"{server.url}/revoked"), channel="webhook")
            for _ in range(9)
        ]
        others = [
            world.message(world.user(webhook_url=f"{server.url}/{n}"), channel="webhook") for n in range(20)
        ]
        assert world.send(concurrency=2).exit_code == Exit.UNREACHABLE
        assert {world.row(each).status for each in others} == {"sent"}
        assert {(world.row(each).status, world.row(each).attempts) for each in revoked} == {("queued", 0)}
        assert len(server.requests) < 20 + len(revoked), "the endpoint was called again and again"

    def test_an_endpoint_that_is_down_costs_no_attempt(self, world: World, server: HookServer) -> None:
        url = f"http://127.0.0.1:{closed_port()}/"
        message = world.message(world.user(webhook_url=url), channel="webhook")
        assert world.send().exit_code == Exit.UNREACHABLE
        assert (world.row(message).status, world.row(message).attempts) == ("queued", 0)

    def test_an_answer_lost_is_asked_again_under_the_same_id(self, world: World, server: HookServer) -> None:
        server.default = Reply(drop=True)
        message = world.message(world.user(webhook_url=server.url), channel="webhook")
        world.send()
        assert (world.row(message).status, world.row(message).attempts) == ("queued", 1)
        server.default = Reply()
        world.send(now=ahead(hours=1))
        assert world.row(message).status == "sent"
        assert len({each.headers["webhook-id"] for each in server.requests}) == 1

    def test_a_private_address_is_refused(self, world: World, server: HookServer) -> None:
        world.configure(webhook_allow_private=False)
        message = world.message(world.user(webhook_url=server.url), channel="webhook")
        assert world.send().exit_code == Exit.ITEMS_FAILED
        assert world.row(message).status == "failed"
        assert server.requests == []


class TestWhatIsNotConfigured:
    def test_on_postgresql_a_channel_without_settings_is_exit_78_and_the_message_waits(
        self, world: World
    ) -> None:
        """Nobody's join link ends in a log, marked sent, by accident; the embedded database prints it."""
        message, tray = world.message(channel="email"), world.message()
        done = world.send()
        if world.settings.database_url:
            assert done.exit_code == Exit.MISCONFIGURED
            assert world.statuses() == {message: "queued", tray: "sent"}
            assert world.row(message).attempts == 0
        else:
            assert done.exit_code == Exit.DONE
            assert world.statuses() == {message: "sent", tray: "sent"}

    @pytest.mark.parametrize("channel", ["email", "sms", "push", "webhook"])
    def test_the_console_is_taken_where_it_is_asked_for(self, world: World, channel: str) -> None:
        world.configure(**{f"{channel}_channel": "console"})
        address = "https://anna.example/anna@example.com" if channel == "webhook" else "anna@example.com"
        message = world.message(channel=channel, address=address)
        done = world.send()
        assert (done.exit_code, world.row(message).status) == (Exit.DONE, "sent")
        assert "anna@example.com" in done.err
        assert done.document["counts"] == {"sent": 1}


def test_in_a_dry_run_time_stands_still(world: World) -> None:
    """What it shows is due and good at one instant, however long it takes to show it."""
    world.configure(email_channel="console")
    world.message(channel="email", expires_at=ahead(seconds=1e-6))
    (shown,) = world.send(dry_run=True).document["rows"]
    assert shown["outcome"] == "would be sent"


MEGABYTE = 1_000_000
NAMES = {
    "a line end": "Anna\r\nBcc: x@example.com",
    "a tab": "Anna\tB",
    "an encoded word": "=?utf-8?q?Anna?=",
    "half of one": "=?a" * (MEGABYTE // 3),
    "many spaces": " " * MEGABYTE,
    "many letters": "x" * MEGABYTE,
    "a link": "https://evil.example",
    "escapes": "\x1b[2J" * 1000,
    "another direction": "\u202eanna\u202c",
    "nothing": "",
}


def test_what_an_outage_put_back_says_why_until_it_is_sent(world: World) -> None:
    with MailServer() as server:
        world.configure(**mail_settings(server))
        message = world.message(channel="email")
        server.script("MAIL", "421 4.3.2 closing for maintenance", times=1)
        assert world.send().exit_code == Exit.UNREACHABLE
        row = world.row(message)
        assert (row.status, row.attempts, "closing for maintenance" in row.reason) == ("queued", 0, True)
        assert world.send(now=ahead(minutes=1)).counts == {"sent": 1}
    assert world.row(message).reason is None


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_an_ornament(world: World, name: str) -> None:
    """Its owner gets the message, whatever they call themselves, and so does everybody else."""
    for each in (NAMES[name], "Bea"):
        world.message(world.user(name=each, email="a@example.com"), channel="email")
    with MailServer() as server:
        world.configure(**mail_settings(server))
        assert world.send().counts == {"sent": 2}
    for got in server.messages:
        (to,) = got.parsed["To"].addresses
        assert to.addr_spec == "a@example.com"
        assert len(to.display_name) <= 100
        assert to.display_name.isprintable()
        assert got.parsed["Bcc"] is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("locale", "en/"),
        ("locale", "../en"),
        ("locale", "e" * MEGABYTE),
        ("time_zone", "../../etc/passwd"),
        ("time_zone", "z" * MEGABYTE),
    ],
    ids=lambda each: each[:20],
)
def test_what_is_no_language_and_no_zone_falls_back(world: World, column: str, value: str) -> None:
    message = world.message(world.user(**{column: value}))
    assert world.send().counts == {"sent": 1}
    assert world.row(message).status == "sent"
