"""`jobctl demo`: the jobs at work on a marketplace of its own, and on nobody else's."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text, update

from jobctl.errors import Exit
from jobctl.locks import FileLocks
from jobctl.settings import Settings
from jobctl.tables.checkout import checkout_session
from jobctl.tables.findings import findings
from jobctl.tables.frame import installation, runs
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import requests, wallet_transactions, wallets
from jobctl.tables.notifications import inbox, notifications
from jobctl.tables.sessions import orders, sessions
from jobctl.tables.subscriptions import payments, subscription_periods, subscriptions
from tests.credits import Office
from tests.servers import closed_port
from tests.world import World, command

OUTCOME = {
    1: "sent",
    2: "sent",
    3: "sent",
    4: "sent",
    5: "sent",
    6: "skipped",
    7: "sent",
    8: "failed",
    9: "expired",
    10: "queued",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "demo"


def statuses(folder: Path) -> dict[int, str]:
    with World(Settings(jobctl_home=folder)) as made:
        return {number: status for number, status in made.statuses().items() if number <= len(OUTCOME)}


def complaints(err: str) -> list[str]:
    """Return what was complained about, but for the provider that is down in the demo."""
    return [
        each for each in err.splitlines() if not each.startswith("jobctl: paystack is closed for this run")
    ]


def test_ten_messages_come_to_what_the_job_promises(folder: Path) -> None:
    done = command("demo", "--folder", str(folder))
    assert (done.exit_code, complaints(done.err)) == (Exit.DONE, [])
    assert statuses(folder) == OUTCOME


def test_one_session_is_paid_and_the_other_is_cancelled(folder: Path) -> None:
    """Reminder, hold, attendance, capture; a declined card, and in the end a cancellation."""
    command("demo", "--folder", str(folder))
    with World(Settings(jobctl_home=folder)) as made:
        assert [each.payment_status for each in made.rows(orders)] == ["captured", "authorization_failed"]
        assert [each.status for each in made.rows(sessions)] == ["ended", "cancelled"]
        asked = [each for each in made.rows(money_operations) if each.subject == "order"]
        assert [(each.kind, each.status) for each in asked] == [
            ("authorize", "succeeded"),
            ("authorize", "declined"),
            ("release", "succeeded"),  # the declined payment stands open at Stripe no more
            ("capture", "succeeded"),
        ]
        queued = {each.template for each in made.rows(notifications) if each.once_key}
    assert queued == {
        "session-reminder",
        "payment-card-declined",
        "session-receipt",
        "session-cancelled-unpaid",
        "subscription-renewed",
        "renewal-declined",
        "subscription-expired",
        "credits-reset",
        "credits-expiring",
        "request-paid",
        "request-declined",
    }


def test_subscriptions_are_renewed_declined_found_and_expired(folder: Path) -> None:
    """And a payment that nobody knows anything of is left to a person."""
    done = command("demo", "--folder", str(folder))
    with World(Settings(jobctl_home=folder)) as made:
        periods = [each.subscription_id for each in made.rows(subscription_periods)]
        found = [(each.status, periods.count(each.id)) for each in made.rows(subscriptions)]
        assert found == [("active", 2), ("active", 1), ("expired", 1), ("active", 1)]
        declined = [each for each in made.rows(payments) if each.status == "cancelled"]
        assert [(each.subscription_id, each.failure) for each in declined] == [(2, "insufficient_funds")]
        assert [(each.kind, each.amount_minor) for each in made.rows(findings)] == [
            ("orphan payment", 99_000)
        ]
    assert "1 payment of 500.00 RUB succeeded at the provider and was missing here.\n" in done.out


def test_escrow_comes_to_a_wallet_though_its_provider_was_down(folder: Path) -> None:
    """And a request that nobody pays is declined."""
    command("demo", "--folder", str(folder))
    with World(Settings(jobctl_home=folder)) as made:
        paid, unpaid = made.rows(requests)
        assert (paid.status, unpaid.status) == ("completed", "declined")
        moved = [(each.status, each.escrow_status) for each in made.rows(wallet_transactions)]
        assert moved == [("completed", "released"), ("failed", "void")]
        balances = {(each.user_id, each.currency): each.balance_minor for each in made.rows(wallets)}
        assert balances == {
            (1, "NGN"): 2_250_000,
            (None, "NGN"): 250_000,
            (1, "USD"): 0,
            (2, "USD"): 0,
        }
        cleanups = [each.exit_code for each in made.rows(runs) if each.job == "payment-cleanup"]
        assert cleanups == [Exit.UNREACHABLE, Exit.DONE]


def test_checkout_sessions_are_asked_about(folder: Path) -> None:
    done = command("demo", "--folder", str(folder))
    with World(Settings(jobctl_home=folder)) as made:
        statuses = {each.id: each.status for each in made.rows(checkout_session)}
    assert statuses == {"abc123": "success", "def456": "open", "ghi789": "open"}
    assert "Checkout session check complete: 2 success, 1 other, 0 errors" in done.out


def test_credits_are_reset_expire_and_are_warned_of(folder: Path) -> None:
    done = command("demo", "--folder", str(folder))
    with World(Settings(jobctl_home=folder)) as made:
        office = Office(made)
        assert [office.has(each) for each in (1, 2, 3)] == [(100, 60), (100, 0), (100, 0)]
        office.agree()
        assert [each.amount for each in office.transactions("monthly_reset", 1)] == [70]
        assert [each.context["credits"] for each in office.told("credits-expiring")] == [60]
    assert "✓ credit-expiry " in done.out


def test_what_they_leave_is_there_to_be_looked_at(folder: Path) -> None:
    """A run record, the error of the one that failed, the tray's row, and the mails as files."""
    command("demo", "--folder", str(folder))
    with World(Settings(jobctl_home=folder)) as made:
        run = made.rows(runs)[0]
        assert (run.id, run.job, run.outcome, run.exit_code) == (1, "notification-sender", "items failed", 3)
        assert run.counts == {"sent": 6, "skipped": 1, "failed": 1, "expired": 1}
        assert [each.row_id for each in made.errors() if each.run_id == run.id] == [8]
        assert [each.notification_id for each in made.rows(inbox)] == [5]
    mails = list((folder / "outbox").glob("*.eml"))
    assert len(mails) == 5


