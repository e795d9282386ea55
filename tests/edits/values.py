"""Edits of values: tables of statuses and codes, constants, members of enumerations, defaults."""

import ast
import http
from collections.abc import Iterator, Mapping, Sequence

from tests.edits.queries import leave_out, name_of
from tests.edits.source import Change, Source

Siblings = Mapping[str, str]
SQL_SWITCHES = {"skip_locked"}
DECLARATIONS = {"Column", "Table", "dataclass", "one_of"}  # the migrations make the tables


def siblings(sources: Sequence[Source]) -> Siblings:
    """Name for each member of an enumeration, and each status in a table's tuple, the next one of its kind.

    Members are written as they are in code (`Exit.DONE`), statuses as their text.
    """
    groups = [[f"HTTPStatus.{each.name}" for each in http.HTTPStatus]]
    for source in sources:
        for node in source.tree.body:
            groups.append(members(node))
            if source.file.startswith("jobctl/tables/") and isinstance(node, ast.Assign):
                groups.append(strings(node.value))
    following: dict[str, str] = {}
    for group in groups:
        for this, other in zip(group, [*group[1:], *group[:1]], strict=True):
            if this != other:
                following.setdefault(this, other)
    return following


def members(node: ast.stmt) -> list[str]:
    if not isinstance(node, ast.ClassDef) or not any("Enum" in ast.unparse(base) for base in node.bases):
        return []
    assigned = [each.targets[0] for each in node.body if isinstance(each, ast.Assign)]
    return [f"{node.name}.{each.id}" for each in assigned if isinstance(each, ast.Name)]


def strings(node: ast.expr) -> list[str]:
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            pass
        case ast.Dict(keys=keys):
            parts = [each for each in keys if each]
        case _:
            return []
    return [each.value for each in parts if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def edits(source: Source, node: ast.AST, following: Siblings) -> Iterator[Change]:
    match node:
        case ast.Attribute(value=ast.Name()) if (name := source.text(node)) in following:
            yield source.replaced("constant", node, following[name])
        case ast.Constant():
            yield from of_constant(source, node, following)
        case ast.Dict():
            yield from of_dict(source, node)
        case ast.Tuple(ctx=ast.Load()) | ast.Set() | ast.List(ctx=ast.Load()):
            yield from of_collection(source, node)
        case ast.MatchOr(patterns=patterns):
            for each in patterns:
                rest = " | ".join(source.text(other) for other in patterns if other is not each)
                yield source.replaced("table", node, rest)._replace(node=each)
        case ast.FunctionDef(args=arguments):
            yield from of_defaults(source, arguments)


def of_constant(source: Source, node: ast.Constant, following: Siblings) -> Iterator[Change]:
    if isinstance(node.value, int):
        yield from of_number(source, node, node.value)
    elif isinstance(node.value, str) and node.value in following and is_value(source, node):
        yield source.replaced("constant", node, f'"{following[node.value]}"')


def of_defaults(source: Source, arguments: ast.arguments) -> Iterator[Change]:
    for each in (*arguments.defaults, *arguments.kw_defaults):
        if isinstance(each, ast.Constant) and isinstance(each.value, bool):
            yield source.replaced("default", each, str(not each.value))
        elif isinstance(each, ast.Constant) and isinstance(each.value, int):
            yield source.replaced("default", each, str(each.value + 1))


def is_value(source: Source, node: ast.Constant) -> bool:
    """Tell whether a status is given or compared with; what is a key or in a table is another kind's."""
    parent = source.parents[node]
    if isinstance(parent, ast.Call) and name_of(parent) in DECLARATIONS:
        return False
    return isinstance(
        parent, ast.Call | ast.Compare | ast.keyword | ast.Return | ast.IfExp | ast.MatchValue
    ) or (isinstance(parent, ast.Dict) and node in parent.values)


def of_number(source: Source, node: ast.Constant, number: int) -> Iterator[Change]:
    parent = source.parents[node]
    if isinstance(parent, ast.keyword):
        yield from of_keyword(source, node, parent)
        return
    if isinstance(number, bool):
        return
    if isinstance(parent, ast.Call) and name_of(parent) == "timedelta":
        yield source.replaced("limit", node, str(2 * number or 1))
    elif isinstance(parent, ast.BinOp):
        yield source.replaced("limit", node, "0" if number == 1 else str(number + 1))
    elif isinstance(parent, ast.Assign | ast.AnnAssign) and not source.in_function(node):
        yield source.replaced("limit", node, str(2 * number or 1))
    elif isinstance(parent, ast.Call) and name_of(parent) == "limit":
        yield source.replaced("limit", node, str(number + 1))


def of_keyword(source: Source, node: ast.Constant, given: ast.keyword) -> Iterator[Change]:
    call = source.parents[given]
    if not isinstance(call, ast.Call) or name_of(call) in DECLARATIONS:
        return
    if isinstance(node.value, bool):
        kind = "lock" if given.arg in SQL_SWITCHES else "keyword"
        yield source.replaced(kind, node, str(not node.value))
    elif isinstance(node.value, int) and name_of(call) == "timedelta":
        yield source.replaced("limit", node, str(2 * node.value or 1))


def of_dict(source: Source, node: ast.Dict) -> Iterator[Change]:
    parent = source.parents[node]
    if isinstance(parent, ast.Call) and name_of(parent) == "Due":
        return
    kind = "fact" if source.in_function(node) else "table"
    for n, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
        switch = isinstance(key, ast.Constant) and key.value in SQL_SWITCHES
        if switch and isinstance(value, ast.Constant):
            yield source.replaced("lock", value, str(not value.value))
        else:
            yield leave_out(source, kind, node, n)
    if kind == "table":
        yield from neighbours(source, node.values)


def of_collection(source: Source, node: ast.Tuple | ast.Set | ast.List) -> Iterator[Change]:
    """Leave out what is listed at module level, or looked for inside a function."""
    if source.in_function(node) and not is_looked_in(source.parents[node], node):
        return
    if any(isinstance(each, ast.Subscript) for each in source.enclosing(node)):
        return  # a type: Callable[[int], str]
    if isinstance(node, ast.Tuple) and len(node.elts) == 2 and not is_unpacked(source.parents[node]):
        for kept, lost in (node.elts, reversed(node.elts)):
            yield source.replaced("table", node, f"({source.text(kept)},)")._replace(node=lost)
    elif len(node.elts) > 1 and not is_unpacked(source.parents[node]):
        yield from (source.without("table", node.elts, n) for n in range(len(node.elts)))
    yield from neighbours(source, [each for each in node.elts if isinstance(each, ast.Constant | ast.Name)])


def is_looked_in(parent: ast.AST, node: ast.expr) -> bool:
    return (
        isinstance(parent, ast.Compare)
        and isinstance(parent.ops[-1], ast.In | ast.NotIn)
        and parent.comparators[-1] is node
    )


def is_unpacked(parent: ast.AST) -> bool:
    """Tell whether it only gives several names their values at once."""
    return isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Tuple)


def neighbours(source: Source, values: Sequence[ast.expr]) -> Iterator[Change]:
    """Give each the value of the one after it."""
    for this, other in zip(values, [*values[1:], *values[:1]], strict=True):
        if source.text(this) != source.text(other):
            yield source.replaced("table", this, source.text(other))
