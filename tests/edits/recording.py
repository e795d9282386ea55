"""Recording the suite, or a part of it, and what is kept: for each line, the tests that ran over it."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import coverage
from click import ClickException

from tests.edits.decisions import product
from tests.edits.recorder import FOLDER

# One context for each process that a test starts; dynamic ones need coverage's own tracer.
CONFIGURATION = """[run]
source = {root}/jobctl
data_file = {folder}/lines
parallel = true
core = ctrace
context = ${{EDITS_CONTEXT-}}
disable_warnings = no-data-collected, module-not-imported, module-not-measured, already-imported, no-ctracer
"""


class Recorded(NamedTuple):
    """A test as it was recorded."""

    id: str
    seconds: float
    passed: bool
    processes: int  # that it started
    lines: int = 0  # that it ran over


class Recording(NamedTuple):
    tests: list[Recorded]
    sources: dict[str, str]  # the text of each file then
    lines: dict[str, dict[int, int]]  # of each file: the tests that ran over a line, a bit for each


def record(root: Path, folder: Path, paths: Sequence[str], workers: int) -> Recording:
    """Run the tests under coverage, and keep what was seen beside what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="jobctl-recording-"))
    try:
        sources = {each: (root / each).read_text(encoding="utf-8") for each in product(root)}
        run_tests(root, scratch, paths, workers)
        made = Recording(*measured(root, scratch, sources))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    write(made, folder / f"{time.time_ns()}.json.gz")
    return made


def run_tests(root: Path, scratch: Path, paths: Sequence[str], workers: int) -> None:
    configuration = scratch / "coveragerc"
    configuration.write_text(CONFIGURATION.format(root=root, folder=scratch), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "COVERAGE_PROCESS_START": str(configuration),
        FOLDER: str(scratch),
    }
    command = [sys.executable, "-m", "pytest", "-p", "tests.edits.recorder", "-n", str(workers), *paths]
    done = subprocess.run(command, cwd=root, env=environment, check=False)
    if done.returncode not in (0, 1):
        raise ClickException(f"pytest ended with {done.returncode}: nothing was recorded")


def measured(
    root: Path, scratch: Path, sources: dict[str, str]
) -> tuple[list[Recorded], dict[str, str], dict[str, dict[int, int]]]:
    texts = [each.read_text(encoding="utf-8") for each in scratch.glob("tests-*.jsonl")]
    told = [json.loads(line) for text in texts for line in text.splitlines()]
    numbers = {name: n for n, (name, *_) in enumerate(told)}
    lines: dict[str, dict[int, int]] = {each: defaultdict(int) for each in sources}
    seen: Counter[str] = Counter()
    for file, line, names in contexts(root, scratch):
        for name in names:
            if file in lines and name in numbers:
                lines[file][line] |= 1 << numbers[name]
                seen[name] += 1
    tests = [Recorded(name, seconds, passed, begun, seen[name]) for name, seconds, passed, begun in told]
    return tests, sources, lines


def contexts(root: Path, scratch: Path) -> Iterator[tuple[str, int, list[str]]]:
    for path in scratch.glob("lines.*"):
        data = coverage.CoverageData(str(path))
        data.read()
        for file in data.measured_files():
            for line, names in data.contexts_by_lineno(file).items():
                yield Path(file).relative_to(root).as_posix(), line, names


def write(recording: Recording, path: Path) -> None:
    lines = {
        file: {line: f"{tests:x}" for line, tests in each.items()} for file, each in recording.lines.items()
    }
    unfinished = path.with_suffix(".new")
    with gzip.open(unfinished, "wt", encoding="utf-8", compresslevel=3) as file:
        json.dump([recording.tests, recording.sources, lines], file)
    unfinished.rename(path)


def read(folder: Path) -> list[Recording]:
    """Return what was recorded, the newest first."""
    found = []
    for path in sorted(folder.glob("*.json.gz"), reverse=True):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            tests, sources, lines = json.load(file)
        masks = {
            name: {int(line): int(mask, 16) for line, mask in each.items()} for name, each in lines.items()
        }
        found.append(Recording([Recorded(*each) for each in tests], sources, masks))
    return found