def test_what_it_suggests_next_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command("demo", "--folder", str(folder))
    monkeypatch.setenv("JOBCTL_HOME", str(folder))
    assert command("why", "notification-sender", "10").exit_code == Exit.DONE
    assert command("runs", "show", "1").exit_code == Exit.DONE
    assert command("why", "session-payment-processor", "2").exit_code == Exit.DONE
    assert command("why", "autopayments", "2").exit_code == Exit.DONE
    assert command("findings", "show", "1").exit_code == Exit.DONE
    assert [each["id"] for each in command("notifications", "list", "--failed", "--json").document] == [8]


def test_its_folder_is_in_the_one_that_it_is_called_in(tmp_path: Path) -> None:
    assert command("demo").exit_code == Exit.DONE
    assert statuses(tmp_path / "jobctl-demo") == OUTCOME


def test_it_can_be_run_again(folder: Path) -> None:
    """And begins anew: the same ten messages, none of the first time."""
    for _ in range(2):
        assert command("demo", "--folder", str(folder)).exit_code == Exit.DONE
        assert statuses(folder) == OUTCOME
    assert len(list((folder / "outbox").glob("*.eml"))) == 5


def test_it_can_be_run_again_after_someone_retried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command("demo", "--folder", str(folder))
    monkeypatch.setenv("JOBCTL_HOME", str(folder))
    assert command("notifications", "retry", "8").exit_code == Exit.DONE
    monkeypatch.delenv("JOBCTL_HOME")
    assert command("demo", "--folder", str(folder)).exit_code == Exit.DONE
    assert statuses(folder) == OUTCOME


@pytest.mark.parametrize("left", ["outdated", "empty", "without tables"])
def test_it_makes_its_database_anew_whatever_became_of_it(folder: Path, left: str) -> None:
    """By an older jobctl, or by a demo that was killed."""
    command("demo", "--folder", str(folder))
    with World(Settings(jobctl_home=folder)) as made, made.engine.begin() as connection:
        connection.execute(text("UPDATE jobctl_version SET version_num = '0001'"))
    if left != "outdated":
        (folder / "jobctl.db").write_bytes(b"")
    if left == "without tables":
        with closing(sqlite3.connect(folder / "jobctl.db")) as connection:
            connection.execute("PRAGMA user_version = 7")
    assert command("demo", "--folder", str(folder)).exit_code == Exit.DONE
    assert statuses(folder) == OUTCOME


