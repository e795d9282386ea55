"""Edits of expressions: comparisons, boolean operators, conditions, arithmetic."""

import ast
import builtins
from collections.abc import Iterator

from tests.edits.source import Change, Source

OPERATORS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
SQL_OPERATORS = {"is_": "is_not", "is_not": "is_", "in_": "not_in", "not_in": "in_"}
BINARY: dict[type[ast.operator], tuple[str, str, str]] = {
    ast.BitAnd: ("boolean", "&", "|"),
    ast.BitOr: ("boolean", "|", "&"),
    ast.Add: ("arithmetic", "+", "-"),
    ast.Sub: ("arithmetic", "-", "+"),
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "and_": "or_", "or_": "and_"}


def edits(source: Source, node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare():
            yield from comparison(source, node)
        case ast.BoolOp():
            yield from boolean(source, node)
        case ast.BinOp():
            yield from binary(source, node)
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            yield source.replaced("not", node, f"({source.text(node.operand)})")
        case ast.Call():
            yield from call(source, node)
    for test, values in conditions(node):
        yield from forced(source, test, *values)


def conditions(node: ast.AST) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    """Give what decides on going on, with what it is to be instead; a loop that never ends tells nothing."""
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.match_case(guard=ast.expr() as test):
            yield test, ("True", "False")
        case ast.While(test=test):
            yield test, ("False",)
        case ast.comprehension(ifs=tests):
            yield from ((each, ("True", "False")) for each in tests)


def between(
    source: Source, kind: str, sides: tuple[ast.expr, ast.expr], old: str, new: str
) -> Iterator[Change]:
    """Replace the operator between two operands; nothing where a comment there makes it doubtful."""
    start, end = source.end(sides[0]), source.start(sides[1])
    gap = source.data[start:end].decode()
    if gap.count(old) == 1:
        yield Change(kind, source.parents[sides[1]], start, end, gap.replace(old, new))


def comparison(source: Source, node: ast.Compare) -> Iterator[Change]:
    operands = [node.left, *node.comparators]
    for left, right, operator in zip(operands, node.comparators, node.ops, strict=False):
        yield from between(source, "comparison", (left, right), *OPERATORS[type(operator)])


def boolean(source: Source, node: ast.BoolOp) -> Iterator[Change]:
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    texts = [f"({source.text(each)})" for each in node.values]
    for n, each in enumerate(node.values):
        rest = texts[:n] + texts[n + 1 :]
        kept = f"({f' {word} '.join(rest)})" if len(rest) > 1 else rest[0]
        yield source.replaced("boolean", node, kept)._replace(node=each)
    yield source.replaced("boolean", node, f"({f' {other} '.join(texts)})")


def binary(source: Source, node: ast.BinOp) -> Iterator[Change]:
    if type(node.op) not in BINARY or is_text(node.left) or is_text(node.right):
        return
    kind, old, new = BINARY[type(node.op)]
    types = kind == "boolean" and is_type(node)
    if types and not is_asked(source, node):
        return
    if not types:
        yield from between(source, kind, (node.left, node.right), old, new)
    if kind == "boolean":
        for kept, lost in ((node.left, node.right), (node.right, node.left)):
            yield source.replaced(kind, node, f"({source.text(kept)})")._replace(node=lost)


def is_type(node: ast.expr) -> bool:
    """Tell whether it is a union of types rather than of conditions."""
    match node:
        case ast.BinOp(left=left, right=right):
            return is_type(left) or is_type(right)
        case ast.Constant(value=None) | ast.Subscript():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name[:1].isupper() or isinstance(getattr(builtins, name, None), type)
    return False


def is_asked(source: Source, node: ast.AST) -> bool:
    """Tell whether a union of types decides something: `isinstance(answer, Succeeded | Declined)`."""
    calls = [each for each in source.enclosing(node) if isinstance(each, ast.Call)]
    return bool(calls) and isinstance(calls[0].func, ast.Name) and calls[0].func.id == "isinstance"


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def call(source: Source, node: ast.Call) -> Iterator[Change]:
    name = node.func
    if isinstance(name, ast.Attribute) and name.attr in SQL_OPERATORS:
        end = source.end(name)
        yield Change("comparison", node, end - len(name.attr), end, SQL_OPERATORS[name.attr])
    if not isinstance(name, ast.Name):
        return
    if name.id in NAMES:
        kind = "boolean" if name.id.endswith("_") else "extreme"
        yield source.replaced(kind, name, NAMES[name.id])._replace(node=node)
    if name.id in ("and_", "or_") and len(node.args) > 1:
        yield from (source.without("boolean", node.args, n) for n in range(len(node.args)))
    if name.id in ("sorted", "reversed") and node.args:
        yield source.replaced("order", node, f"list({source.text(node.args[0])})")


def forced(source: Source, test: ast.expr, *values: str) -> Iterator[Change]:
    binds = any(isinstance(each, ast.NamedExpr) for each in ast.walk(test))
    for value in values:
        yield source.replaced("condition", test, f"(({source.text(test)}), {value})[1]" if binds else value)
