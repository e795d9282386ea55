"""`jobctl config`: what it shows of good settings; tests/test_settings.py has where they come from."""

from pathlib import Path
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.settings import declared, load, variable
from tests.servers import closed_port
from tests.world import command

pytestmark = pytest.mark.usefixtures("home")
ROUND_TRIPS = {
    "STOP_GRACE": "20s",
    "SMTP_TIMEOUT": "1m",
    "WEBHOOK_TIMEOUT": "500ms",
    "NOTIFICATION_RETRY_DELAY": "90s",
    "RUN_RETENTION": "36h",
    "AUDIT_RETENTION": "2y",
    "NOTIFICATION_MAX_ATTEMPTS": "8",
    "EMAIL_RATE_LIMIT": "600/m",
    "ON_UNCERTAIN": "email=hold,sms=resend",
    "WEBHOOK_ALLOW_PRIVATE": "YES",
    "SMTP_HOST": "smtp.example.com",
    "EMAIL_FROM": "Market <m@example.com>",
    "DEFAULT_LOCALE": "de",
    "LOG_FORMAT": "json",
    "NOTIFICATION_CHANNELS": "tray, email,tray",
    "SESSION_REMINDER_LEADS": "25h,15m, 90s",
}


def shown() -> dict[str, Any]:
    done = command("config", "--json")
    assert (done.exit_code, done.err) == (Exit.DONE, "")
    return {each["setting"]: each for each in done.document}


def test_every_setting_is_shown_with_its_meaning() -> None:
    assert list(shown()) == [variable(each) for each in declared()]
    assert all(each["meaning"] for each in shown().values())


def test_the_terminal_has_a_line_for_each() -> None:
    done = command("config")
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == list(shown())


def test_origins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = home / "password"
    secret.write_text("horse\n")
    (home / ".env").write_text(f"SMTP_USERNAME=jobctl\nSMTP_PASSWORD_FILE={secret}\n")
    monkeypatch.setenv("STOP_GRACE", "20s")
    origins = {name: each["origin"] for name, each in shown().items()}
    assert {name: origin for name, origin in origins.items() if origin != "default"} == {
        "JOBCTL_HOME": "environment",
        "STOP_GRACE": "environment",
        "SMTP_USERNAME": ".env",
        "SMTP_PASSWORD": str(secret),
    }


def test_what_is_shown_can_be_written_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value is shown as it is written in the environment, and read back it means the same."""
    for name, value in ROUND_TRIPS.items():
        monkeypatch.setenv(name, value)
    before = load().settings
    for name in ROUND_TRIPS:
        monkeypatch.setenv(name, shown()[name]["value"])
    assert load().settings == before


@pytest.mark.parametrize(
    ("name", "written", "read"),
    [
        ("SESSION_REMINDER_LEADS", "24h, 15m", "15m,1d"),
        ("SESSION_REMINDER_LEADS", "90s", "90s"),
        ("SESSION_REMINDER_LEADS", "", "15m"),
        ("NOTIFICATION_CHANNELS", "tray, email,tray", "tray,email"),
        ("NOTIFICATION_CHANNELS", "", "email,tray"),
    ],
)
def test_of_a_list_what_counts_is_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, written: str, read: str
) -> None:
    monkeypatch.setenv(name, written)
    assert shown()[name]["value"] == read


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://u:horse@h/db", "postgresql://u:********@h/db"),
        ("postgres://u:horse@h:5433/db?sslmode=require", "postgresql://u:********@h:5433/db?sslmode=require"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://h/db?user=u&password=horse", "postgresql://h/db?user=u&password=********"),
        ("postgresql://u:p@postgres-p/dbp", "postgresql://u:********@postgres-p/dbp"),
    ],
)
def test_of_a_url_only_the_password_is_masked(monkeypatch: pytest.MonkeyPatch, url: str, masked: str) -> None:
    """The rest says where the database is; a short password must not be guessed from what is masked."""
    monkeypatch.setenv("DATABASE_URL", url)
    assert shown()["DATABASE_URL"]["value"] == masked


def test_other_secrets_are_masked_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_USERNAME", "jobctl")
    monkeypatch.setenv("SMTP_PASSWORD", "horse://staple")
    monkeypatch.setenv("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert {shown()[name]["value"] for name in ("SMTP_PASSWORD", "WEBHOOK_SECRET")} == {"********"}


def test_an_unset_secret_is_not_masked() -> None:
    assert [shown()[name]["value"] for name in ("DATABASE_URL", "SMTP_PASSWORD", "WEBHOOK_SECRET")] == [
        None
    ] * 3


def test_it_needs_no_database_and_makes_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBCTL_EMBEDDED", "never")
    shown()
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:p@127.0.0.1:{closed_port()}/db")
    shown()
    assert list(home.iterdir()) == []
