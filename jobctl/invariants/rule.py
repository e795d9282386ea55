"""What all rules are."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Table


@dataclass(frozen=True)
class Rule:
    """Something that is always true of the rows of a table, between any two transactions.

    broken: selects the rows that break it, and no others: their `id`, and the facts that show it, none of
    them personal.
    """

    module: str
    about: str | None  # the module's docstring, whose first line is the rule
    table: Table
    broken: Select[Any]

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2].replace("_", "-")

    @property
    def sentence(self) -> str:
        return (self.about or "").partition("\n")[0]
