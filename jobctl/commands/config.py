"""`jobctl config`: the effective settings, their origin, secrets masked."""

import difflib
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from jobctl import parsing, settings
from jobctl.commands.shared import as_json, loaded, show
from jobctl.logs import complain
from jobctl.settings import Loaded

SPANS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


@click.command()
@as_json
def config(*, as_json: bool) -> None:
    """Show the effective settings and where each comes from; secrets are masked."""
    found = loaded()
    rows = [row_of(each, found) for each in settings.declared()]
    show(("setting", "value", "origin", "meaning"), rows, json=as_json, empty="")
    known = [settings.variable(each) for each in settings.declared()]
    for name in found.strangers:
        if name == "JOBCTL_HOME":
            complain("JOBCTL_HOME in .env has no effect: only the real environment sets it")
            continue
        close = difflib.get_close_matches(name, known, n=1)
        if close:
            complain(f"{name} in .env is no setting; did you mean {close[0]}?")


def row_of(declaration: Any, found: Loaded) -> tuple[str, str | None, str, str]:
    name = settings.variable(declaration)
    value, secret = getattr(found.settings, declaration.name), declaration.metadata["secret"]
    if declaration.name == "database_url" and found.settings.database_file:
        value, secret = f"sqlite:///{found.settings.database_file}", False
    return name, written(value, secret=secret), found.origins[name], declaration.metadata["what"]


def written(value: Any, *, secret: bool) -> str | None:
    """Write a value as it is written in the environment."""
    if value is None:
        return None
    if secret:
        return parsing.masked(value) if isinstance(value, str) else "********"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, tuple):
        return ",".join(str(written(each, secret=False)) for each in value)
    return span(value) if isinstance(value, timedelta) else str(value)


def span(value: timedelta) -> str:
    seconds = value.total_seconds()
    for unit, size in SPANS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms"
