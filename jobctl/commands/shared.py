"""What operator commands share: opening the database, options, plain tables."""

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import click

from jobctl import logs, parsing, settings
from jobctl.output import readable, to_json
from jobctl.registry import JOBS
from jobctl.settings import Loaded


class Text(click.ParamType[Any]):
    """Text read by one of our strict parsers; what it refuses is a usage error."""

    def __init__(self, parse: Callable[[str], Any], name: str) -> None:
        self.parse, self.name = parse, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.parse(value) if isinstance(value, str) else value
        except ValueError as expected:
            self.fail(f"expected {expected}; got {value!r}", param, ctx)


NUMBER = Text(parsing.whole(1, 2**63 - 1), "number")  # of a row, or how many
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def loaded() -> Loaded:
    found = settings.load()
    logs.set_up(found.settings.log_format, 0, found.secrets)
    return found


def width(text: str) -> int:
    """Count the columns of a terminal that the text takes: wide characters take two, marks none."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Align rows under a header, two spaces between columns."""
    cells = [[readable(each) for each in row] for row in (header, *rows)]
    widths = [max(width(row[n]) for row in cells) for n in range(len(header))]
    padded = [
        "  ".join(cell + " " * (widths[n] - width(cell)) for n, cell in enumerate(row)) for row in cells
    ]
    return "\n".join(each.rstrip() for each in padded)


def show(header: Sequence[str], rows: Sequence[Sequence[Any]], *, json: bool, empty: str) -> None:
    """Print rows as a table, or as a JSON list of objects; `empty` says what there is not."""
    if json:
        click.echo(to_json([dict(zip(header, row, strict=True)) for row in rows]))
    else:
        click.echo(table([each.replace("_", " ") for each in header], rows) if rows else empty)


def job_argument(*others: str, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Take a job's name, or one of `others`."""
    names = click.Choice([*(each.name for each in JOBS), *others])
    return click.argument("job", metavar="JOB" if required else "[JOB]", type=names, required=required)
