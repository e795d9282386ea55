"""Edits that change nothing a test could notice, each with the reason."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.edits.source import Edit

PATH = Path(__file__).with_name("equivalents.toml")


class Equivalent(NamedTuple):
    file: str
    function: str
    before: str
    after: str
    reason: str

    def fits(self, edit: Edit) -> bool:
        return self[:4] == (edit.file, edit.function, edit.before, edit.after)


@cache
def read(path: Path = PATH) -> Sequence[Equivalent]:
    with path.open("rb") as file:
        return [Equivalent(**each) for each in tomllib.load(file).get("equivalent", [])]


def reason_of(edit: Edit, known: Sequence[Equivalent]) -> str | None:
    return next((each.reason for each in known if each.fits(edit)), None)


def stale(known: Sequence[Equivalent], edits: Mapping[str, Sequence[Edit]]) -> list[Equivalent]:
    """Return those that fit no edit any more; edits: of each file."""
    return [each for each in known if not any(each.fits(edit) for edit in edits.get(each.file, ()))]
