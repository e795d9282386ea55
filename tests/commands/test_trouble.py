"""What is down is seen: on the row, in `jobctl jobs`, and by `jobctl health`, until it is up again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.tables.frame import circuits, idle_runs
from jobctl.tables.marketplace import wallet_transactions
from jobctl.tables.notifications import notifications
from tests.bazaar import Bazaar
from tests.jobs.notifications.test_notification_sender import mail_settings
from tests.servers import DROP, HookServer, MailServer, Reply
from tests.world import NOW, World, ahead, command

SENDER, CLEANUP = "notification-sender", "payment-cleanup"


@pytest.fixture
def server(world: World) -> Iterator[MailServer]:
    with MailServer() as server:
        world.configure(**mail_settings(server))
        yield server


def success_of(world: World, job: str = SENDER) -> datetime | None:
    found: list[datetime | None] = [each.last_success_at for each in world.rows(idle_runs) if each.job == job]
    return found[0] if found else None


class TestCircuits:
    def test_one_is_open_from_the_run_that_finds_it_down_to_the_one_that_finds_it_up(
        self, world: World, server: MailServer
    ) -> None:
        server.script("MAIL", "451 no space")
        message = world.message(channel="email")
        assert world.send().exit_code == Exit.UNREACHABLE
        (circuit,) = world.rows(circuits)
        assert (circuit.job, circuit.scope, circuit.exit_code) == (SENDER, "email", 69)
        assert (circuit.opened_at, circuit.run_id) == (NOW, world.last_run().id)
        assert circuit.reason == world.row(message).reason
        assert world.send(now=ahead(minutes=1)).exit_code == Exit.UNREACHABLE
        (again,) = world.rows(circuits)
        assert (again.opened_at, again.run_id, again.seen_at) == (NOW, circuit.run_id, ahead(minutes=1))
        server.unscript()
        assert world.send(now=ahead(minutes=2)).exit_code == Exit.DONE
        assert world.rows(circuits) == []
        assert success_of(world) == ahead(minutes=2)

    def test_a_run_with_nothing_due_meanwhile_is_no_success(self, world: World, server: MailServer) -> None:
        server.script("MAIL", "451 no space")
        world.message(channel="email")
        world.send()
        done = world.send(now=ahead(seconds=10))
        assert (done.exit_code, done.counts, success_of(world)) == (Exit.DONE, {}, None)
        assert len(world.rows(circuits)) == 1

    def test_nor_is_one_whose_other_channels_are_up(self, world: World, server: MailServer) -> None:
        server.script("MAIL", "451 no space")
        world.message(channel="email")
        world.send()
        world.message()
        assert world.send(now=ahead(seconds=10)).counts == {"sent": 1}
        assert success_of(world) is None

    def test_where_nothing_waits_for_it_any_more_it_is_closed(self, world: World, server: MailServer) -> None:
        server.script("MAIL", "451 no space")
        message = world.message(channel="email")
        world.send()
        world.change(notifications, message, status="cancelled")
        world.send(now=ahead(seconds=10))
        assert (world.rows(circuits), success_of(world)) == ([], ahead(seconds=10))

    def test_a_dry_run_changes_none(self, world: World, server: MailServer) -> None:
        server.script("MAIL", "451 no space")
        world.message(channel="email")
        world.send()
        before = world.everything()
        world.send(dry_run=True)
        assert world.everything() == before

    def test_one_of_a_provider_closes_once_it_answers(self, bazaar: Bazaar) -> None:
        payment = bazaar.transaction(bazaar.request())
        bazaar.at_paystack(payment, "abandoned")
        bazaar.sandbox.fault("http_503", "retrieve", times=9)
        assert bazaar.run(CLEANUP).exit_code == Exit.UNREACHABLE
        (circuit,) = bazaar.world.rows(circuits)
        assert (circuit.job, circuit.scope) == (CLEANUP, "paystack")
        bazaar.sandbox.clear_faults()
        bazaar.world.change(wallet_transactions, payment, next_look_at=None)
        bazaar.pass_time(hours=1)
        bazaar.run(CLEANUP)
        assert bazaar.world.rows(circuits) == []

    def test_what_cannot_run_is_one_too_until_it_can(self, bazaar: Bazaar) -> None:
        bazaar.transaction(bazaar.request())
        bazaar.world.configure(paystack_secret_key=None)
        assert bazaar.run(CLEANUP).exit_code == Exit.MISCONFIGURED
        (circuit,) = bazaar.world.rows(circuits)
        assert (circuit.job, circuit.exit_code) == (CLEANUP, 78)
        assert "PAYSTACK_SECRET_KEY" in circuit.reason


OUTAGES: dict[str, tuple[Any, Any, int, int]] = {  # what the server does, for how many minutes, run how often
    "down": ("CONNECT", "421 closed", 60, 1),
    "451 to all": ("RCPT", "451 4.3.0 later", 360, 5),
    "dropped in DATA": ("CONTENT", DROP, 60, 1),
}


class TestOutages:
    """Hours of a mail server's trouble, with runs at their usual times and new messages coming in."""

    @pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
    def test_nobody_loses_a_message_and_no_run_is_a_success(
        self, world: World, server: MailServer, outage: tuple[Any, Any, int, int]
    ) -> None:
        stage, reply, lasts, every = outage
        world.send(now=NOW)
        server.script(stage, reply)
        ids = list[int]()
        for minute in range(1, lasts, every):
            ids += world.messages(2, channel="email", queued_at=ahead(minutes=minute))
            world.send(now=ahead(minutes=minute))
        assert {each.status for each in world.rows(notifications)} == {"queued"}
        assert max(each.attempts for each in world.rows(notifications)) <= (9 if reply == DROP else 2)
        assert success_of(world) == NOW
        assert [each.scope for each in world.rows(circuits)] == ["email"]
        repeats = len(server.messages)
        assert repeats <= sum(each.attempts for each in world.rows(notifications))
        server.unscript()
        for minute in range(lasts, lasts + 90, 5):
            world.send(now=ahead(minutes=minute))
        assert {world.row(each).status for each in ids} == {"sent"}
        assert len(server.messages) - repeats == len(ids)
        assert repeats == 0 or reply == DROP
        assert success_of(world) == ahead(minutes=lasts + 85)


