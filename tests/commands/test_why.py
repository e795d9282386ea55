"""`jobctl why`: a world in which a message is due, then one changed fact, and which condition it breaks."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from jobctl.errors import Exit
from jobctl.locks import Locks
from jobctl.tables.findings import findings
from jobctl.tables.frame import runs
from jobctl.tables.notifications import notifications
from tests.payments import AUTHORIZER, Market
from tests.servers import MailServer
from tests.world import Done, World, command

pytestmark = pytest.mark.usefixtures("environment")
SENDER = "notification-sender"
STATUS, TIME = "it is queued", "its time to be sent has come"
TOMORROW = timedelta(days=1)  # from when the test runs
PERSONAL = {
    "name": "Wilhelmina",
    "email": "w.horse@example.com",
    "phone": "+4366012345678",
    "webhook_url": "https://hooks.example/w-horse",
}


def present(**span: float) -> datetime:
    """Return an instant by the real clock, which is the one that the command line goes by."""
    return datetime.now(UTC) + timedelta(**span)


def queued(world: World, **values: Any) -> int:
    return world.message(**{"queued_at": present(minutes=-1), **values})


def explained(row: int, job: str = SENDER) -> Any:
    done = command("why", job, str(row), "--json")
    assert (done.exit_code, done.err) == (Exit.DONE, "")
    (explanation,) = done.document
    return explanation


def failing(explanation: Any) -> list[str]:
    return [each["condition"] for each in explanation["conditions"] if not each["holds"]]


def instant(written: str) -> datetime:
    return datetime.fromisoformat(written)


def run_of(world: World, **values: Any) -> int:
    """Record a run that has not ended; it lives as long as somebody holds its lock."""
    defaults = {
        "job": SENDER,
        "started_at": present(minutes=-1),
        "outcome": "running",
        "counts": {},
        "options": {},
        "host": "worker-1",
        "pid": 4711,
        "version": "0",
    }
    return world.add(runs, defaults | values)


def test_a_due_message(world: World) -> None:
    explanation = explained(queued(world))
    assert explanation["due"] is True
    assert [each["condition"] for each in explanation["conditions"]] == [STATUS, TIME]
    assert failing(explanation) == []
    assert (explanation["due_at"], explanation["claim"]) == (None, None)


def test_the_conditions_come_with_the_rows_values(world: World) -> None:
    at = present(minutes=-3)
    values = {
        each["condition"]: {name.rpartition(".")[2]: value for name, value in each["values"].items()}
        for each in explained(queued(world, queued_at=at))["conditions"]
    }
    assert values[STATUS] == {"status": "queued"}
    assert instant(values[TIME]["due_at"]) == at


@pytest.mark.parametrize(
    ("fact", "condition"),
    [
        *(
            ({"status": each}, STATUS)
            for each in ("sent", "failed", "held", "expired", "skipped", "cancelled")
        ),
        ({"send_after": TOMORROW}, TIME),
        ({"next_attempt_at": TOMORROW}, TIME),
        ({"queued_at": TOMORROW}, TIME),
    ],
    ids=str,
)
def test_one_changed_fact_breaks_one_condition(world: World, fact: dict[str, Any], condition: str) -> None:
    values = {name: present() + value if value is TOMORROW else value for name, value in fact.items()}
    explanation = explained(queued(world, **values))
    assert explanation["due"] is False
    assert failing(explanation) == [condition]


def test_several_conditions_are_told_of_at_once(world: World) -> None:
    message = queued(world, status="failed", send_after=present(days=1))
    assert failing(explained(message)) == [STATUS, TIME]


def test_the_settings_are_those_that_a_run_would_have(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = present(days=-10)
    run = str(run_of(world, started_at=old, ended_at=old, outcome="done"))
    for retention, due in (("20d", False), ("5d", True)):
        monkeypatch.setenv("RUN_RETENTION", retention)
        found = command("why", "history-prune", run, "--json").document
        assert [each["due"] for each in found if each["table"] == "runs"] == [due]


def test_what_the_terminal_shows_is_the_same(world: World) -> None:
    done = command("why", SENDER, str(queued(world, status="failed")))
    marks = [line.strip().partition(" ")[0] for line in done.out.splitlines() if line.startswith("  ")]
    assert (done.exit_code, marks) == (Exit.DONE, ["✗", "✓", "✓"])


class TestWhenItWillBeDue:
    """Where only time is missing, the instant at which it will have come."""

    @pytest.mark.parametrize("column", ["send_after", "next_attempt_at", "queued_at"])
    @pytest.mark.parametrize("span", [{"minutes": 5}, {"hours": 30}, {"days": 400}], ids=str)
    def test_it_is_right_to_the_second(self, world: World, column: str, span: dict[str, float]) -> None:
        at = present(**span)
        due_at = instant(explained(queued(world, **{column: at}))["due_at"])
        assert timedelta(0) <= due_at - at < timedelta(seconds=1)

    def test_the_later_of_two_counts(self, world: World) -> None:
        early, late = present(hours=1), present(hours=2)
        due_at = instant(explained(queued(world, send_after=early, next_attempt_at=late))["due_at"])
        assert timedelta(0) <= due_at - late < timedelta(seconds=1)

    @pytest.mark.parametrize("fact", [{"status": "sent"}, {"status": "failed"}], ids=str)
    def test_there_is_none_where_time_does_not_help(self, world: World, fact: dict[str, Any]) -> None:
        assert explained(queued(world, send_after=present(hours=1), **fact))["due_at"] is None

    def test_a_dry_run_at_that_instant_has_it_and_one_before_does_not(self, world: World) -> None:
        message = queued(world, send_after=present(hours=1))
        due_at = instant(explained(message)["due_at"])
        for at, rows in ((due_at, [message]), (due_at - timedelta(seconds=1), [])):
            done = command(SENDER, "--dry-run", "--as-of", at.isoformat(), "--json")
            assert [each["row_id"] for each in done.document["rows"]] == rows


class TestClaims:
    """What a run at work has claimed is nobody else's; what a dead one had, the next run takes."""

    def test_a_run_at_work_has_it(self, world: World, locks: Locks) -> None:
        run = run_of(world)
        locks.hold_run(run)
        explanation = explained(queued(world, claimed_by=run))
        assert (explanation["due"], failing(explanation)) == (False, [])
        assert explanation["claim"]["run"] == run
        assert explanation["claim"]["alive"]

    def test_a_dead_run_had_it(self, world: World) -> None:
        run = run_of(world)
        message = queued(world, claimed_by=run)
        explanation = explained(message)
        assert (explanation["due"], failing(explanation)) == (True, [])
        assert explanation["claim"]["run"] == run
        assert not explanation["claim"]["alive"]
        told = command("why", SENDER, str(message)).out
        assert f"✓ nobody has it claimed: run {run} (worker-1, process 4711) had it and is dead" in told
        assert command(SENDER, "--json").counts["sent"] == 1

    def test_the_lock_tells_and_not_the_record(self, world: World, locks: Locks) -> None:
        """Another run's lock keeps no run alive."""
        dead, alive = run_of(world), run_of(world)
        locks.hold_run(alive)
        assert not explained(queued(world, claimed_by=dead))["claim"]["alive"]

    def test_a_run_whose_record_is_gone_is_dead(self, world: World) -> None:
        assert not explained(queued(world, claimed_by=4711))["claim"]["alive"]

    def test_a_real_run_while_it_sends_and_after_it_was_killed(self, world: World) -> None:
        message = queued(world, channel="email")
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
            alive = explained(message)
            process.kill()
            process.communicate()
            dead = explained(message)
        assert (alive["due"], alive["claim"]["alive"]) == (False, True)
        assert alive["claim"]["pid"] == process.pid
        assert (dead["due"], dead["claim"]["alive"]) == (True, False)


