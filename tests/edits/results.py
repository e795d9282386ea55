"""What became of edits, kept as it becomes known: an interrupted run goes on where it was."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.edits.trying import Outcome, files

FOLDERS = ("jobctl/", "tests/", "migrations/")


def state_of(root: Path, recordings: Path) -> str:
    """Name the code, its tests and what was recorded of them: results hold for these alone."""
    digest = hashlib.sha256()
    for each in files(root):
        if each.startswith(FOLDERS) and not each.startswith("tests/edits/"):
            digest.update(each.encode() + b"\0" + (root / each).read_bytes())
    for path in sorted(recordings.glob("*.json.gz")):
        digest.update(path.name.encode())
    return digest.hexdigest()[:16]


class Results:
    def __init__(self, path: Path, state: str) -> None:
        self.path, self.state = path, state
        self.known = dict[str, Outcome]()
        self.sound = set[str]()  # the tests that pass where nothing is edited
        self.noticed = dict[str, str]()  # by which test, whatever the code was like then
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for told in map(json.loads, lines):
            if "outcome" in told and (by := Outcome(*told["outcome"]).by):
                self.noticed[told["outcome"][0]] = by
            if told["state"] == state:
                self._take(told)

    def _take(self, told: dict[str, list[str]]) -> None:
        if "outcome" in told:
            outcome = Outcome(*told["outcome"])  # type: ignore[arg-type]
            self.known[outcome.id] = outcome
        self.sound |= set(told.get("sound", ()))
        for each in told.get("forgotten", ()):
            self.known.pop(each, None)

    def keep(self, outcome: Outcome) -> None:
        self._write({"outcome": outcome})

    def trust(self, tests: Iterable[str]) -> None:
        self._write({"sound": sorted(tests)})

    def forget(self, edits: Sequence[str]) -> None:
        self._write({"forgotten": edits})

    def _write(self, told: dict[str, Sequence[object]]) -> None:
        line = json.dumps({"state": self.state, **told})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self._take(json.loads(line))

    def done(self, edit: str, limit: float) -> bool:
        """Tell whether it need not be tried again: its time was enough, or is no longer now."""
        outcome = self.known.get(edit)
        return outcome is not None and not (outcome.cut and outcome.seconds < limit)
