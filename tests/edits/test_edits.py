"""The tool that edits decisions: what it edits, what it tries against what, and that it can tell."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.edits import decisions, equivalents, values
from tests.edits.choosing import Choice
from tests.edits.equivalents import Equivalent, stale
from tests.edits.recording import Recorded, Recording, read, record
from tests.edits.results import Results
from tests.edits.sampling import sample
from tests.edits.source import Edit, Source
from tests.edits.trying import Copy, Outcome, try_edit

ROOT = Path(__file__).parents[2]
STATUSES = Source("jobctl/tables/t.py", b'STATUSES = ("open", "paid", "gone")\n')


def edits(text: str, file: str = "jobctl/a.py") -> list[Edit]:
    source = Source(file, text.encode())
    return [
        each
        for each in decisions.all_edits(source, values.siblings([STATUSES]))
        if decisions.is_sound(each, source)
    ]


def within(body: str) -> set[tuple[str, str]]:
    """Return the kinds and the lines that the edits of a function's line leave."""
    return {(each.kind, each.after) for each in edits(f"def f(a, b, c):\n    {body}\n    return c\n")}


@pytest.mark.parametrize(
    ("line", "sort", "after"),
    [
        ("c = a < b", "comparison", "c = a <= b"),
        ("c = a == b", "comparison", "c = a != b"),
        ("c = a.x.is_(None)", "comparison", "c = a.x.is_not(None)"),
        ("c = a and b", "boolean", "c = (a)"),
        ("c = (a == 1) & (b == 2)", "boolean", "c = (a == 1) | (b == 2)"),
        ("c = or_(a, b)", "boolean", "c = or_(b)"),
        ("c = isinstance(a, Paid | Gone)", "boolean", "c = isinstance(a, (Paid))"),
        ("c = not a", "not", "c = (a)"),
        ("c = ~exists(a)", "not", "c = (exists(a))"),
        ("c = a if b else c", "condition", "c = a if True else c"),
        ("c = [x for x in a if b]", "condition", "c = [x for x in a if False]"),
        ("c = a + timedelta(days=1)", "arithmetic", "c = a - timedelta(days=1)"),
        ("c = a + timedelta(days=1)", "limit", "c = a + timedelta(days=2)"),
        ("c = a + 1", "limit", "c = a + 0"),
        ("c = min(a, b)", "extreme", "c = max(a, b)"),
        ("c = any(a)", "extreme", "c = all(a)"),
        ("c = sorted(a, key=b)", "order", "c = list(a)"),
        ("c = a.order_by(b)", "order", "c = a"),
        ("c = a.where(b, c)", "query", "c = a.where(c)"),
        ("c = update(a).where(b)", "query", "c = update(a)"),
        ("c = a.where(b, a.c.claimed_by == b)", "claim", "c = a.where(b)"),
        ('c = {"x": a, "claimed_by": None}', "claim", 'c = {"x": a}'),
        ("c = a.with_for_update(of=b)", "lock", "c = a"),
        ("c = a.with_for_update(of=b)", "lock", "c = a.with_for_update(of=b, skip_locked=True)"),
        ("c = a.with_for_update(**passing_over(b))", "lock", "c = a.with_for_update(of=(b,))"),
        ('c = {"of": a, "skip_locked": True}', "lock", 'c = {"of": a, "skip_locked": False}'),
        ("c = look(a, lock=b)", "lock", "c = look(a)"),
        ("c = read(a, lock=True)", "lock", "c = read(a, lock=False)"),
        ("c = a.on_conflict_do_nothing(b)", "guard", "c = a"),
        ('c = Due(a, {"x": b, "y": c})', "due", 'c = Due(a, {"y": c})'),
        ('c = Due(a, {"x": b, "y": c})', "due", 'c = Due(a, {"x": b})'),
        ('c = a == "paid"', "constant", 'c = a == "gone"'),
        ("c = HTTPStatus.OK", "constant", "c = HTTPStatus.CREATED"),
        ('c = a in ("x", "y")', "table", 'c = a in ("y",)'),
        ("c = Rejected(a, later=True)", "keyword", "c = Rejected(a, later=False)"),
        ("a.update(x=b, y=c)", "fact", "a.update(x=b)"),
        ("a.notify(b)", "statement", "pass"),
        ("return a", "exit", "pass"),
    ],
)
def test_each_kind_of_decision_is_edited(line: str, sort: str, after: str) -> None:
    assert (sort, after) in within(line)


@pytest.mark.parametrize(
    ("text", "sort", "after"),
    [
        ('NO = {"a": 1, "b": 2}\n', "table", 'NO = {"b": 2}'),
        ('NO = {"a": 1, "b": 2}\n', "table", 'NO = {"a": 2, "b": 2}'),
        ('YES = {"a", "b", "c"}\n', "table", 'YES = {"a", "b"}'),
        ("SLACK = timedelta(seconds=60)\n", "limit", "SLACK = timedelta(seconds=120)"),
        ("LATEST = 200\n", "limit", "LATEST = 400"),
        ("def f(a, *, free=True):\n    return a\n", "default", "def f(a, *, free=False):"),
        ("def f(a):\n    while a:\n        return 1\n", "condition", "while False:"),
        ("def f(a):\n    match a:\n        case 1 | 2:\n            return 1\n", "table", "case 2:"),
    ],
)
def test_tables_limits_and_defaults_are_edited(text: str, sort: str, after: str) -> None:
    assert (sort, after) in {(each.kind, each.after) for each in edits(text)}