class TestSql:
    """`--sql` prints the very SELECT; whoever runs it gets the rows that a run would take."""

    def ids(self, world: World, job: str = SENDER) -> list[set[int]]:
        done = command("why", job, "1", "--sql")
        assert (done.exit_code, done.err) == (Exit.DONE, "")
        statements = [each for each in done.out.split(";") if each.strip()]
        assert all(each.split()[0] == "SELECT" for each in statements)
        with world.engine.connect() as connection:
            return [set(connection.scalars(text(each.replace(":", r"\:")))) for each in statements]

    def test_it_finds_the_due_rows_and_no_others(self, world: World) -> None:
        due = {
            queued(world),
            queued(world, attempts=40),
            queued(world, send_after=present(seconds=-1)),
            queued(world, next_attempt_at=present(seconds=-1)),
        }
        run = run_of(world)
        queued(world, status="sent")
        queued(world, send_after=present(hours=1))
        queued(world, next_attempt_at=present(hours=1))
        queued(world, claimed_by=run)
        assert self.ids(world) == [due]
        shown = command(SENDER, "--dry-run", "--json").document["rows"]
        assert {each["row_id"] for each in shown if each["outcome"] == "sent"} >= due

    def test_a_job_of_several_steps_has_one_for_each(self, world: World) -> None:
        old = present(days=-1000)
        done = {"ended_at": old, "started_at": old, "outcome": "done"}
        run = run_of(world, **done)
        run_of(world)
        erasable = queued(world, status="sent", settled_at=old)
        queued(world)
        assert self.ids(world, "history-prune") == [{run}, set(), set(), set(), {erasable}]

    def test_it_reads_only(self, world: World) -> None:
        queued(world)
        before = world.everything()
        self.ids(world)
        assert world.everything() == before


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            (SENDER, "4711"),
            (SENDER, "4711", "--json"),
            (SENDER, "0"),
            (SENDER, "-1"),
            (SENDER, "seven"),
            (SENDER, "99999999999999999999"),
            (SENDER,),
            ("no-such-job", "1"),
            ("jobs", "1"),
            ("history-prune", "4711"),
        ],
        ids=" ".join,
    )
    def test_a_job_or_row_that_is_not_there(self, world: World, arguments: tuple[str, ...]) -> None:
        queued(world)
        done = command("why", *arguments)
        assert (done.exit_code, done.out) == (Exit.USAGE, "")
        assert done.err

    def test_nothing_is_written(self, world: World) -> None:
        message = queued(world)
        before = world.everything()
        explained(message)
        command("why", SENDER, str(message))
        assert world.everything() == before


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("550 <a@example.com> is unknown", "550 <address> is unknown"),
        ("no route to +4917012345 or 017012345678.", "no route to <address> or <address>."),
        ("see req_80a194055b7053", "see req_80a194055b7053"),
        ("1234567.00 USD of pi-1234567890", "1234567.00 USD of pi-1234567890"),
        ("order 123456", "order 123456"),
    ],
)
def test_addresses_are_left_out_of_reasons_and_nothing_else(world: World, reason: str, told: str) -> None:
    message = queued(world, user_id=world.user(created_at=present(days=-1)))
    world.change(notifications, message, reason=reason)
    assert explained(message)["row"]["reason"] == told