@pytest.mark.usefixtures("environment")
class TestWrongSettings:
    """A run that could not begin leaves a trace; one that can later takes it away."""

    def test_it_is_told_until_it_can_run(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SMTP_TIMEOUT", "never")
        assert command(SENDER, "--dry-run").exit_code == Exit.MISCONFIGURED
        assert world.rows(circuits) == []
        assert command(SENDER).exit_code == Exit.MISCONFIGURED
        (circuit,) = world.rows(circuits)
        assert (circuit.job, circuit.exit_code, "SMTP_TIMEOUT" in circuit.reason) == (SENDER, 78, True)
        monkeypatch.delenv("SMTP_TIMEOUT")
        assert command(SENDER).exit_code == Exit.DONE
        assert world.rows(circuits) == []

    def test_where_the_database_cannot_be_told_nothing_is_written(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "mysql://nowhere")
        assert command(SENDER).exit_code == Exit.MISCONFIGURED
        assert world.rows(circuits) == []


class TestRetryAfter:
    @pytest.fixture
    def server(self, world: World) -> Iterator[HookServer]:
        with HookServer() as server:
            world.configure(webhook_secret=b"x" * 32, webhook_allow_private=True)
            yield server

    def test_it_holds_for_the_endpoint_and_for_no_other(self, world: World, server: HookServer) -> None:
        server.default = Reply(429, {"Retry-After": "7200"})
        first = world.message(world.user(webhook_url=f"{server.url}/a"), channel="webhook")
        assert world.send().exit_code == Exit.UNREACHABLE
        assert (world.row(first).attempts, world.row(first).next_attempt_at >= ahead(hours=2)) == (0, True)
        server.default = Reply(200)
        second = world.message(world.user(webhook_url=f"{server.url}/a"), channel="webhook")
        other = world.message(world.user(webhook_url=f"{server.url}/b"), channel="webhook")
        shown = world.send(now=ahead(hours=1), dry_run=True).document["rows"]
        assert {each["row_id"]: each["outcome"] for each in shown} == {
            second: "put back",
            other: "would be sent",
        }
        assert world.send(now=ahead(hours=1)).counts == {"sent": 1, "put back": 1}
        assert [each.path for each in server.requests] == ["/a", "/b"]
        assert (world.row(other).status, world.row(second).attempts) == ("sent", 0)
        assert world.row(second).next_attempt_at >= ahead(hours=2)
        assert world.send(now=ahead(hours=2, minutes=1)).counts == {"sent": 2}
        assert world.rows(circuits) == []


@pytest.mark.usefixtures("environment")
class TestWhatIsSaid:
    def present(self, **span: float) -> datetime:
        return datetime.now(UTC) + timedelta(**span)

    def outage(self, world: World, server: MailServer, **since: float) -> None:
        server.script("MAIL", "451 no space")
        world.message(channel="email", queued_at=self.present(**since))
        world.send(now=self.present(**since))

    def job(self, name: str = SENDER) -> Any:
        return next(each for each in command("jobs", "--json").document if each["job"] == name)

    def health(self, name: str = SENDER) -> Any:
        return next(each for each in command("health", "--json").document["checks"] if each["job"] == name)

    def test_jobs_tells_what_is_down_and_what_was_put_off(self, world: World, server: MailServer) -> None:
        world.send(now=self.present(hours=-3))
        self.outage(world, server, seconds=-5)
        world.message(queued_at=self.present(hours=-1))
        found = self.job()
        assert (found["waiting"], found["put_off"]) == (1, 1)
        (down,) = found["down"]
        assert (down["scope"], down["exit_code"]) == ("email", 69)
        assert datetime.fromisoformat(found["oldest"]) < self.present(minutes=-59)
        assert "email is down since" in command("jobs").out

    def test_health_is_ill_of_an_outage_within_its_limit(self, world: World, server: MailServer) -> None:
        world.send(now=self.present(minutes=-30))
        self.outage(world, server, minutes=-29)
        for minutes in (-28.9, -20, -1):  # whether or not anything is due then
            world.send(now=self.present(minutes=minutes))
        found = self.health()
        assert (found["healthy"], len(found["down"])) == (False, 1)
        server.unscript()
        world.send(now=self.present(minutes=1))
        assert self.health()["healthy"] is True

    def test_nor_before_that(self, world: World, server: MailServer) -> None:
        world.send(now=self.present(minutes=-10))
        self.outage(world, server, minutes=-9)
        assert self.health()["healthy"] is True

    def test_rows_that_are_due_for_too_long_are_a_fault(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.send(now=self.present())
        world.message(queued_at=self.present(minutes=-10))
        assert self.health()["healthy"] is True
        monkeypatch.setenv("HEALTH_WAITING", f"{SENDER}=5m")
        assert self.health()["healthy"] is False
        monkeypatch.setenv("HEALTH_WAITING", f"{SENDER}=1h")
        world.message(queued_at=self.present(minutes=-30))
        assert self.health()["healthy"] is True
        monkeypatch.delenv("HEALTH_WAITING")
        assert self.health()["healthy"] is False

    def test_a_success_in_the_future_is_a_fault(self, world: World) -> None:
        world.send(now=self.present(hours=2))
        assert self.health()["healthy"] is False
