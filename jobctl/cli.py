"""The command group, and the one place where errors and signals become exit codes.

A command's module is imported when the command is invoked: `jobctl --help` loads nothing but Click.
"""

import codecs
import gc
import importlib
import io
import os
import signal
import sys
from typing import Any, NoReturn

import click

from jobctl import __version__
from jobctl.registry import COMMANDS, JOBS

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """Jobs and operator commands, known by name and one line until one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [each.name for each in JOBS] + [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        for each in JOBS:
            if each.name == name:
                from jobctl.commands.job import command  # noqa: PLC0415 (lazy, see above)

                return command(each)
        for known, where, _ in COMMANDS:
            if known == name:
                module, _, attribute = where.partition(":")
                found: click.Command = getattr(importlib.import_module(module), attribute)
                return found
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Jobs"):
            formatter.write_dl([(each.name, each.summary) for each in JOBS])
        with formatter.section("Operator commands"):
            formatter.write_dl([(name, summary) for name, _, summary in COMMANDS])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in self.list_commands(ctx) and not name.startswith("-"):
            import difflib  # noqa: PLC0415 (only for this error)

            close = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"; did you mean {close[0]}?" if close else "; jobctl --help lists all"
            ctx.fail(f"there is no job or command {name!r}{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings=HELP)
@click.version_option(__version__, message="jobctl %(version)s")
def jobctl() -> None:
    """Run a marketplace's background jobs: one honest command each.

    Every job is safe to rerun at any moment, has --dry-run and its own --help; its exit code tells the
    truth. `jobctl demo` shows the jobs at work, `jobctl why JOB ROW` explains a row.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; leave with the exit code that the README documents."""
    if os.getpid() == 1:
        # In a container the kernel spares process 1 what it has no handler for, and imports take time.
        signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 (to the end)
    codecs.register_error("json", escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="json")
    # Nothing that is imported becomes garbage: collecting meanwhile would only cost time.
    gc.disable()
    code = guarded(arguments)
    drop_unwritten()
    sys.exit(code)


def escaped(error: UnicodeError) -> tuple[str, int]:
    r"""Write what a stream's encoding lacks as `\u2713`, which is sound in JSON as well."""
    import json  # noqa: PLC0415 (only where something is lacking)

    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def drop_unwritten() -> None:
    """Give up what stdout could not take: the interpreter would try again, and end with a code of its own."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def guarded(arguments: list[str] | None) -> int:
    try:
        result = jobctl.main(arguments, prog_name="jobctl", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.Abort, KeyboardInterrupt):
        from jobctl.logs import complain  # noqa: PLC0415 (lazy, see above)

        complain("interrupted")
        return 130
    except BrokenPipeError:
        # The reader went away (`| head`); what is still buffered has nowhere to go.
        sys.stdout = None
        return 0
    except Exception as error:  # noqa: BLE001 (the one place that tells the user of what nobody foresaw)
        return report(error)
    return int(result) if isinstance(result, int) else 0


def report(error: Exception) -> int:
    """Print an error in one sentence; return its exit code."""
    from jobctl.db import in_the_way  # noqa: PLC0415 (lazy, see above)
    from jobctl.errors import Exit, JobctlError  # noqa: PLC0415 (lazy, see above)
    from jobctl.logs import complain  # noqa: PLC0415 (lazy, see above)

    ours = error if isinstance(error, JobctlError) else in_the_way(error)
    if ours:
        complain(str(ours), "error")
        return int(ours.exit_code)
    if isinstance(error, PermissionError):
        complain(f"no permission for {error.filename}: {error.strerror}", "error")
        return int(Exit.MISCONFIGURED)
    import logging  # noqa: PLC0415 (lazy, see above)

    logging.getLogger("jobctl").debug("unexpected", exc_info=error)
    # Of a database error the driver's own words: SQLAlchemy's hold the statement.
    cause = getattr(error, "orig", None) or error
    said = f"{type(error).__name__}: {cause}".splitlines()[0]
    if cause is not error:
        said += "; jobctl db check tells whether the database lacks something"
    complain(f"unexpected error, please report it (-vv shows where): {said}", "error")
    return int(Exit.UNEXPECTED)
