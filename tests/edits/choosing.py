"""Which tests run over an edit, the likeliest to notice it first."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache, cached_property
from pathlib import PurePath

from tests.edits.recording import Recorded, Recording
from tests.edits.source import FUNCTIONS, SCOPES, Edit, Source
from tests.edits.uses import bound_by, imports_any, is_called_at_import, users


class Choice:
    def __init__(
        self,
        recordings: Sequence[Recording],
        sources: Mapping[str, Source],
        tests: Iterable[Source] = (),
    ) -> None:
        self.recordings, self.sources, self.test_files = recordings, sources, tests
        self.same_lines = cache(self._same_lines)

    @cached_property
    def usable(self) -> list[int]:
        """Return of each recording the tests that passed and were not recorded again, as bits."""
        met: set[str] = set()
        found = []
        for each in self.recordings:
            bits = (1 << n for n, test in enumerate(each.tests) if test.passed and test.id not in met)
            found.append(sum(bits))
            met |= {test.id for test in each.tests}
        return found

    def _same_lines(self, n: int, file: str) -> Mapping[int, int]:
        """Map lines to what they were when that recording was made, as far as they are the same."""
        then = self.recordings[n].sources.get(file, "").splitlines()
        now = self.sources[file].data.decode().splitlines()
        if then == now:
            return {line: line for line in range(1, len(now) + 1)}
        blocks = SequenceMatcher(None, now, then, autojunk=False).get_matching_blocks()
        return {a + i + 1: b + i + 1 for a, b, size in blocks for i in range(size)}

    def over(self, file: str, lines: Iterable[int]) -> dict[str, Recorded]:
        wanted, found = set(lines), dict[str, Recorded]()
        for n, (recording, usable) in enumerate(zip(self.recordings, self.usable, strict=True)):
            then, bits = self.same_lines(n, file), 0
            known = recording.lines.get(file, {})
            for line in wanted & then.keys():
                bits |= known.get(then[line], 0)
            found |= {test.id: test for test in tests_of(bits & usable, recording.tests)}
        return found

    def tests(self, edit: Edit) -> list[Recorded]:
        """Order the tests that ran over the edit, or else over its function, or else its file."""
        source = self.sources[edit.file]
        whole = range(1, len(source.data.splitlines()) + 1)
        found = dict[str, Recorded]()
        for reach in (self.reached(source, edit), [(edit.file, function_lines(source, edit))]):
            for file, lines in reach:
                found |= self.over(file, lines)
            if found:
                break
        declared = not function_lines(source, edit)
        found |= self.importing(source, edit) if declared else {}
        chosen = ordered(edit, suitable(edit, found.values()))
        # What a module declares may be read where no name of it is used.
        if not found or declared:
            others = self.over(edit.file, whole)
            chosen += ordered(edit, suitable(edit, [others[each] for each in others.keys() - found.keys()]))
        return chosen

    def importing(self, source: Source, edit: Edit) -> dict[str, Recorded]:
        """Return the tests of the files that import what the edit's statement declares."""
        names = bound_by(source, innermost(source, edit.start))
        files = {each.file for each in self.test_files if imports_any(each, source.file, names)}
        pairs = zip(self.recordings, self.usable, strict=True)
        tests = [test for each, usable in pairs for test in tests_of(usable, each.tests)]
        return {test.id: test for test in tests if test.id.partition("::")[0] in files}

    def reached(self, source: Source, edit: Edit) -> Iterator[tuple[str, set[int]]]:
        """Tell the lines that the edit decides on: its own, or those that use what it is a part of."""
        statement = innermost(source, edit.start)
        if isinstance(statement, FUNCTIONS):  # a default or a decorator: its calls tell
            yield source.file, set(range(statement.lineno, (statement.end_lineno or 0) + 1))
            return
        yield source.file, own_lines(statement)
        around = [each for each in source.enclosing(statement) if isinstance(each, FUNCTIONS)]
        names = {around[-1].name} if around else bound_by(source, statement)
        if not around or is_called_at_import(source, around[-1].name):
            for user, node in users(self.sources, source, names):
                yield user.file, own_lines(innermost(user, user.start(node)))


def tests_of(bits: int, tests: Sequence[Recorded]) -> Iterator[Recorded]:
    while bits:
        lowest = bits & -bits
        yield tests[lowest.bit_length() - 1]
        bits ^= lowest


def innermost(source: Source, offset: int) -> ast.stmt:
    around = [
        each
        for each in ast.walk(source.tree)
        if isinstance(each, ast.stmt) and source.start(each) <= offset < source.end(each)
    ]
    # A decorator stands before its function begins.
    return max(around, key=source.start) if around else next_scope(source, offset)


def next_scope(source: Source, offset: int) -> ast.stmt:
    scopes = [
        each for each in ast.walk(source.tree) if isinstance(each, SCOPES) and source.start(each) > offset
    ]
    return min(scopes, key=source.start)


def own_lines(statement: ast.stmt) -> set[int]:
    """Return its lines without those of statements in it."""
    lines = set(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    for each in ast.walk(statement):
        if isinstance(each, ast.stmt) and each is not statement:
            lines -= set(range(each.lineno, (each.end_lineno or each.lineno) + 1))
    return lines or {statement.lineno}


def function_lines(source: Source, edit: Edit) -> set[int]:
    statement = innermost(source, edit.start)
    for each in (statement, *source.enclosing(statement)):
        if isinstance(each, FUNCTIONS):
            return set(range(each.lineno, (each.end_lineno or 0) + 1))
    return set()


def suitable(edit: Edit, tests: Iterable[Recorded]) -> list[Recorded]:
    """Leave out SQLite where a row lock is edited: it has none."""
    return [each for each in tests if edit.kind != "lock" or "sqlite" not in each.id]


def ordered(edit: Edit, tests: Iterable[Recorded]) -> list[Recorded]:
    """Put the likeliest first; of those with several parameters one each, before a second of any.

    All functions get the same time: of quick ones many are run before the second one of those that are slow.
    """
    met: dict[str, float] = defaultdict(float)
    ranked = []
    for each in sorted(tests, key=lambda test: (test.lines, test.id)):
        function = each.id.partition("[")[0]
        rank = met[function] + each.seconds if function in met else 0
        ranked.append((*likelihood(edit, each), rank, each))
        met[function] += each.seconds
    return [each for *_, each in sorted(ranked, key=lambda rank: rank[:-1])]


def likelihood(edit: Edit, test: Recorded) -> tuple[bool, bool]:
    """Order tests: for locks and claims those that start rivals first, then those of the same name."""
    about = PurePath(test.id.partition("::")[0]).stem.removeprefix("test_")
    rival = edit.kind in ("lock", "claim") and test.processes > 0
    return not rival, not PurePath(edit.file).stem.startswith(about)