@pytest.mark.parametrize(
    "text",
    [
        "def f(a: int | None) -> int | None:\n    assert a == 1\n    return a\n",
        "Answer = Paid | Gone\n",
        "A, B = int, int\n",
        "if TYPE_CHECKING:\n    x = 1\n",
        "def f(a):\n    log.info('x', extra={'a': 1})\n    return f'{a + 1}'\n",
    ],
)
def test_what_decides_nothing_is_left_alone(text: str) -> None:
    assert edits(text) == []


def test_a_name_stands_for_a_claim_in_its_own_function_only() -> None:
    one = "def f(a, b):\n    x = a.claimed_by == 1\n    return a.where(x, b)\n"
    text = f"{one}\n\ndef g(a, x, b):\n    return a.where(x, b)\n"
    kinds = {(each.line, each.kind) for each in edits(text) if each.after == "return a.where(b)"}
    assert kinds == {(3, "claim"), (7, "query")}


def test_an_edit_is_the_same_where_its_function_moves() -> None:
    text = "def f(a):\n    return a < 1\n"
    moved = "X = None\n\n\n" + text
    assert [each.id for each in edits(moved)] == [each.id for each in edits(text)]
    assert [each.line for each in edits(moved)] == [5]


def test_edits_of_alike_lines_are_told_apart() -> None:
    ids = [
        each.id
        for each in edits("def f(a):\n    if a < 1:\n        return 1\n    if a < 1:\n        return 2\n")
    ]
    assert len(ids) == len(set(ids))


def test_nearly_all_of_a_file_can_be_edited() -> None:
    """What doesn't compile is passed over; it must not be much."""
    source = Source.read(ROOT, "jobctl/journal.py")
    found = decisions.all_edits(source, values.siblings([STATUSES]))
    assert len(found) > 50
    assert sum(not decisions.is_sound(each, source) for each in found) <= 2
    assert len({each.id for each in found}) == len(found)


class TestSample:
    files = ("jobctl/journal.py", "jobctl/providers/tokens.py", "jobctl/steps/concluding.py")

    def drawn(self, seed: int, number: int) -> tuple[list[Edit], list[Edit]]:
        sources = {each.file: each for each in decisions.read(ROOT, self.files)}
        known = [
            edit
            for each in sources.values()
            for edit in decisions.all_edits(each, values.siblings([STATUSES]))
        ]
        return sample(known, sources, seed, number), known

    def test_a_seed_names_it(self) -> None:
        assert self.drawn(1, 20) == self.drawn(1, 20)
        assert self.drawn(1, 20)[0] != self.drawn(2, 20)[0]

    def test_each_kind_and_file_is_met(self) -> None:
        taken, known = self.drawn(3, 50)
        assert {each.kind for each in taken} == {each.kind for each in known}
        assert {each.file for each in taken} == set(self.files)
        assert max(Counter(each.kind for each in taken).values()) < 20

    def test_twins_come_together(self) -> None:
        text = b"def asked(a):\n    return a < 1\n"
        sources = {file: Source(file, text) for file in ("jobctl/one.py", "jobctl/other.py")}
        known = [edit for each in sources.values() for edit in decisions.all_edits(each, {})]
        assert {each.file for each in sample(known, sources, 1, 2)} == set(sources)


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

    def test_a_constant_is_tried_where_it_is_used(self) -> None:
        text = "LIMIT = 5\nOTHER = (LIMIT, 1)\ndef f(a):\n    return a\ndef g():\n    return OTHER\n"
        made = recorded(text, {"t::f": [4], "t::g": [6]})
        assert chosen(text, [made], 1, "limit") == ["t::g"]

    def test_also_by_another_file(self) -> None:
        text, user = "LIMIT = 5\n", "from jobctl.a import LIMIT\n\n\ndef h():\n    return LIMIT\n"
        made = recorded(user, {"t::h": [5], "t::other": [4]}, file="jobctl/b.py")
        assert chosen(text, [made], 1, "limit", others=user) == ["t::h"]

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
    shutil.copytree(ROOT / "tests" / "edits", root / "tests" / "edits", ignore=lambda *_: ["test_edits.py"])
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
        return try_edit(copy, found[after], choice.tests(found[after]), 60)

    assert tried("if amount <= 100:")[1:4] == (None, 2, 2)
    assert tried("return 0 if False else 3")[1:4] == (
        "tests/test_fees.py::test_process",
        1,
        1,
    )
    assert source.data == (copy.folder / source.file).read_bytes() == (root / source.file).read_bytes()
