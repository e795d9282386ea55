"""Where SQLite's locks hold, and where they don't."""

from pathlib import Path

import pytest

from jobctl import locks
from jobctl.errors import MisconfiguredError

MOUNTS = """overlay / overlay rw 0 0
server:/export /srv nfs4 rw 0 0
/dev/sda1 /srv/on\\040disk ext4 rw 0 0
server:/more /srv/on\\040disk/more cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "holds"),
    [
        ("/var/lib/jobctl", True),
        ("/srv", False),
        ("/srv/jobctl", False),
        ("/srvs", True),
        ("/srv/on disk/jobctl", True),
        ("/srv/on disk/more/jobctl", False),
    ],
)
def test_the_innermost_file_system_counts(
    folder: str, holds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    monkeypatch.setattr(locks, "MOUNTS", tmp_path / "mounts")
    if holds:
        locks.refuse_network(Path(folder))
        return
    with pytest.raises(MisconfiguredError):
        locks.refuse_network(Path(folder))


def test_a_system_that_tells_no_mounts_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "MOUNTS", tmp_path / "none")
    locks.refuse_network(Path("/srv"))
