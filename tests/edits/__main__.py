"""The command line: `python -m tests.edits record`, then `python -m tests.edits run`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from tests.edits import decisions, equivalents, reporting
from tests.edits.running import DEFAULT, Checkout, Wanted, run_all

ROOT = Path(__file__).parents[2]
FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=ROOT / ".edits",
    help="Where recordings and results are kept; .edits in the checkout else.",
)


@click.group(context_settings={"max_content_width": 110})
def main() -> None:
    """Edit one decision at a time, and tell what no test notices."""


@main.command()
@click.argument("paths", nargs=-1)
@click.option("--jobs", type=click.IntRange(1), default=2, help="Processes that run tests at once.")
@FOLDER
def record(paths: tuple[str, ...], jobs: int, folder: Path) -> None:
    """Note which tests run over which lines: of the whole suite, or of PATHS, beside what is there.

    A test that is recorded again counts as it was recorded last. Lines may move meanwhile; of those that
    change, the tests of their function are taken. Tests that fail here are never chosen.
    """
    from tests.edits.recording import record as record_tests  # noqa: PLC0415 (coverage alone is needed here)

    made = record_tests(ROOT, folder / "recordings", paths, jobs)
    failed = [each.id for each in made.tests if not each.passed]
    click.echo(
        f"{len(made.tests)} tests were recorded, {len(failed)} of which didn't pass and are never chosen"
    )
    for each in failed:
        click.echo(f"  {each}")


def options(command: Callable[..., None]) -> Callable[..., None]:
    several: dict[str, Any] = {"multiple": True, "metavar": "…"}
    for each in reversed(
        (
            click.option(
                "--files", **several, help="Globs or folders; the code about money and messages else."
            ),
            click.option(
                "--kind", **several, type=click.Choice(decisions.KINDS), help="Only of these kinds."
            ),
            click.option("--ids", **several, help="These edits, also where they were tried before."),
            click.option("--all-locks", is_flag=True, help="Each row lock, one by one, in all of jobctl."),
            click.option("--seed", default=1, help="Another seed takes another sample."),
            click.option("--number", default=40, help="How many edits; 0: every one."),
            click.option("--jobs", type=click.IntRange(1), default=1, help="Edits tried at once."),
            click.option("--time-limit", default=120, help="Seconds that the tests of one edit may take."),
            click.option(
                "--json", "json_file", type=click.Path(path_type=Path), help="Write the report there too."
            ),
            click.option("--list", "only_list", is_flag=True, help="List the edits, try none."),
            FOLDER,
        )
    ):
        command = each(command)
    return command


class Given(NamedTuple):
    """What the options of `run` say."""

    files: tuple[str, ...]
    kind: tuple[str, ...]
    ids: tuple[str, ...]
    all_locks: bool
    seed: int
    number: int
    jobs: int
    time_limit: int
    json_file: Path | None
    only_list: bool
    folder: Path


@main.command()
@options
def run(**given: Any) -> None:
    """Try edits, and tell which of them no test noticed. Exit code 1 where there are any."""
    told = Given(**given)
    everywhere = told.all_locks or bool(told.ids)
    checkout = Checkout(ROOT, told.files or (("jobctl",) if everywhere else DEFAULT))
    kinds = ("lock",) if told.all_locks else told.kind
    edits, left_out = checkout.chosen(Wanted(kinds, told.ids, told.seed, 0 if everywhere else told.number))
    for each in checkout.stale():
        click.echo(f"stale in {equivalents.PATH.name}: {each.file}, {each.function}: {each.before}", err=True)
    if told.only_list:
        reporting.listed([*edits, *left_out], checkout.reason)
        return
    tried = run_all(checkout, edits, told.folder, jobs=told.jobs, limit=told.time_limit, again=bool(told.ids))
    reporting.tell(tried)
    if left_out:
        click.echo(f"{len(left_out)} equivalent ones were left out: python -m tests.edits equivalents")
    if told.json_file:
        reporting.write(told.json_file, tried, left_out)
    sys.exit(bool(reporting.unnoticed(tried)))


@main.command("equivalents")
def list_equivalents() -> None:
    """Print the edits that nothing can notice, with the reasons, and those that fit no line any more."""
    known = equivalents.read()
    stale = Checkout(ROOT, ()).stale()
    for each in known:
        word = "STALE " if each in stale else ""
        click.echo(
            f"{word}{each.file}, {each.function}\n  - {each.before}\n  + {each.after}\n  {each.reason}\n"
        )
    sys.exit(bool(stale))


if __name__ == "__main__":
    main(prog_name="python -m tests.edits")
