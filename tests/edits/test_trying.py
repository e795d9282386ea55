"""What an edit is tried against, and that it can be told whether a test notices it."""

import shutil
import subprocess
from pathlib import Path

from tests.edits import decisions, equivalents
from tests.edits.choosing import Choice, ordered
from tests.edits.equivalents import Equivalent, stale
from tests.edits.recording import Recorded, Recording, read, record
from tests.edits.results import Results
from tests.edits.running import noticed_first
from tests.edits.source import Source
from tests.edits.test_edits import ROOT, edits
from tests.edits.trying import Copy, Outcome, try_edit


def chosen(text: str, recordings: list[Recording], line: int, kind: str, *, others: str = "") -> list[str]:
    sources = {"jobctl/a.py": Source("jobctl/a.py", text.encode())}
    if others:
        sources["jobctl/b.py"] = Source("jobctl/b.py", others.encode())
    edit = next(each for each in edits(text) if (each.line, each.kind) == (line, kind))
    return [each.id for each in Choice(recordings, sources).tests(edit)]


def recorded(
    text: str, lines: dict[str, list[int]], *, failed: str = "", file: str = "jobctl/a.py"
) -> Recording:
    """Return a recording in which these tests ran over these lines."""
    tests = [Recorded(each, 1.0, each != failed, 0, len(over)) for each, over in lines.items()]
    masks: dict[int, int] = {}
    for n, over in enumerate(lines.values()):
        for line in over:
            masks[line] = masks.get(line, 0) | 1 << n
    return Recording(tests, {file: text}, {file: masks})


class TestChoice:
    text = "def f(a):\n    if a < 1:\n        return 1\n    return 2\n"

    def test_of_those_over_it_the_likeliest_is_first(self) -> None:
        over = {
            "tests/test_b.py::many": [2, 3, 4],
            "tests/test_b.py::few": [2],
            "tests/test_a.py::its": [2, 3, 4],
        }
        found = chosen(
            self.text, [recorded(self.text, over | {"tests/test_a.py::not": [4]})], 2, "comparison"
        )
        assert found == ["tests/test_a.py::its", "tests/test_b.py::few", "tests/test_b.py::many"]

    def test_each_test_comes_once_before_any_comes_with_other_parameters(self) -> None:
        made = recorded(self.text, {"t::one[a]": [2], "t::one[b]": [2], "t::two[a]": [2, 3]})
        found = chosen(self.text, [made], 2, "comparison")
        assert found == ["t::one[a]", "t::two[a]", "t::one[b]"]

    def test_of_quick_ones_many_come_before_a_second_slow_one(self) -> None:
        seconds = {"slow": 1.0, "quick": 0.2}
        tests = [Recorded(f"t::{name}[{n}]", each, True, 0) for name, each in seconds.items() for n in "abc"]
        (edit, *_) = edits(self.text)
        order = [each.id[3:] for each in ordered(edit, tests)]
        assert order == ["quick[a]", "slow[a]", "quick[b]", "quick[c]", "slow[b]", "slow[c]"]

    def test_lines_may_have_moved_since(self) -> None:
        moved = "X = None\n" + self.text
        assert chosen(moved, [recorded(self.text, {"t::one": [2], "t::two": [4]})], 3, "comparison") == [
            "t::one"
        ]

    def test_for_a_line_that_is_new_its_function_tells(self) -> None:
        changed = self.text.replace("a < 1", "a < 7")
        assert chosen(changed, [recorded(self.text, {"t::one": [4], "t::two": [9]})], 2, "comparison") == [
            "t::one"
        ]

    def test_the_newest_recording_of_a_test_counts(self) -> None:
        newest, older = (
            recorded(self.text, {"t::one": [4]}),
            recorded(self.text, {"t::one": [2], "t::two": [2]}),
        )
        assert chosen(self.text, [newest, older], 2, "comparison") == ["t::two"]

    def test_what_failed_is_never_chosen(self) -> None:
        made = recorded(self.text, {"t::one": [2], "t::two": [2]}, failed="t::one")
        assert chosen(self.text, [made], 2, "comparison") == ["t::two"]

    def test_a_constant_is_tried_where_it_is_used_first(self) -> None:
        text = "LIMIT = 5\nOTHER = (LIMIT, 1)\ndef f(a):\n    return a\ndef g():\n    return OTHER\n"
        made = recorded(text, {"t::f": [4], "t::g": [6]})
        assert chosen(text, [made], 1, "limit") == ["t::g", "t::f"]

    def test_also_by_another_file(self) -> None:
        text, user = "LIMIT = 5\n", "from jobctl.a import LIMIT\n\n\ndef h():\n    return LIMIT\n"
        made = recorded(user, {"t::h": [5], "t::other": [4]}, file="jobctl/b.py")
        assert chosen(text, [made], 1, "limit", others=user) == ["t::h"]

    def test_what_is_called_at_import_is_tried_where_its_outcome_is_used(self) -> None:
        text = "def f(a):\n    return a < 1\nX = f(2)\ndef g():\n    return X\n"
        made = recorded(text, {"t::g": [5], "t::other": [4]})
        assert chosen(text, [made], 2, "comparison") == ["t::g"]
        limit = "LIMIT = 5\ndef f(a):\n    return a < LIMIT\nX = f(2)\ndef g():\n    return X\n"
        assert chosen(limit, [recorded(limit, {"t::g": [6], "t::other": []})], 1, "limit") == ["t::g"]

    def test_also_by_a_test_itself(self) -> None:
        """Which runs over none of its lines."""
        text, rules = "RULES = (1, 2)\n", Source("tests/r.py", b"from jobctl.a import RULES\n")
        made = recorded(text, {"tests/r.py::t": [], "tests/s.py::t": []})
        (edit, *_) = edits(text)
        choice = Choice([made], {"jobctl/a.py": Source("jobctl/a.py", text.encode())}, [rules])
        assert [each.id for each in choice.tests(edit)] == ["tests/r.py::t"]

    def test_sqlite_tells_nothing_of_row_locks(self) -> None:
        text = "def f(a):\n    return a.with_for_update()\n"
        made = recorded(text, {"t::one[sqlite]": [2], "t::one[postgresql]": [2]})
        assert chosen(text, [made], 2, "lock") == ["t::one[postgresql]"]


