"""What looking costs, before money is moved, whether it can be written down: 100 orders held on PostgreSQL.

Whole runs of session-payment-authorizer with and without the check (`unchecked.py`) take turns, each on a
fresh copy of the database, at a provider that takes 20 ms. Processor time is the run's own; that of
PostgreSQL is not in it. The check alone, and all of `db check`, are timed on new connections over loopback.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.payments import check, provider, seed, settings
from benchmarks.world import JOBCTL, Took, World, arguments, in_turns, median, postgres_world, server, table
from jobctl.checks.ready import all_lacks, refuse_unready
from jobctl.tables.sessions import orders

ORDERS, ROUNDS, QUICK = 100, 61, 5
ALONE = 5  # times as many of the check alone
UNLIMITED = 100_000  # requests a second
JOB = ("session-payment-authorizer", "--concurrency", "16")
SCRIPT = str(Path(__file__).with_name("unchecked.py"))


def run(source: World, *options: str) -> Took:
    """Hold all orders on a fresh copy of the database."""
    with source.copy() as world:
        took = world.take(sys.executable, SCRIPT, *options, *JOB)
        check(world, "authorized", ORDERS)
        return took


def alone(world: World, look: Callable[..., object], *given: object) -> float:
    """Time a look at the tables, in milliseconds, on a connection of its own."""
    with world.engine() as engine, engine.begin() as connection:
        began = time.perf_counter()
        look(connection, *given)
        return (time.perf_counter() - began) * 1e3


def runs_of(world: World, rounds: int) -> list[tuple[object, ...]]:
    sides = {"without": partial(run, world), "with": partial(run, world, "--checked")}
    in_turns(1, sides)  # compiles what isn't yet
    found = in_turns(rounds, sides)
    return [
        compared("wall time", *([each.wall for each in found[side]] for side in sides)),
        compared("processor time", *([each.cpu for each in found[side]] for side in sides)),
    ]


def compared(name: str, without: Sequence[float], checked: Sequence[float]) -> tuple[object, ...]:
    less, more = median(without) * 1e3, median(checked) * 1e3
    pairs = [b / a for a, b in zip(without, checked, strict=True)]
    return (name, less, more, more - less, more / less, median(pairs))


def looks_of(world: World, rounds: int) -> list[tuple[object, ...]]:
    looks: dict[str, Callable[[], float]] = {
        "before money of orders is moved": partial(alone, world, refuse_unready, orders),
        "all of db check": partial(alone, world, all_lacks),
        "the command jobctl db check": lambda: world.take(JOBCTL, "db", "check").wall * 1e3,
    }
    in_turns(1, looks)
    return [(name, median(each), min(each), max(each)) for name, each in in_turns(rounds, looks).items()]


def main() -> None:
    quick = arguments(__doc__).quick
    rounds = QUICK if quick else ROUNDS
    with (
        server() as url,
        provider() as address,
        postgres_world(url, **settings(address, UNLIMITED)) as world,
    ):
        seed(world, ORDERS)
        runs, looks = runs_of(world, rounds), looks_of(world, rounds * ALONE)
    table(
        f"{ORDERS} orders held, milliseconds, medians of {rounds} runs in turns",
        ("", "without", "with the check", "more", "ratio", "median of pairs"),
        runs,
    )
    table(f"The look alone, milliseconds, of {rounds * ALONE}", ("", "median", "least", "most"), looks)


if __name__ == "__main__":
    main()
