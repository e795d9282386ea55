"""What a job's --help says of the job, made from its own file, its registry line and the settings."""

import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module

import click

from jobctl import settings
from jobctl.job import UNCLAIMED, Due, ListStep
from jobctl.registry import Entry
from jobctl.runner import SOME_TIME, by_text, due_steps, steps_of

EXIT_CODES = (
    ("0", "all done, nothing to do, a dry run, or another run has the job"),
    ("1", "unexpected error"),
    ("2", "wrong usage"),
    ("3", "done, but some rows failed and need someone"),
    ("4", "done, but what became of some money operations is unknown"),
    ("69", "database, provider or channel unreachable"),
    ("75", "another run has the job, with --fail-if-locked"),
    ("78", "settings, credentials or migrations wrong or missing"),
    ("130, 143", "interrupted; what is left is for the next run"),
)


def write_description(entry: Entry, formatter: click.HelpFormatter) -> None:
    formatter.write_paragraph()
    with formatter.indentation():
        about = inspect.getdoc(import_module(entry.module)) or entry.summary
        formatter.write("\n\n".join(filled(each, formatter) for each in about.split("\n\n")) + "\n")
    for due, title in zip(dues(entry), titles(entry), strict=True):
        with formatter.section(title):
            claimable = "claimed_by" in due.table.c
            for condition in (*due.when, *([UNCLAIMED] if claimable else [])):
                formatter.write_text(f"• {condition}")


def filled(paragraph: str, formatter: click.HelpFormatter) -> str:
    """Wrap a paragraph, but never within the name of a job."""
    indent = " " * formatter.current_indent
    text = " ".join(paragraph.split())
    return textwrap.fill(
        text, formatter.width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def dues(entry: Entry) -> list[Due]:
    return [step.due(SOME_TIME) for step in due_steps(entry)]


def titles(entry: Entry) -> list[str]:
    found = [due.table.name.replace("_", " ") for due in dues(entry)]
    return [f"A row of {name} is due when" for name in found]


def write_reference(entry: Entry, formatter: click.HelpFormatter) -> None:
    with formatter.section("What --since bounds"):
        if any(isinstance(step, ListStep) for step in steps_of(entry)):
            formatter.write_text("the start of the window that lists are asked for")
        bounded = [due.since_means or str(due.since) for due in dues(entry)]
        formatter.write_text(", ".join(dict.fromkeys(bounded)))
    with formatter.section("Recommended schedule"):
        formatter.write_text(f"{entry.cron}  {command_line(entry)}")
    with formatter.section("Settings and their defaults (jobctl config shows all)"):
        formatter.write_dl(list(settings_of(entry)))
    with formatter.section("Exit codes"):
        formatter.write_dl(EXIT_CODES)
    with formatter.section("Examples"):
        for example in examples(entry):
            formatter.write_text(example)


def command_line(entry: Entry) -> str:
    """Return the command as the recommended crontab line has it."""
    loop = f" --every {entry.every} --for 1m" if entry.every else ""
    return f"jobctl {entry.name} -q{loop}"


def settings_of(entry: Entry) -> Iterator[tuple[str, str]]:
    for each in settings.declared():
        if {each.name, each.metadata["group"]} & set(entry.reads):
            default = each.metadata["default"]
            yield settings.variable(each), f"{each.metadata['what']} [{default or 'empty'}]"


def examples(entry: Entry) -> Iterator[str]:
    yield f"jobctl {entry.name} --dry-run"
    bounded = any(each.since is not None for each in dues(entry)) or not dues(entry)
    yield f"jobctl {entry.name} {'--since 36h ' if bounded else ''}--limit 100"
    yield f"jobctl why {entry.name} {'abc123' if by_text(entry) else 17}"
