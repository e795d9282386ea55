"""A world that disagrees, at random: orders, subscriptions and escrow under every fault.

The application, customers, providers and their people do what they may, as a seed decides; then the
faults end, and everybody must agree to the minor unit. One seed repeats the examples of a run; real processes
have moments of their own (--no-processes leaves them out). A failure prints the seed and the steps.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.world import server, table
from jobctl import migrating
from jobctl.providers import transport
from jobctl.settings import Settings
from tests import postgres
from tests.disagreement.machine import AnyWorld
from tests.disagreement.stage import TOLD
from tests.world import World

KINDS = ("sqlite", "postgresql")


def plain(url: str) -> str:
    return url.replace("+psycopg", "", 1)


class Places:
    """Where the examples have their databases: copies of one that is migrated."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder, self.url = folder, url
        self.template = f"jobctl_disagreement_{uuid4().hex[:8]}"
        made = plain(postgres.create_database(url, self.template)) if url else None
        migrating.upgrade(Settings(jobctl_home=folder, database_url=made))

    @contextmanager
    def world(self, home: Path) -> Iterator[World]:
        home.mkdir()
        if not self.url:
            (home / "jobctl.db").write_bytes((self.folder / "jobctl.db").read_bytes())
            with World(Settings(jobctl_home=home)) as made:
                yield made
            return
        name = f"{self.template}_{home.name.rpartition('-')[2]}"
        url = plain(postgres.create_database(self.url, name, self.template))
        try:
            with World(Settings(jobctl_home=home, database_url=url)) as made:
                yield made
        finally:
            postgres.drop_database(self.url, name)


def trial(given: argparse.Namespace, places: Places, number: int) -> None:
    """Run the examples of one seed."""
    parts = {
        "worlds": staticmethod(places.world),
        "folder": places.folder,
        "processes": not given.no_processes,
    }
    machine = type("Machine", (AnyWorld,), parts)
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=given.examples,
            stateful_step_count=given.steps,
            database=None,
            deadline=None,
            print_blob=False,
            phases=[Phase.generate, *([Phase.shrink] if given.shrink else [])],
            suppress_health_check=list(HealthCheck),
        ),
    )


def attempt(given: argparse.Namespace, kind: str) -> tuple[object, ...]:
    began, before = time.monotonic(), TOLD.copy()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(server()) if kind == "postgresql" else None
        try:
            trial(given, Places(folder, url), given.seed)
        except BaseException:
            sys.stderr.write(f"seed {given.seed}, {given.examples} examples of {given.steps} steps, {kind}\n")
            raise
    done = TOLD - before
    names = ("examples", "steps", "runs", "processes", "kills", "meanwhile", "acts by hand")
    return (kind, given.seed, *(done[name] for name in names), f"{(time.monotonic() - began) / 60:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--shrink", action="store_true", help="look for a shorter way to a failure")
    parser.add_argument("--no-processes", action="store_true", help="run everything in this process")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", dest="kinds", action="append_const", const=kind)
    given = parser.parse_args()
    vars(transport)["PATIENCE"] = timedelta(0)  # repeats within a request are the transport's own tests
    rows = [attempt(given, kind) for kind in given.kinds or KINDS]
    header = (
        "",
        "seed",
        "examples",
        "steps",
        "runs",
        "processes",
        "kills",
        "meanwhile",
        "by hand",
        "minutes",
    )
    table("what there was", ("", "times"), sorted((name, n) for name, n in TOLD.items() if " " in name))
    table("everybody agreed in the end", header, rows)


if __name__ == "__main__":
    main()
