"""What a table is like: as the migrations make it, and as it is found.

What the migrations make is kept in a file for each kind of database, in its own words: nobody else says a
CHECK, or the condition of an index, in a form that compares. `python -m tests.declared` writes the files,
from databases that `db upgrade` made; a test tells when they are out of date.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

NUMBERED = "numbered by the database"  # a default: whatever sequence it is that numbers the rows


class Column(NamedTuple):
    type: str
    required: bool  # NOT NULL
    default: str | None = None
    generated: str | None = None


@dataclass
class Shape:
    """A table; of everything but columns the definition counts, not the name that it goes by."""

    domain: str = ""  # the file of jobctl/tables that declares it
    columns: dict[str, Column] = field(default_factory=dict)
    unique: dict[str, str] = field(default_factory=dict)  # constraints and indexes
    indexes: dict[str, str] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # foreign keys
    triggers: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)  # what the triggers of that name call


class Sequence(NamedTuple):
    """What numbers the rows of a table on PostgreSQL."""

    column: str
    name: str
    next: int | None  # None: jobctl's role may not know
    highest: int | None  # the highest number there is
    usable: bool


@dataclass
class Found(Shape):
    """A table as it is, of which only what is in force is told of as the table's."""

    kind: str = "table"
    lasting: bool = True  # not: emptied after a crash
    filtered: bool = False  # row-level security hides rows from jobctl's role
    refused: list[str] = field(default_factory=list)  # rights that jobctl's role lacks
    role: str = ""  # as which jobctl is there
    idle: set[str] = field(default_factory=set)  # constraints and triggers that are switched off
    unchecked: list[str] = field(default_factory=list)  # constraints that old rows were not held against
    names: set[str] = field(default_factory=set)  # of all that there is, in force or not
    sequences: list[Sequence] = field(default_factory=list)


def declared(dialect: str) -> dict[str, Shape]:
    told = json.loads(stored(dialect).read_text(encoding="utf-8"))
    for each in told.values():
        each["columns"] = {name: Column(*column) for name, column in each["columns"].items()}
    return {name: Shape(**each) for name, each in told.items()}


def stored(dialect: str) -> Path:
    return Path(__file__).with_name(f"{dialect}.json")


def written(shapes: Mapping[str, Shape]) -> str:
    """Write shapes as the file has them."""
    told = {name: {key: part for key, part in asdict(each).items() if part} for name, each in shapes.items()}
    return laid_out(told) + "\n"


def laid_out(value: Any, indent: str = "") -> str:
    """Write JSON, each part of an object on a line of its own."""
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    inner = f"{indent} "
    parts = [f"{inner}{json.dumps(name)}: {laid_out(each, inner)}" for name, each in sorted(value.items())]
    return "\n".join(["{", ",\n".join(parts), f"{indent}}}"])
