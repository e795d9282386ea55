"""The embedded database that DATABASE_URL names."""

from pathlib import Path

import pytest

from jobctl.errors import Exit
from tests.world import command


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBCTL_EMBEDDED", "never")  # which is about a URL that is missing


@pytest.mark.parametrize("slashes", ["///", "////"])
def test_it_is_made_and_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slashes: str) -> None:
    file = tmp_path / "market place.db"
    monkeypatch.setenv("DATABASE_URL", f"sqlite:{slashes}{file}")
    monkeypatch.setenv("JOBCTL_HOME", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    assert command("jobs").exit_code == Exit.MISCONFIGURED
    assert command("db", "upgrade").exit_code == Exit.DONE
    assert file.is_file()
    assert command("notification-sender").exit_code == Exit.DONE
    assert command("db", "check").exit_code == Exit.DONE
    shown = {each["setting"]: each["value"] for each in command("config", "--json").document}
    assert shown["DATABASE_URL"] == f"sqlite:///{file}"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "url", ["sqlite:", "sqlite://", "sqlite:///here.db", "sqlite:///:memory:", "sqlite:////x.db?mode=ro"]
)
def test_another_form_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    done = command("jobs")
    assert (done.exit_code, "sqlite:////var/lib/jobctl.db" in done.err) == (Exit.MISCONFIGURED, True)


def test_a_folder_that_there_is_not_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none/x.db")
    for arguments in (("jobs",), ("db", "upgrade")):
        done = command(*arguments)
        assert (done.exit_code, f"{tmp_path}/none is no folder" in done.err) == (Exit.MISCONFIGURED, True)


def test_a_schema_is_postgresqls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/x.db")
    monkeypatch.setenv("DATABASE_SCHEMA", "jobctl")
    done = command("jobs")
    assert (done.exit_code, "DATABASE_SCHEMA" in done.err) == (Exit.MISCONFIGURED, True)
