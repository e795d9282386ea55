"""Edits of what is read of the database: conditions, order, row locks, guards."""

import ast
from collections.abc import Iterator

from tests.edits.source import Change, Source

CONDITIONS = {"where", "filter", "having"}
DROPPED = {
    **dict.fromkeys(CONDITIONS, "query"),
    "order_by": "order",
    "distinct": "query",
    "limit": "query",
    "with_for_update": "lock",
    "on_conflict_do_nothing": "guard",
}
LOCKING = {"lock", "locks", "locks_first"}


def edits(source: Source, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Call):
        return
    if isinstance(node.func, ast.Attribute):
        yield from method(source, node, node.func)
    if name_of(node) == "Due" and len(node.args) > 1 and isinstance(node.args[1], ast.Dict):
        for n, condition in enumerate(node.args[1].values):
            yield leave_out(source, "due", node.args[1], n)._replace(node=condition)
    for each in node.keywords:
        if each.arg in LOCKING:
            yield from locking(source, node, each)


def name_of(node: ast.Call) -> str:
    func = node.func
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""


def method(source: Source, node: ast.Call, func: ast.Attribute) -> Iterator[Change]:
    kind = DROPPED.get(func.attr)
    if kind is None:
        return
    if func.attr in CONDITIONS and len(node.args) > 1:
        yield from (source.without(kind, node.args, n) for n in range(len(node.args)))
    else:
        yield Change(kind, node, source.end(func.value), source.end(node), "")
    if func.attr == "with_for_update":
        yield from waiting(source, node, func)


def waiting(source: Source, node: ast.Call, func: ast.Attribute) -> Iterator[Change]:
    """Wait for rows that would be passed over, and pass over those that would be waited for."""
    arguments = [source.text(each) for each in source.arguments(node)]
    start = source.end(func)
    for each in node.keywords:
        if each.arg is None and isinstance(each.value, ast.Call) and name_of(each.value) == "passing_over":
            tables = ", ".join(source.text(table) for table in each.value.args)
            yield Change("lock", node, start, source.end(node), f"(of=({tables},))")
            return
    if not any(each.arg is None for each in node.keywords):
        given = ", ".join([*arguments, "skip_locked=True"])
        yield Change("lock", node, start, source.end(node), f"({given})")


def locking(source: Source, node: ast.Call, given: ast.keyword) -> Iterator[Change]:
    if isinstance(given.value, ast.Constant) and isinstance(given.value.value, bool):
        yield source.replaced("lock", given.value, str(not given.value.value))
        return
    among = source.arguments(node)
    if len(among) > 1:
        yield source.without("lock", among, among.index(given))


def leave_out(source: Source, kind: str, node: ast.Dict, left_out: int) -> Change:
    """Leave out an entry; `**others` counts as one."""
    value = node.values[left_out]
    known = node.keys[left_out] or value
    starts = [entry_start(source, *pair) for pair in zip(node.keys, node.values, strict=True)]
    if len(starts) == 1:
        return source.replaced(kind, node, "{}")._replace(node=known)
    if left_out + 1 < len(starts):
        return Change(kind, known, starts[left_out], starts[left_out + 1], "")
    return Change(kind, known, source.end(node.values[left_out - 1]), source.end(value), "")


def entry_start(source: Source, key: ast.expr | None, value: ast.expr) -> int:
    return source.start(key) if key else source.data.rfind(b"**", 0, source.start(value))
