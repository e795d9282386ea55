"""Edits of statements: what is left early, called for its effect, told by keyword."""

import ast
from collections.abc import Iterator

from tests.edits.queries import LOCKING, name_of
from tests.edits.source import FUNCTIONS, Change, Source
from tests.edits.values import SQL_SWITCHES

# Named by keyword, and noted as facts: each of them is left out alone.
TELLING = {"update", "update_beside", "insert", "values", "notify", "finding", "add", "Ask"}


def edits(source: Source, node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Return() | ast.Continue() | ast.Break() | ast.Raise() if is_early(source, node):
            yield source.replaced("exit", node, "pass")
        case ast.Expr(value=ast.Call() as call) if not is_logging(call):
            yield source.replaced("statement", node, "pass")
        case ast.AugAssign():
            yield source.replaced("statement", node, "pass")
        case ast.Call(keywords=keywords) if keywords and not is_logging(node):
            yield from told(source, node)


def is_early(source: Source, node: ast.stmt) -> bool:
    """Tell whether more of the function, or of the loop, would follow."""
    parent = source.parents[node]
    if not isinstance(parent, FUNCTIONS):
        return True
    return parent.body[-1] is not node


def is_logging(call: ast.Call) -> bool:
    func = call.func
    return isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == "log"


def told(source: Source, node: ast.Call) -> Iterator[Change]:
    telling = name_of(node) in TELLING
    among = source.arguments(node)
    for each in node.keywords:
        switch = isinstance(each.value, ast.Constant) and each.value.value is True
        if each.arg in LOCKING | SQL_SWITCHES or switch or not telling:
            continue  # a kind of their own, or what mostly cannot be left out
        if len(among) > 1:
            yield source.without("fact", among, among.index(each))
        else:
            yield Change("fact", each, source.start(each), source.end(each), "")
