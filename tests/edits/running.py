"""A run: which edits of the checkout are taken, each tried in a copy, what noticed them proved."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from click import ClickException, echo

from tests.edits import decisions, equivalents, values
from tests.edits.choosing import Choice
from tests.edits.recording import Recorded, read
from tests.edits.results import Results, state_of
from tests.edits.sampling import sample
from tests.edits.source import Edit
from tests.edits.trying import Copy, Outcome, batches, server, try_edit

# The code that decides about money and messages.
DEFAULT = (
    "jobctl/journal.py",
    "jobctl/steps",
    "jobctl/providers",
    "jobctl/jobs",
    "jobctl/changes.py",
    "jobctl/batches.py",
    "jobctl/locks.py",
    "jobctl/outbox.py",
    "jobctl/findings.py",
    "jobctl/invariants",
)


class Wanted(NamedTuple):
    kinds: Sequence[str]
    ids: Sequence[str]
    seed: int
    number: int  # 0: all


class Checkout:
    """The product's files, and their edits."""

    def __init__(self, root: Path, globs: Sequence[str]) -> None:
        self.root = root
        self.sources = {each.file: each for each in decisions.read(root, decisions.product(root))}
        self.files = decisions.chosen_files(root, globs)
        self.known = equivalents.read()
        self._edits = dict[str, Sequence[Edit]]()

    @cached_property
    def following(self) -> values.Siblings:
        return values.siblings(list(self.sources.values()))

    def edits(self, file: str) -> Sequence[Edit]:
        if file not in self._edits:
            self._edits[file] = decisions.all_edits(self.sources[file], self.following)
        return self._edits[file]

    def reason(self, edit: Edit) -> str | None:
        return equivalents.reason_of(edit, self.known)

    def stale(self) -> list[equivalents.Equivalent]:
        files = {each.file for each in self.known} & self.sources.keys()
        return equivalents.stale(self.known, {each: self.edits(each) for each in files})

    def chosen(self, wanted: Wanted) -> tuple[list[Edit], list[Edit]]:
        """Return what is to be tried, and what is left out because it is known to be equivalent."""
        edits = [edit for file in self.files for edit in self.edits(file)]
        if missing := set(wanted.ids) - {each.id for each in edits}:
            raise ClickException(
                f"There is no edit {', '.join(sorted(missing))} any more: list them with --list."
            )
        edits = [each for each in edits if not wanted.kinds or each.kind in wanted.kinds]
        edits = [each for each in edits if not wanted.ids or each.id in wanted.ids]
        taken = sample(edits, self.sources, wanted.seed, wanted.number)
        left_out = [each for each in taken if self.reason(each)]
        return [each for each in taken if each not in left_out], left_out


def run_all(
    checkout: Checkout, edits: Sequence[Edit], folder: Path, *, jobs: int, limit: float, again: bool
) -> Mapping[Edit, Outcome]:
    """Try the edits that were not tried before; return what became of all.

    limit: seconds for the tests of one edit. again: whether or not they were tried.
    """
    recordings = folder / "recordings"
    results = Results(folder / "results.jsonl", state_of(checkout.root, recordings))
    left = [each for each in edits if again or not results.done(each.id, limit)]
    if left:
        recorded = read(recordings)
        if not recorded:
            raise ClickException("Nothing is recorded yet: python -m tests.edits record [PATHS]")
        choice = Choice(recorded, checkout.sources, decisions.tests(checkout.root))
        with copies(checkout.root, jobs) as free:
            tests = [(each, noticed_first(choice.tests(each), results.noticed.get(each.id))) for each in left]
            try_them(tests, free, results, jobs=jobs, limit=limit)
            prove(results, free.get())
    return {each: results.known[each.id] for each in edits if each.id in results.known}


def noticed_first(tests: Sequence[Recorded], by: str | None) -> list[list[Recorded]]:
    """Part tests into those that are run together, before all others the one that noticed it last."""
    before = [each for each in tests if each.id == by]
    others = batches([each for each in tests if each.id != by])
    return [before, *others] if before else others


@contextmanager
def copies(root: Path, number: int) -> Iterator["SimpleQueue[Copy]"]:
    """Lend copies of the checkout, and the server that their tests share."""
    with ExitStack() as stack:
        environment = stack.enter_context(server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobctl-edits-")))
        free: SimpleQueue[Copy] = SimpleQueue()
        for n in range(number):
            free.put(Copy(root, folder / str(n), environment))
        yield free


def try_them(
    left: Sequence[tuple[Edit, list[list[Recorded]]]],
    free: "SimpleQueue[Copy]",
    results: Results,
    *,
    jobs: int,
    limit: float,
) -> None:
    def attempt(pair: tuple[Edit, list[list[Recorded]]]) -> tuple[Edit, Outcome]:
        copy = free.get()
        try:
            return pair[0], try_edit(copy, *pair, limit)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(jobs) as pool:
        begun = [pool.submit(attempt, each) for each in left]
        try:
            for n, each in enumerate(as_completed(begun), 1):
                edit, outcome = each.result()
                results.keep(outcome)
                word = "noticed" if outcome.by else "NOT NOTICED"
                echo(f"{n}/{len(left)} {edit.show()}: {word} ({outcome.ran} tests, {outcome.seconds:.0f} s)")
        finally:
            pool.shutdown(cancel_futures=True)


def prove(results: Results, copy: Copy) -> None:
    """Forget what was noticed by tests that fail with nothing edited too."""
    named = {each.by for each in results.known.values() if each.by and "::" in each.by} - results.sound
    failing, left = set[str](), sorted(named)
    while left:
        told = copy.run(left, float(len(left) * 60))
        if told.failed is None:
            break
        if told.failed not in left:
            raise ClickException(f"With nothing edited, the tests cannot be run: {told.failed} fails.")
        failing.add(told.failed)
        left = [each for each in left if each not in failing]
    results.trust(named - failing)
    forgotten = [each.id for each in results.known.values() if each.by in failing]
    if forgotten:
        results.forget(forgotten)
        echo(
            f"{len(forgotten)} edits were noticed by tests that fail by themselves, and don't count:",
            err=True,
        )
        for each in sorted(failing):
            echo(f"  {each}", err=True)
