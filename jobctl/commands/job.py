"""A job as a command: the options that all jobs share, and their help."""

import gc
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from jobctl import parsing
from jobctl.commands.shared import NUMBER, Text
from jobctl.registry import Entry

if TYPE_CHECKING:
    from jobctl.errors import JobctlError
    from jobctl.output import Output
    from jobctl.settings import Settings

ROWS, RUNS, SAYS = "Which rows", "How it runs", "What it says"


class Grouped(click.Option):
    """An option under a heading of the help."""

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


def moment(parse: Callable[[str, datetime], datetime]) -> Text:
    # Ages are counted from here; the run compares with the database's clock, which is the one that counts.
    return Text(lambda text: parse(text, datetime.now(UTC)), "when")


def options() -> list[click.Parameter]:
    duration = Text(parsing.duration, "duration")
    return [
        Grouped(
            ["--since"],
            type=moment(parsing.since),
            metavar="WHEN",
            heading=ROWS,
            help="Only rows from then on: ISO 8601 (no offset: UTC), or an age such as 90m, 36h, 7d.",
        ),
        Grouped(["--limit"], type=NUMBER, metavar="N", heading=ROWS, help="Attempt at most N rows."),
        Grouped(
            ["--only"],
            metavar="ID",
            heading=ROWS,
            help="Only this row; all conditions still apply.",
        ),
        Grouped(
            ["-n", "--dry-run"],
            is_flag=True,
            heading=RUNS,
            help="Show what would be done; write nothing, send nothing.",
        ),
        Grouped(
            ["--as-of"],
            type=moment(parsing.as_of),
            metavar="WHEN",
            heading=RUNS,
            help="With --dry-run: ask the same of today's rows at another time: ISO 8601, or +24h from now.",
        ),
        Grouped(
            ["--every"],
            type=duration,
            metavar="DURATION",
            heading=RUNS,
            help="Repeat at this interval inside one process.",
        ),
        Grouped(
            ["--for", "lasting"],
            type=duration,
            metavar="DURATION",
            heading=RUNS,
            help="With --every: for how long; without: until stopped.",
        ),
        Grouped(["--share"], is_flag=True, heading=RUNS, help="Share the work with other runs that --share."),
        Grouped(
            ["--fail-if-locked"],
            is_flag=True,
            heading=RUNS,
            help="Exit 75, not 0, when another run has the job.",
        ),
        Grouped(["--json", "as_json"], is_flag=True, heading=SAYS, help="Print JSON, and nothing else."),
        Grouped(["-v", "--verbose"], count=True, heading=SAYS, help="Log events to stderr; -vv: all."),
        Grouped(["-q", "--quiet"], is_flag=True, heading=SAYS, help="Say nothing unless something failed."),
    ]


CONCURRENCY: dict[str, Any] = {
    "type": click.IntRange(1, 1000),
    "metavar": "N",
    "heading": RUNS,
    "help": "Calls under way at once.",
}


