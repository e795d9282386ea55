"""What a run prints: text for people, with --json one JSON document and nothing else."""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

import click

from jobctl.errors import Exit
from jobctl.history import RunRecord, outcome_of
from jobctl.logs import complain, redact, redacted
from jobctl.money import Money

if TYPE_CHECKING:
    from jobctl.steps.showing import Shown

SHOWN = 20  # rows of a dry run on a terminal


def plain(value: Any) -> Any:
    """Bring a column's value into JSON."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value if isinstance(value, str | int | float | bool | dict | list | None) else str(value)


def to_json(value: Any) -> str:
    return json.dumps(redacted(value), default=plain, ensure_ascii=False)


def readable(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, Mapping):
        return " ".join(f"{name}={readable(each)}" for name, each in value.items())
    return legible(str(value))


def legible(text: str) -> str:
    """Write text on one line, control characters by their escapes: it may be anybody's."""
    if text.isprintable():
        return text
    spaced = (" " if each == "\n" else each for each in text)
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in spaced)


@dataclass
class Output:
    """Where and how one invocation reports."""

    as_json: bool = False
    verbosity: int = 0
    shown: int = 0
    told: bool = False  # whether the job said what it came to in words of its own
    begun: bool = False  # whether the rows of a dry run are being printed, as one JSON document
    counts: dict[str, int] = field(default_factory=dict)
    amounts: Counter[tuple[str, str]] = field(default_factory=Counter)  # of a dry run, in minor units

    @property
    def talks_when_idle(self) -> bool:
        return self.verbosity > 0 or (self.verbosity == 0 and sys.stdout.isatty())

    def talks(self, record: RunRecord) -> bool:
        """Tell whether a run that went well ends with a sentence."""
        did_something = record.id is not None and self.verbosity >= 0
        return not self.told and (did_something or self.talks_when_idle)

    @property
    def aside(self) -> IO[str]:
        """Return where a job prints what is not its report: with --json, stdout is JSON and nothing else."""
        return sys.stderr if self.as_json else sys.stdout

    def overlapped(self, job: str, held_by: str) -> None:
        if self.as_json:
            said = held_by.strip(" ()")
            say(to_json({"job": job, "outcome": "overlap", "exit_code": 0, "counts": {}, "held_by": said}))
        elif self.talks_when_idle:
            say(f"{job}: another run has its lock{held_by}; nothing was done.")

    def failed(self, job: str, exit_code: Exit, complaint: str) -> None:
        """With --json tell on stdout too of what ended the job before its summary."""
        if not self.as_json:
            return
        told = {**as_document(RunRecord(job, {}), exit_code, [complaint]), "counts": self.counts}
        if self.begun:
            del told["job"]
        say(f"\n], {to_json(told)[1:]}" if self.begun else to_json(told))

    def summary(self, record: RunRecord, exit_code: Exit, complaints: Sequence[str]) -> None:
        for each in complaints:
            complain(each)
        if self.as_json:
            say(to_json(as_document(record, exit_code, complaints)))
        elif exit_code or self.talks(record):
            for each in (*drift(record), redact(sentence(record, exit_code))):
                say(each)

    def tell(self, lines: str) -> None:
        """Print lines of the job's own; they then stand for the sentence, unless something failed."""
        if self.verbosity >= 0:
            self.told = True
            say(redact(lines), self.aside)

    @contextmanager
    def preview(self, record: RunRecord) -> Iterator[Callable[["Shown"], None]]:
        """Take the rows of a dry run one by one, print them as they come, and the totals at the end."""
        if self.as_json:
            click.echo(f'{{"job": {json.dumps(record.job)}, "dry_run": true, "rows": [', nl=False)
            self.begun = True
        yield self.show
        if self.as_json:
            sums = [
                {"kind": kind, "currency": currency, "amount_minor": minor}
                for (kind, currency), minor in self.amounts.items()
            ]
            counts = {**self.counts, **record.counts}
            told = {"counts": counts, "amounts": sums, "drift": record.drift_document()}
            click.echo(f"\n], {to_json(told)[1:]}")
        elif self.counts or self.talks_when_idle:
            click.echo(self.totals(record))

    def show(self, row: "Shown") -> None:
        self.counts[row.outcome] = self.counts.get(row.outcome, 0) + 1
        told = row.money or row.request
        if (minor := told.get("amount_minor")) is not None:
            self.amounts[row.request.get("kind") or row.outcome, told["currency"]] += minor
        self.shown += 1
        if self.as_json:
            click.echo(("\n" if self.shown == 1 else ",\n") + to_json(vars(row)), nl=False)
        elif self.shown <= SHOWN:
            click.echo(redact(line(row)))

    def totals(self, record: RunRecord) -> str:
        more = f"… and {self.shown - SHOWN} more (--json shows all)\n" if self.shown > SHOWN else ""
        more += "".join(f"{each}\n" for each in drift(record))
        counts = {**self.counts, **record.counts}.items()
        counted = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in counts)
        sums = "".join(
            f"; {kind}: {Money(minor, currency)}" for (kind, currency), minor in self.amounts.items()
        )
        return f"{more}{record.job}, dry run: {counted or 'nothing is due'}{sums}; nothing was changed."


def say(text: str, out: IO[str] | None = None) -> None:
    """Print what a run came to; where it cannot be written, the exit code still has to tell the truth."""
    try:
        click.echo(text, out)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), (out or sys.stdout).fileno())


def line(row: "Shown") -> str:
    facts = [f"{name}={readable(value)}" for name, value in row.request.items()]
    facts += [
        f"{name}: {readable(row.before.get(name))} → {readable(value)}" for name, value in row.after.items()
    ]
    money = [str(Money(row.money["amount_minor"], row.money["currency"]))] if row.money else []
    return f"{row.table} {readable(row.row_id)}  {row.outcome}  {'  '.join([*money, *facts])}".rstrip()


def as_document(record: RunRecord, exit_code: Exit, complaints: Sequence[str]) -> Mapping[str, Any]:
    return {
        "job": record.job,
        "run": record.id,
        "outcome": outcome_of(exit_code),
        "exit_code": int(exit_code),
        "counts": dict(record.counts),
        "drift": record.drift_document(),
        "errors": record.errors,
        "findings": record.findings,
        "complaints": list(complaints),
    }


def drift(record: RunRecord) -> Iterator[str]:
    """Say in money what was found to differ here and at payment providers."""
    return map(drift_sentence, record.drift_document())


def drift_sentence(each: Mapping[str, Any]) -> str:
    """Say one part of it, as it is in run records: `1 payment of 500.00 RUB succeeded … and was …`."""
    amount, number = Money(each["amount_minor"], each["currency"]), each["payments"]
    if number == 1:
        return f"1 payment of {amount} {each['what']}."
    return f"{number:,} payments of {amount} in all {each['what']}.".replace(" was ", " were ")


def sentence(record: RunRecord, exit_code: Exit) -> str:
    most_first = sorted(record.counts.items(), key=lambda each: (-each[1], each[0]))
    counted = ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in most_first if count)
    stopped = " before it was stopped" if exit_code in (Exit.INTERRUPTED, Exit.TERMINATED) else ""
    nothing = "nothing was done" if exit_code else "nothing was due"
    said = f"{record.job}: {counted or nothing}{stopped}."
    failed = record.errors - record.findings
    left = [f"{failed:,} failed: jobctl runs show {record.id}"] if failed else []
    left += [f"{record.findings:,} for a person to decide: jobctl findings list"] if record.findings else []
    if left:
        return f"{said} {'; '.join(left)}"
    return f"{said} More: jobctl runs show {record.id}" if exit_code and record.id else said