def test_results_are_kept_for_the_same_code_only(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = Results(path, "this")
    results.keep(Outcome("1", None, 10, 10, cut=False, seconds=5))
    results.keep(Outcome("2", None, 10, 90, cut=True, seconds=5))
    results.keep(Outcome("3", "t::flaky", 1, 1, cut=False, seconds=5))
    results.forget(["3"])
    again = Results(path, "this")
    assert [again.done(each, 5) for each in "123"] == [True, True, False]
    assert not again.done("2", 60), "more time may be enough"
    assert not Results(path, "that").known


def test_the_test_that_noticed_an_edit_before_is_tried_alone_first(tmp_path: Path) -> None:
    """Also where the code has changed since; it is nothing but the likeliest then."""
    path = tmp_path / "results.jsonl"
    Results(path, "this").keep(Outcome("1", "tests/b.py::t", 1, 1, cut=False, seconds=5))
    tests = [Recorded(f"tests/{each}.py::t", 0.1, passed=True, processes=0) for each in "abc"]
    known = Results(path, "that").noticed
    order = [[each.id[6] for each in batch] for batch in noticed_first(tests, known.get("1"))]
    assert order == [["b"], ["a", "c"]]
    assert noticed_first(tests, known.get("2")) == [tests]


def test_an_equivalent_that_fits_no_line_any_more_is_stale() -> None:
    (edit,) = edits("def f(a):\n    return a < 1\n")
    known = Equivalent(edit.file, "f", "return a < 1", "return a <= 1", "why")
    other = known._replace(before="return a < 2")
    assert known.fits(edit)
    assert stale([known, other], {edit.file: [edit]}) == [other]


def test_what_is_said_to_be_equivalent_has_a_reason() -> None:
    assert all(all(each) for each in equivalents.read())


PRODUCT = """import sys


def fee(amount):
    if amount < 100:
        return 1
    return 5


def show():
    return 0 if fee(200) > 1 else 3


if __name__ == "__main__":
    sys.exit(show())
"""
TESTS = """import subprocess
import sys

from jobctl.fees import fee


def test_fee():
    assert fee(50) == 1


def test_process(tmp_path):
    told = subprocess.run([sys.executable, "-m", "jobctl.fees"], cwd=tmp_path, env={"PATH": ""}, check=False)
    assert told.returncode == 0
"""


def test_a_recording_tells_what_to_run_and_an_edit_is_noticed_or_not(tmp_path: Path) -> None:
    """A product of its own: recorded, also the processes that its tests start, edited in a copy, run."""
    root = tmp_path / "project"
    shutil.copytree(
        ROOT / "tests" / "edits", root / "tests" / "edits", ignore=shutil.ignore_patterns("test_*")
    )
    for name, text in {"jobctl/fees.py": PRODUCT, "tests/test_fees.py": TESTS}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
        (root / name).with_name("__init__.py").touch()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    made = record(root, tmp_path / "recordings", ["tests/test_fees.py"], 0)
    assert [each.passed for each in made.tests] == [True, True]
    source = Source.read(root, "jobctl/fees.py")
    choice = Choice(read(tmp_path / "recordings"), {source.file: source})
    copy = Copy(root, tmp_path / "copy", {})
    found = {each.after: each for each in decisions.all_edits(source, {}) if each.function in ("fee", "show")}

    def tried(after: str) -> Outcome:
        return try_edit(copy, found[after], noticed_first(choice.tests(found[after]), None), 60)

    assert tried("if amount <= 100:")[1:4] == (None, 2, 2)
    assert tried("return 0 if False else 3")[1:4] == (
        "tests/test_fees.py::test_process",
        1,
        1,
    )
    assert source.data == (copy.folder / source.file).read_bytes() == (root / source.file).read_bytes()
