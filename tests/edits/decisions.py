"""Every edit of every decision in files of the product."""

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from tests.edits import expressions, queries, statements, values
from tests.edits.source import FUNCTIONS, Change, Edit, Source

KINDS = (
    "arithmetic",
    "boolean",
    "claim",
    "comparison",
    "condition",
    "constant",
    "default",
    "due",
    "exit",
    "extreme",
    "fact",
    "guard",
    "keyword",
    "limit",
    "lock",
    "not",
    "order",
    "query",
    "statement",
    "table",
)
CLAIM = "claimed_by"
# What leaves out, or turns round, a condition or a fact: of a kind of its own where that is of a claim.
OF_CLAIMS = {"boolean", "comparison", "query", "fact", "not", "due"}


def product(root: Path) -> list[str]:
    return sorted(each.relative_to(root).as_posix() for each in (root / "jobctl").rglob("*.py"))


def tests(root: Path) -> list[Source]:
    return read(root, sorted(each.relative_to(root).as_posix() for each in (root / "tests").rglob("*.py")))


def chosen_files(root: Path, globs: Sequence[str]) -> list[str]:
    """`*` crosses folders; a folder's name means all in it."""
    wanted = [f"{each.rstrip('/')}/*" if (root / each).is_dir() else each for each in globs]
    return [each for each in product(root) if any(fnmatch(each, glob) for glob in wanted)]


def read(root: Path, files: Sequence[str]) -> list[Source]:
    return [Source.read(root, each) for each in files]


def all_edits(source: Source, following: values.Siblings) -> list[Edit]:
    """Name each edit once, in the order of the file, whether or not it compiles (`is_sound`)."""
    met: Counter[tuple[str, ...]] = Counter()
    found: dict[tuple[int, int, str], Edit] = {}
    claims = cache(names_of_claims)
    for change in sorted(changes(source, following), key=lambda each: (each.start, each.end, each.new)):
        place = (change.start, change.end, change.new)
        if place in found:
            continue
        around = next((each for each in source.enclosing(change.node) if isinstance(each, FUNCTIONS)), None)
        if change.kind in OF_CLAIMS and is_of_claim(change.node, claims(around) if around else set()):
            change = change._replace(kind="claim")  # noqa: PLW2901 (the same change, told apart)
        first = source.edit(change)
        same = (first.function, first.kind, first.before, first.after)
        found[place] = source.edit(change, met[same]) if met[same] else first
        met[same] += 1
    return list(found.values())


def changes(source: Source, following: values.Siblings) -> Iterator[Change]:
    for node in walk(source.tree):
        yield from queries.edits(source, node)
        yield from expressions.edits(source, node)
        yield from values.edits(source, node, following)
        yield from statements.edits(source, node)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Pass over what decides nothing: annotations, asserts, imports for types, pieces of texts."""
    yield node
    skipped: list[ast.AST | None] = []
    if isinstance(node, ast.AnnAssign):
        skipped = [node.annotation]
    elif isinstance(node, FUNCTIONS):
        skipped = [node.returns]
    for child in ast.iter_child_nodes(node):
        if child not in skipped and not decides_nothing(child):
            yield from walk(child)


def decides_nothing(node: ast.AST) -> bool:
    match node:
        case ast.arg() | ast.Assert() | ast.JoinedStr() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.Import() | ast.ImportFrom():
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log"))):
            return True
    return False


def names_of_claims(tree: ast.AST) -> set[str]:
    """Return the names that stand for a condition on a claim, in one function."""
    assigned = [
        each for each in ast.walk(tree) if isinstance(each, ast.Assign) and is_of_claim(each.value, set())
    ]
    return {name.id for each in assigned for name in each.targets if isinstance(name, ast.Name)}


def is_of_claim(node: ast.AST, names: set[str]) -> bool:
    return any(
        (isinstance(each, ast.Attribute) and each.attr == CLAIM)
        or (isinstance(each, ast.keyword) and each.arg == CLAIM)
        or (isinstance(each, ast.Constant) and each.value == CLAIM)
        or (isinstance(each, ast.Name) and each.id in names)
        for each in ast.walk(node)
    )


def is_sound(edit: Edit, source: Source) -> bool:
    """Tell whether the file still compiles, and says something else."""
    try:
        made = ast.parse(edit.applied(source.data))
        compile(made, edit.file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return ast.dump(made) != source.meaning
