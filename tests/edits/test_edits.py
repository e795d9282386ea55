"""Which decisions are edited, and how, and how a sample of them is taken."""

from collections import Counter
from pathlib import Path

import pytest

from tests.edits import decisions, values
from tests.edits.sampling import sample
from tests.edits.source import Edit, Source

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