def test_a_second_one_at_once_leaves_the_first_alone(folder: Path) -> None:
    command("demo", "--folder", str(folder))
    before = (folder / "jobctl.db").stat()
    with FileLocks(folder / "jobctl.db") as first:
        assert first.take("demo", share=False)
        done = command("demo", "--folder", str(folder))
    assert (done.exit_code, done.out) == (Exit.LOCK_HELD, "")
    assert len(done.err.splitlines()) == 1
    assert (folder / "jobctl.db").stat().st_ino == before.st_ino


def test_messages_that_could_not_be_written_are_shown_as_queued(folder: Path) -> None:
    folder.mkdir()
    (folder / "outbox").write_text("a file where the folder of messages should be")
    done = command("demo", "--folder", str(folder))
    assert done.exit_code == Exit.MISCONFIGURED
    assert "one message needs someone" not in done.out
    assert statuses(folder) == OUTCOME | dict.fromkeys((1, 2, 3, 4, 7), "queued")


class TestOthersDatabases:
    """What is there and is no demo's stays as it is."""

    def refused(self, folder: Path) -> None:
        before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        assert command("demo", "--folder", str(folder)).exit_code == Exit.MISCONFIGURED
        assert {path: path.read_bytes() for path in folder.iterdir() if path in before} == before

    def test_a_real_one(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        monkeypatch.setenv("JOBCTL_HOME", str(folder))
        assert command("db", "upgrade").exit_code == Exit.DONE
        monkeypatch.delenv("JOBCTL_HOME")
        self.refused(folder)

    def test_a_demos_that_became_somebodys(self, folder: Path) -> None:
        command("demo", "--folder", str(folder))
        with World(Settings(jobctl_home=folder)) as made, made.engine.begin() as connection:
            connection.execute(update(installation).values(id="realreal"))
        self.refused(folder)

    def test_one_of_another_program(self, folder: Path) -> None:
        folder.mkdir()
        with closing(sqlite3.connect(folder / "jobctl.db")) as connection:
            connection.execute("CREATE TABLE theirs (id INTEGER)")
        self.refused(folder)

    def test_what_is_no_database(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "jobctl.db").write_text(
            "a letter to my aunt, rather longer than a database's header is " * 9
        )
        self.refused(folder)

    def test_a_file_where_the_folder_should_be(self, folder: Path) -> None:
        folder.touch()
        assert command("demo", "--folder", str(folder)).exit_code in (Exit.USAGE, Exit.MISCONFIGURED)
        assert folder.read_bytes() == b""

    def test_other_files_in_the_demos_folder(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "outbox").mkdir()
        mine = (
            "notes.txt",
            "outbox/letter.eml",
            "outbox/demodemo.notification-1.eml.bak",
            "outbox/notes.txt",
        )
        for name in mine:
            (folder / name).write_text("mine")
        for _ in range(2):
            assert command("demo", "--folder", str(folder)).exit_code == Exit.DONE
        assert {(folder / name).read_text() for name in mine} == {"mine"}


class TestSettings:
    """The demo reads none: whatever is configured, nothing leaves the machine."""

    def test_database_url_is_left_alone(
        self, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.message()
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        before = world.everything()
        assert command("demo", "--folder", str(folder)).exit_code == Exit.DONE
        assert world.everything() == before
        assert statuses(folder) == OUTCOME

    def test_the_environment_is_not_read(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        given = {
            "DATABASE_URL": f"postgresql://u:p@127.0.0.1:{closed_port()}/db",
            "JOBCTL_EMBEDDED": "never",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(closed_port()),
            "EMAIL_CHANNEL": "smtp",
            "STOP_GRACE": "nonsense",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        assert command("demo", "--folder", str(folder)).exit_code == Exit.DONE
        assert statuses(folder) == OUTCOME

    def test_in_the_image_it_says_what_it_needs(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JOBCTL_EMBEDDED", "never")
        done = command("demo", "--folder", str(folder))
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert "JOBCTL_EMBEDDED=auto" in done.err
        assert not folder.exists()

    def test_an_env_file_is_not_read(self, tmp_path: Path, folder: Path) -> None:
        folder.mkdir()
        for each in (tmp_path, folder):
            (each / ".env").write_text("EMAIL_CHANNEL=smtp\nSTOP_GRACE=nonsense\na broken line\n")
        assert command("demo", "--folder", str(folder)).exit_code == Exit.DONE
        assert statuses(folder) == OUTCOME


def test_a_real_process(tmp_path: Path, folder: Path) -> None:
    done = World(Settings(jobctl_home=tmp_path)).call("demo", "--folder", str(folder))
    assert (done.exit_code, complaints(done.err)) == (Exit.DONE, [])
    assert statuses(folder) == OUTCOME
