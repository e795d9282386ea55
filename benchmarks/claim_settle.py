"""Claim and settle messages: jobctl's frame against SQL by hand that leaves the same rows.

Nothing is sent on either side. By hand means `claim_settle.sql`, 1000 rows at a time inside the
server; jobctl sends every row through `ask`, a pool thread and `settle`, with at most --concurrency of
them claimed at any moment. "With templates" is the whole notification-sender but for its channel.
"""

import io
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

from benchmarks.world import MAIL, World, arguments, in_turns, median, postgres_world, server, table
from jobctl.output import Output
from jobctl.registry import Entry
from jobctl.runner import Invocation, run
from jobctl.settings import load
from jobctl.steps.running import Options, Stop

ROWS, QUICK, ROUNDS, BATCH = 50_000, 10_000, 3, 1000
CONCURRENCIES = (16, 100, 500)
HAND = Path(__file__).with_suffix(".sql")
# What both sides must leave alike, whatever the moment and the run.
LEFT = {
    "notifications": "SELECT status, attempts, claimed_by, settled_at IS NULL, reason, count(*) "
    "FROM notifications GROUP BY 1, 2, 3, 4, 5",
    "audit_trail": "SELECT table_name, before, after - 'settled_at', after ? 'settled_at', "
    "after->>'settled_at' LIKE '____-__-__T__:__:__.______Z', count(*), count(DISTINCT row_id) "
    "FROM audit_trail GROUP BY 1, 2, 3, 4, 5",
    "runs": "SELECT job, outcome, exit_code, counts, ended_at IS NULL FROM runs",
}
Left = dict[str, list[tuple[object, ...]]]


def by_hand(world: World) -> None:
    script = (
        HAND.read_text(encoding="utf-8").replace(":batch", str(BATCH)).replace(":job", "notification-sender")
    )
    with world.engine(isolation_level="AUTOCOMMIT") as engine, engine.connect() as connection:
        connection.exec_driver_sql(script)


def by_jobctl(module: str, concurrency: int, world: World) -> None:
    entry = Entry("notification-sender", f"benchmarks.{module}", "", None, "", ())
    settings = load(world.environment).settings
    options = Options(concurrency=concurrency, verbosity=-1)
    # Its summary would stand between the figures.
    with redirect_stdout(io.StringIO()):
        run(Invocation(entry, options, settings, Output(), Stop(settings.stop_grace)))


def left_by(world: World) -> Left:
    return {name: [tuple(row) for row in world.rows(query)] for name, query in LEFT.items()}


def rate(measured: Callable[[World], None], source: World, expected: dict[str, Left]) -> float:
    """Return the rows a second, on a fresh copy of the database; what is left there must be as expected."""
    with source.copy() as world:
        count = world.number("SELECT count(*) FROM notifications")
        began = time.perf_counter()
        measured(world)
        seconds = time.perf_counter() - began
        left = left_by(world)
    if expected.setdefault("rows", left) != left:
        raise SystemExit(f"not the same rows are left:\n{left}\ninstead of\n{expected['rows']}")
    return count / seconds


def contenders() -> dict[str, Callable[[World], None]]:
    """Name what takes turns, the first of them what all are compared with."""
    found: dict[str, Callable[[World], None]] = {f"SQL by hand, batches of {BATCH:,}": by_hand}
    for title, module in (("frame alone", "bare_frame"), ("with templates", "silent_channel")):
        for concurrency in CONCURRENCIES:
            found[f"{title}, concurrency {concurrency}"] = partial(by_jobctl, module, concurrency)
    return found


def main() -> None:
    given = arguments(__doc__)
    count = QUICK if given.quick else ROWS
    expected: dict[str, Left] = {}
    with server() as url, postgres_world(url, **MAIL) as world:
        world.seed(count)
        measured = {name: partial(rate, each, world, expected) for name, each in contenders().items()}
        found = {name: median(rates) for name, rates in in_turns(ROUNDS, measured).items()}
    by_hand_rate = next(iter(found.values()))
    table(
        f"{count:,} messages claimed and settled, medians of {ROUNDS} rounds",
        ("", "rows/s", "ratio"),
        [(name, each, each / by_hand_rate) for name, each in found.items()],
    )


if __name__ == "__main__":
    main()
