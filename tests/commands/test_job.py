"""A job as a command: its help, and what it tells machines of a start that came to nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.locks import Locks
from jobctl.settings import Settings
from tests.servers import closed_port
from tests.world import World, command

SENDER = "notification-sender"


class TestHelp:
    def test_only_is_named_where_it_can_be_meant(self) -> None:
        assert "--only" in command(SENDER, "--help").out
        assert "--only" not in command("history-prune", "--help").out

    def test_all_exit_codes_are_named(self) -> None:
        said = command(SENDER, "--help").out.partition("Exit codes:")[2].partition("Examples:")[0]
        codes = [line.split()[0] for line in said.splitlines() if line.strip()]
        assert codes == ["0", "1", "2", "3", "4", "69", "75", "78", "130,"]


class TestJson:
    """With --json there is a document, however early the job ended."""

    def told(self, exit_code: Exit, *arguments: str) -> Any:
        done = command(SENDER, "--json", *arguments)
        assert done.exit_code == exit_code
        document = done.document
        assert (document["job"], document["outcome"], document["exit_code"]) == (SENDER, "failed", exit_code)
        assert (document["errors"], document["counts"]) == (0, {})
        assert len(document["complaints"]) == 1
        return document

    @pytest.mark.parametrize("arguments", [(), ("--dry-run",)], ids=str)
    def test_a_database_that_is_missing(self, home: Path, arguments: tuple[str, ...]) -> None:
        assert "jobctl db upgrade" in self.told(Exit.MISCONFIGURED, *arguments)["complaints"][0]

    def test_one_that_is_away(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://u:horse@127.0.0.1:{closed_port()}/db")
        assert "horse" not in str(self.told(Exit.UNREACHABLE))

    def test_wrong_settings(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STOP_GRACE", "nonsense")
        assert "STOP_GRACE" in self.told(Exit.MISCONFIGURED)["complaints"][0]

    def test_options_that_contradict_each_other(self, home: Path) -> None:
        self.told(Exit.USAGE, "--for", "1m")

    @pytest.mark.usefixtures("environment")
    def test_another_run_that_has_the_job(self, locks: Locks) -> None:
        assert locks.take_job(SENDER, share=False)
        self.told(Exit.LOCK_HELD, "--fail-if-locked")

    @pytest.mark.usefixtures("environment")
    def test_a_dry_run_that_ends_in_the_middle_is_one_document_too(self, world: World) -> None:
        world.message()
        done = command(SENDER, "--json", "--dry-run", "--since", "2999-01-01", "--as-of", "2998-01-01")
        assert done.exit_code == Exit.USAGE
        assert (done.document["rows"], done.document["exit_code"]) == ([], Exit.USAGE)


class TestJsonLog:
    """With LOG_FORMAT=json every line on stderr is a JSON object, numbers as numbers."""

    def lines(self, err: str) -> list[Any]:
        return [json.loads(line) for line in err.splitlines()]

    def test_events_and_complaints(self, world: World) -> None:
        world.message(channel="email")
        sent = world.message()
        port, sender = str(closed_port()), "market@example.com"
        done = world.call(
            SENDER, "-v", LOG_FORMAT="json", SMTP_HOST="127.0.0.1", SMTP_PORT=port, EMAIL_FROM=sender
        )
        lines = self.lines(done.err)
        (complaint,) = (each for each in lines if each["event"] == "complaint")
        assert (complaint["level"], complaint["job"], complaint["run"]) == ("error", SENDER, 1)
        assert "is closed for this run" in complaint["message"]
        assert sent in [each["row"] for each in lines if each["event"] == "row.settled"]
        (end,) = (each for each in lines if each["event"] == "run.ended")
        assert (end["run"], end["exit_code"]) == (1, Exit.UNREACHABLE)

    @pytest.mark.parametrize("where", ["environment", ".env"])
    def test_a_run_that_cannot_begin(self, home: Path, where: str) -> None:
        environment = {"LOG_FORMAT": "json", "STOP_GRACE": "nonsense"}
        if where == ".env":
            (home / ".env").write_text("".join(f"{name}={each}\n" for name, each in environment.items()))
            environment = {}
        done = World(Settings(jobctl_home=home)).call(SENDER, **environment)
        assert done.exit_code == Exit.MISCONFIGURED
        (line,) = self.lines(done.err)
        assert (line["event"], line["level"]) == ("error", "error")
        assert "STOP_GRACE" in line["message"]