class JobCommand(click.Command):
    """A job's command; its help is made from the job's own file, and needs no database."""

    entry: Entry

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from jobctl.commands.job_help import write_description  # noqa: PLC0415 (only for help)

        write_description(self.entry, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading in (ROWS, RUNS, SAYS):
            rows = [
                each.get_help_record(ctx)
                for each in self.get_params(ctx)
                if getattr(each, "heading", SAYS) == heading and self.takes(each)
            ]
            with formatter.section(heading):
                formatter.write_dl([row for row in rows if row])

    def takes(self, option: click.Parameter) -> bool:
        """Tell whether the help names an option: --only is refused where it could mean several rows."""
        from jobctl.runner import tables_of  # noqa: PLC0415 (only for help)

        return option.name != "only" or len(tables_of(self.entry)) <= 1

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from jobctl.commands.job_help import write_reference  # noqa: PLC0415 (only for help)

        write_reference(self.entry, formatter)


def command(entry: Entry) -> click.Command:
    from jobctl.job import EffectStep, MoneyStep, SettleStep  # noqa: PLC0415 (a job's module imports it anyway)
    from jobctl.runner import steps_of  # noqa: PLC0415 (the same)

    params = options()
    if any(isinstance(step, EffectStep | MoneyStep | SettleStep) for step in steps_of(entry)):
        params.insert(3, Grouped(["--concurrency"], **CONCURRENCY))

    def callback(**given: Any) -> int:
        return invoke(entry, **given)

    made = JobCommand(entry.name, params=params, callback=callback, short_help=entry.summary)
    made.entry = entry
    return made


def invoke(entry: Entry, *, verbose: int, quiet: bool, **given: Any) -> int:
    from jobctl.errors import Exit, JobctlError  # noqa: PLC0415 (--help needs none of it)
    from jobctl.output import Output  # noqa: PLC0415 (the same)

    output = Output(as_json=given["as_json"], verbosity=-1 if quiet else verbose)
    try:
        return begin(entry, output, given)
    except (JobctlError, click.UsageError) as error:
        output.failed(entry.name, Exit(error.exit_code), str(error))
        raise


def begin(entry: Entry, output: "Output", given: dict[str, Any]) -> int:
    refuse_contradictions(given)
    from jobctl import logs, settings  # noqa: PLC0415 (--help needs none of it)
    from jobctl.runner import Invocation, run  # noqa: PLC0415 (the same)
    from jobctl.steps.running import Options, Stop  # noqa: PLC0415 (the same)

    gc.freeze()
    # A message is thousands of short-lived objects and hardly a cycle: look less often than by default.
    gc.set_threshold(20_000)
    gc.enable()
    try:
        loaded = settings.load()
    except settings.SettingsError as error:
        if error.rest and not given["dry_run"]:
            remember(error.rest, entry, error)
        raise
    logs.set_up(loaded.settings.log_format, output.verbosity, loaded.secrets)
    stop = Stop(loaded.settings.stop_grace)
    heed_signals(stop)
    options = Options(**given, verbosity=output.verbosity)
    return run(Invocation(entry, options, loaded.settings, output, stop))


def remember(rest: "Settings", entry: Entry, error: "JobctlError") -> None:
    """Leave a trace of a run that its settings kept from beginning, if the database can be written to."""
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 (only where something is wrong)

    from jobctl import circuits  # noqa: PLC0415 (the same)
    from jobctl.db import clock, open_database  # noqa: PLC0415 (the same)
    from jobctl.errors import JobctlError  # noqa: PLC0415 (the same)

    lost = suppress(JobctlError, DBAPIError)
    with lost, open_database(rest) as database, database.transaction() as connection:
        author = circuits.Author(entry.name, clock(connection))
        circuits.note(connection, author, circuits.refused(error), ())


def refuse_contradictions(given: dict[str, Any]) -> None:
    if given["as_of"] and not given["dry_run"]:
        raise click.UsageError("--as-of goes with --dry-run: a real run takes place now")
    if given["lasting"] and not given["every"]:
        raise click.UsageError("--for goes with --every")
    if given["every"] and given["dry_run"]:
        raise click.UsageError("--every doesn't go with --dry-run: a dry run shows one run")
    if given["since"] and given["since"] > datetime.now(UTC) and not given["as_of"]:
        raise click.UsageError("--since is in the future")


def heed_signals(stop: Any) -> None:
    """Stop in good order at the first SIGTERM or SIGINT; a second one ends the process at once."""
    from jobctl.errors import Exit  # noqa: PLC0415 (--help needs none of it)

    codes = {signal.SIGTERM: Exit.TERMINATED, signal.SIGINT: Exit.INTERRUPTED}

    def told(number: int, _frame: object) -> None:
        # Not the default action, which is none for process 1, as in a container.
        signal.signal(number, lambda again, _: os._exit(128 + again))
        stop.now(codes[signal.Signals(number)])

    for each in codes:
        signal.signal(each, told)
