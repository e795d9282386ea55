"""Trying an edit: in a copy of the checkout, against the tests that run over it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests import postgres
from tests.conftest import FOLDER, SERVER, make_templates
from tests.edits.recording import Recorded
from tests.edits.source import Edit
from tests.edits.trial import ORDER

HANG = 60  # seconds that no test takes
SLOWNESS = 120  # seconds that starting and collecting take at most
FIRST_TESTS, FIRST_FILES = 40, 3  # collecting every file takes longer than most edits need


class Outcome(NamedTuple):
    """What became of an edit."""

    id: str
    by: str | None  # the test that noticed it
    ran: int  # tests
    over: int  # how many could have been run
    cut: bool  # whether the time was used up before all had run
    seconds: float


class Told(NamedTuple):
    failed: str | None
    cut: bool
    ran: int


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Lend one PostgreSQL with the templates, for every edit: the variables that tests find it by."""
    folder = Path(tempfile.mkdtemp(prefix="jobctl-templates-"))
    try:
        with postgres.running() as url:
            make_templates(folder, url)
            yield {FOLDER: str(folder), SERVER: url}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Copy:
    """A copy of the checkout, as it is in the work tree, for one edit at a time."""

    def __init__(self, root: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder / "checkout", environment
        self.order = folder / "order.json"
        self.scratch = folder / "scratch"
        self.instants = iter(range(1_000_000_000, 2_000_000_000, 10))
        for each in files(root):
            target = self.folder / each
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / each, target)

    @contextmanager
    def edited(self, edit: Edit | None) -> Iterator[None]:
        """Python takes compiled code for new by its source's size and second: no two edits share both."""
        if edit is None:
            yield
            return
        path = self.folder / edit.file
        data, told = path.read_bytes(), path.stat()
        path.write_bytes(edit.applied(data))
        instant = next(self.instants)
        os.utime(path, (instant, instant))
        try:
            yield
        finally:
            path.write_bytes(data)
            os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))

    def run(self, tests: Sequence[str], seconds: float) -> Told:
        """Run the tests until one fails; what ends without a word failed too."""
        begun, report = self.order.with_suffix(".begun"), self.order.with_suffix(".report")
        begun.write_text("", encoding="utf-8")
        report.unlink(missing_ok=True)
        wanted = {"tests": tests, "seconds": seconds, "hang": HANG}
        self.order.write_text(json.dumps(wanted), encoding="utf-8")
        self._pytest(sorted({each.partition("::")[0] for each in tests}), seconds + HANG + SLOWNESS)
        names = set(tests)
        ran = [each for each in begun.read_text(encoding="utf-8").splitlines() if each in names]
        if not report.exists():
            return Told(ran[-1] if ran else "import", cut=False, ran=len(ran))
        told = json.loads(report.read_text(encoding="utf-8"))
        return Told(told["failed"], told["cut"], len(ran))

    def _pytest(self, paths: Sequence[str], seconds: float) -> None:
        options = ["-o", "addopts=", "-p", "no:xdist", "-p", "no:cacheprovider", "-x", "-q", "--tb=no"]
        plugin = ["-p", "tests.edits.trial", f"--basetemp={self.scratch}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *plugin, *paths],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PYTHONPATH": str(self.folder), ORDER: str(self.order)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):  # a test that hung may have left processes of its own
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def files(root: Path) -> list[str]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    told = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout
    return [each for each in told.split("\0") if each and (root / each).is_file()]


def try_edit(copy: Copy, edit: Edit, tests: Sequence[Sequence[Recorded]], limit: float) -> Outcome:
    """Run batches of tests, each together, until one fails; limit: the seconds that all may take together."""
    began, ran = time.monotonic(), 0
    told = Told(None, cut=False, ran=0)
    with copy.edited(edit):
        for batch in tests:
            told = copy.run([each.id for each in batch], max(1, limit - (time.monotonic() - began)))
            ran += told.ran
            if told.failed or told.cut:
                break
    over = sum(map(len, tests))
    return Outcome(edit.id, told.failed, ran, over, told.cut, round(time.monotonic() - began, 1))


def batches(tests: Sequence[Recorded]) -> list[list[Recorded]]:
    """Part the likeliest tests, of a few files, from the others."""
    paths = list(dict.fromkeys(each.id.partition("::")[0] for each in tests))[:FIRST_FILES]
    first = [each for each in tests if each.id.partition("::")[0] in paths][:FIRST_TESTS]
    met = {each.id for each in first}
    return [each for each in (first, [each for each in tests if each.id not in met]) if each]
