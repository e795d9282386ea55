"""Where a name of a module is used: what is worked out at import no test runs over by itself."""

import ast
from collections.abc import Iterator, Mapping

from tests.edits.source import FUNCTIONS, SCOPES, Source

Node = ast.Name | ast.Attribute


def module_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def bound_by(source: Source, statement: ast.stmt) -> set[str]:
    """Return the names that a statement at module or class level binds, and those of classes around it."""
    around = [each for each in (statement, *source.enclosing(statement)) if isinstance(each, SCOPES)]
    stored = [
        each.id
        for each in ast.walk(statement)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    ]
    return {*stored, *(each.name for each in around)}


def users(sources: Mapping[str, Source], source: Source, names: set[str]) -> Iterator[tuple[Source, Node]]:
    """Find the functions that use the names, through other names that are made of them, too."""
    met, left = set[tuple[str, str]](), [(source.file, name) for name in sorted(names)]
    while left:
        file, name = left.pop()
        if (file, name) in met:
            continue
        met.add((file, name))
        for user in sources.values():
            for node in references(user, file, name):
                if around := [each for each in user.enclosing(node) if isinstance(each, FUNCTIONS)]:
                    yield user, node
                    if is_called_at_import(user, around[-1].name):
                        left.append((user.file, around[-1].name))
                    continue
                statement = next(each for each in user.enclosing(node) if isinstance(each, ast.stmt))
                left += [(user.file, other) for other in sorted(bound_by(user, statement))]


def references(user: Source, file: str, name: str) -> Iterator[Node]:
    here = names_here(user, file, name)
    modules = modules_here(user, module_of(file))
    if not here and not modules:
        return
    for node in user.parents:
        match node:
            case ast.Name(id=found, ctx=ast.Load()) if found in here:
                yield node
            case ast.Attribute(value=ast.Name(id=module), attr=found) if found == name and module in modules:
                yield node


def names_here(user: Source, file: str, name: str) -> set[str]:
    if user.file == file:
        return {name}
    return {alias.asname or name for alias in imports(user, module_of(file)) if alias.name == name}


def is_called_at_import(source: Source, name: str) -> bool:
    """Tell whether a function of a module is used where no function is: no test runs over that, either."""
    uses = references(source, source.file, name)
    return any(not any(isinstance(each, FUNCTIONS) for each in source.enclosing(node)) for node in uses)


def imports_any(user: Source, file: str, names: set[str]) -> bool:
    return any(names_here(user, file, each) for each in names) or bool(modules_here(user, module_of(file)))


def modules_here(user: Source, module: str) -> set[str]:
    package, _, last = module.rpartition(".")
    return {alias.asname or last for alias in imports(user, package) if alias.name == last}


def imports(user: Source, module: str) -> Iterator[ast.alias]:
    for node in user.parents:
        if isinstance(node, ast.ImportFrom) and node.module == module:
            yield from node.names