@pytest.mark.parametrize("days", [3, 7.5, 40, 100])
def test_an_order_will_be_due_though_not_for_ever(market: Market, days: float) -> None:
    """It is until its session is over."""
    starts_at = present(days=days)
    session = market.session(starts_at=starts_at, ends_at=starts_at + timedelta(hours=1))
    told = command("why", AUTHORIZER, str(market.order(session)), "--json").document[-1]
    due_at = datetime.fromisoformat(told["due_at"])
    assert abs(due_at - (starts_at - timedelta(hours=48))) < timedelta(seconds=1)


def test_what_it_waits_for_is_named(world: World, market: Market) -> None:
    order = market.order()
    market.sandbox.fault("other_amount", "authorize")
    market.run(AUTHORIZER)
    (found,) = world.rows(findings)
    for each in command("why", AUTHORIZER, str(order), "--json").document:
        (waits_for,) = each["findings"]
        assert (waits_for["id"], waits_for["kind"]) == (found.id, found.kind)
    assert f"jobctl findings show {found.id}" in command("why", AUTHORIZER, str(order)).out


def test_nothing_personal_is_told(world: World) -> None:
    """Neither the recipient's name and addresses nor what the message says; the reason without them."""
    user = world.user(**PERSONAL, created_at=present(days=-1))
    context = {"partner": "Bartholomew"}
    message = queued(world, user_id=user, channel="email", address="another@example.com", context=context)
    world.change(
        notifications, message, reason="550 w.horse@example.com", provider_message_id="<id@example.com>"
    )
    told = ""
    for options in ((), ("--json",), ("--sql",)):
        done: Done = command("why", SENDER, str(message), *options)
        assert done.exit_code == Exit.DONE
        told += done.out + done.err
    for secret in (*PERSONAL.values(), "another@example.com", "Bartholomew", "id@example.com"):
        assert secret not in told
    row = json.loads(command("why", SENDER, str(message), "--json").out)[0]["row"]
    assert (row["user_id"], row["reason"]) == (user, "550 <address>")
