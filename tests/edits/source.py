"""A file of the product as its syntax tree, and edits of it that know where they stand."""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.ClassDef)


Node = ast.expr | ast.stmt | ast.keyword | ast.pattern  # what has a place in the text


class Change(NamedTuple):
    """A piece of a file that becomes another one; offsets are in bytes."""

    kind: str
    node: ast.AST  # the decision, as far as it is left out or becomes another
    start: int
    end: int
    new: str


class Edit(NamedTuple):
    """One decision edited. Its id is the same wherever in the file its function moves."""

    id: str
    file: str
    line: int
    kind: str
    function: str
    before: str
    after: str
    start: int
    end: int
    new: str

    @property
    def twin_key(self) -> tuple[str, ...]:
        """Return what twins share: the same decision in functions of one name."""
        return self.kind, self.function.rpartition(".")[2], self.before, self.after

    def applied(self, data: bytes) -> bytes:
        return data[: self.start] + self.new.encode() + data[self.end :]

    def show(self) -> str:
        return f"{self.id} {self.file}:{self.line} {self.kind} in {self.function}"


class Source:
    def __init__(self, file: str, data: bytes) -> None:
        self.file, self.data = file, data
        self.tree = ast.parse(data)
        self._starts = [0, *accumulate(len(line) for line in data.splitlines(keepends=True))]

    @classmethod
    def read(cls, root: Path, file: str) -> "Source":
        return cls(file, (root / file).read_bytes())

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @cached_property
    def meaning(self) -> str:
        """Return what Python makes of it: the same for another layout."""
        return ast.dump(self.tree)

    def start(self, node: Node) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def end(self, node: Node) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: Node) -> str:
        return self.data[self.start(node) : self.end(node)].decode()

    def arguments(self, call: ast.Call) -> list[Node]:
        """Return what is given in a call, in the order of the text."""
        given: list[Node] = [*call.args, *call.keywords]
        return sorted(given, key=self.start)

    def replaced(self, kind: str, node: ast.expr | ast.stmt | ast.pattern, new: str) -> Change:
        return Change(kind, node, self.start(node), self.end(node), new)

    def enclosing(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function(self, node: ast.AST) -> str:
        """Name the functions and classes that a node stands in."""
        names = [each.name for each in self.enclosing(node) if isinstance(each, SCOPES)]
        return ".".join(reversed(names)) or "<module>"

    def in_function(self, node: ast.AST) -> bool:
        return any(isinstance(each, (*FUNCTIONS, ast.Lambda)) for each in self.enclosing(node))

    def line_of(self, offset: int) -> int:
        return self.data.count(b"\n", 0, offset) + 1

    def without(self, kind: str, among: Sequence[Node], left_out: int) -> Change:
        """Leave out one of several that commas or the like part."""
        node = among[left_out]
        if left_out + 1 < len(among):
            return Change(kind, node, self.start(node), self.start(among[left_out + 1]), "")
        return Change(kind, node, self.end(among[left_out - 1]), self.end(node), "")

    def edit(self, change: Change, nth: int = 0) -> Edit:
        """nth: of those that read the same."""
        first = self.data.rfind(b"\n", 0, change.start) + 1
        last = self.data.find(b"\n", change.end)
        last = len(self.data) if last < 0 else last
        old = self.data[first:last].decode()
        new = (self.data[first : change.start] + change.new.encode() + self.data[change.end : last]).decode()
        function, before, after = self.function(change.node), " ".join(old.split()), " ".join(new.split())
        named = "\0".join((self.file, function, change.kind, before, after, str(nth)))
        number = hashlib.sha256(named.encode()).hexdigest()[:8]
        line = self.line_of(change.start)
        return Edit(number, self.file, line, change.kind, function, before, after, *change[2:])
