"""Files of ours: nobody else reads them, and nobody puts links and pipes in our way."""

import os
import stat
from pathlib import Path

import pytest

from jobctl.errors import Exit
from jobctl.tables.frame import installation as table
from tests.world import World

pytestmark = pytest.mark.only("sqlite")
SENDER = "notification-sender"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def folder(world: World) -> Path:
    return world.settings.jobctl_home / "jobctl.db-locks"


def test_nobody_else_reads_them(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    settings = {"JOBCTL_HOME": str(home), "CONSOLE_FOLDER": str(home / "outbox"), "DATABASE_URL": ""}
    assert world.call("db", "upgrade", **settings).exit_code == Exit.DONE
    assert world.call(SENDER, **settings).exit_code == Exit.DONE
    found = {each.name: mode(each) for each in home.iterdir()}
    assert found == {"jobctl.db": 0o600, "jobctl.db-locks": 0o700}
    assert {mode(each) for each in (home / "jobctl.db-locks").iterdir()} == {0o600}


def test_messages_are_written_for_nobody_else(world: World, tmp_path: Path) -> None:
    world.message(channel="email")
    world.configure(email_channel="console", console_folder=tmp_path / "outbox")
    assert world.send().counts == {"sent": 1}
    (written,) = (tmp_path / "outbox").iterdir()
    assert (mode(tmp_path / "outbox"), mode(written)) == (0o700, 0o600)


def test_a_folder_that_others_could_enter_is_closed_to_them(world: World) -> None:
    world.send()
    folder(world).chmod(0o755)
    world.send()
    assert mode(folder(world)) == 0o700


@pytest.mark.parametrize("name", [f"job-{SENDER}", "run-1"])
def test_a_link_is_not_followed(world: World, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("precious")
    world.message()
    folder(world).mkdir(exist_ok=True)
    (folder(world) / name).unlink(missing_ok=True)
    (folder(world) / name).symlink_to(theirs)
    assert world.call(SENDER).exit_code == Exit.MISCONFIGURED
    assert theirs.read_text() == "precious"


def test_a_pipe_makes_nobody_wait(world: World) -> None:
    folder(world).mkdir(exist_ok=True)
    (folder(world) / f"job-{SENDER}").unlink(missing_ok=True)
    os.mkfifo(folder(world) / f"job-{SENDER}")
    assert world.call(SENDER).exit_code == Exit.MISCONFIGURED


def test_a_message_through_a_link_goes_nowhere(world: World, tmp_path: Path) -> None:
    message = world.message(channel="email")
    outbox, theirs = tmp_path / "outbox", tmp_path / "theirs"
    outbox.mkdir()
    theirs.write_text("precious")
    (installation,) = world.rows(table)
    (outbox / f"{installation.id}.notification-{message}.eml").symlink_to(theirs)
    world.configure(email_channel="console", console_folder=outbox)
    assert world.send().exit_code == Exit.MISCONFIGURED
    assert theirs.read_text() == "precious"
