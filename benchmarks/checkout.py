"""Open checkout sessions asked about: jobctl, Node's fetch as the source does it, aiohttp, and a loop.

The service takes 50 ms for each request, in a process on a core of its own; everything else has the other
cores. Each side is a process that checks all sessions twice, as its schedule would have it; the first check,
which loads and compiles, is left out, and the median of five processes is taken, of all sides in turns. Timed
is from the line that a check begins with to the line that it ends with. jobctl reads its sessions from the
database and settles their answers there; the others make theirs up. Processor time is the process's own, by
/proc; that of PostgreSQL is not in it.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.world import JOBCTL, World, arguments, in_turns, median, postgres_world, server, sqlite_world
from benchmarks.world import table as print_table

LATENCY = 0.05
FEW, MANY, ROUNDS = (5, 10, 20), 1000, 5
CHECKS = 2  # of each process, of which the last one counts
PLACES = (64, 128)
HERE = Path(__file__).parent
SESSIONS = {
    "postgresql": "SELECT 's' || n, 'checkout_' || n, now() - interval '1 hour' "
    "FROM generate_series(1, :count) AS numbers(n)",
    "sqlite": "WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < :count) SELECT "
    "'s' || n, 'checkout_' || n, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-1 hour') FROM up",
}
COMPLETE = re.compile(r"📊 .* complete: (\d+) success, 0 errors")


class Check(NamedTuple):
    """What one check of all sessions took: seconds, and of the processor's time."""

    wall: float
    cpu: float


Side = Callable[[int, int], Check]  # asks about so many sessions, with so many requests at once


def cores() -> tuple[set[int], set[int]]:
    """Return the core of the service, and those of everybody else."""
    known = sorted(os.sched_getaffinity(0))
    if len(known) < 2:
        raise SystemExit("this needs two cores: one is the service's own")
    return {known[-1]}, set(known[:-1])


@contextmanager
def service() -> Iterator[str]:
    """Start the service on its core; yield its address."""
    its, others = cores()
    command = [sys.executable, str(HERE / "checkout_service.py"), str(LATENCY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        os.sched_setaffinity(process.pid, its)
        os.sched_setaffinity(0, others)  # whoever is started from now on
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def seed(world: World, count: int) -> None:
    world.execute("DELETE FROM checkout_session")
    select = SESSIONS["postgresql" if world.server else "sqlite"]
    columns = "id, billing_checkout_id, opened_at"
    world.execute(f"INSERT INTO checkout_session ({columns}) {select}", count=count)
    world.settle_down()


def processor_time(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def checked(command: list[str], environment: Mapping[str, str], count: int) -> Check:
    """Run a side for two checks; return what the second one took."""
    found: list[Check] = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith(("🔍", "📊")):
                continue
            now = Check(time.perf_counter(), processor_time(process.pid))
            if line.startswith("🔍"):
                began = now
            elif (complete := COMPLETE.match(line)) and int(complete[1]) == count:
                found.append(Check(now.wall - began.wall, now.cpu - began.cpu))
    if process.returncode or len(found) != CHECKS:
        raise SystemExit(f"exit code {process.returncode} after {len(found)} checks: {' '.join(command)}")
    return found[-1]


def by_jobctl(world: World, count: int, places: int) -> Check:
    loop = ("--every", "2s", "--for", f"{2 * CHECKS}s", "--concurrency", str(places))
    return checked([JOBCTL, "checkout-session-monitor", *loop], world.environment, count)


def by_others(command: list[str], address: str, count: int, places: int) -> Check:
    told = [address, str(count), str(places), str(CHECKS)]
    return checked([*command, *told], {**os.environ, "APIKEY": "key"}, count)


def sides(address: str, worlds: Mapping[str, World]) -> dict[str, Side]:
    others = {"Node": ["node", str(HERE / "checkout_node.mjs")]}
    others["aiohttp"] = [sys.executable, str(HERE / "checkout_aiohttp.py")]
    ours: dict[str, Side] = {f"jobctl, {name}": partial(by_jobctl, world) for name, world in worlds.items()}
    return {name: partial(by_others, command, address) for name, command in others.items()} | ours


def measured(known: Mapping[str, Side], count: int, places: int, rounds: int) -> dict[str, Check]:
    """Return the medians of each side."""
    found = in_turns(rounds, {name: partial(each, count, places) for name, each in known.items()})
    return {
        name: Check(median([each.wall for each in checks]), median([each.cpu for each in checks]))
        for name, checks in found.items()
    }


def few(known: Mapping[str, Side], worlds: Mapping[str, World], rounds: int) -> None:
    rows: list[list[object]] = [[name] for name in ("loop in Node", *known)]
    for count in FEW:
        for world in worlds.values():
            seed(world, count)
        loop = measured({"loop": known["Node"]}, count, 1, rounds)["loop"].wall
        every = [loop, *(each.wall for each in measured(known, count, PLACES[0], rounds).values())]
        for row, seconds in zip(rows, every, strict=True):
            row += [f"{seconds * 1000:.0f} ms", loop / seconds]
    heading = ["", *(each for count in FEW for each in (f"{count} sessions", "to the loop"))]
    print_table(f"at most {PLACES[0]} requests at once, medians of {rounds}", heading, rows)


def many(known: Mapping[str, Side], worlds: Mapping[str, World], count: int, rounds: int) -> None:
    for world in worlds.values():
        seed(world, count)
    loop = measured({"loop": known["Node"]}, count, 1, 1)["loop"]
    for places in PLACES:
        found = measured(known, count, places, rounds)
        node = found["Node"].wall
        rows = [
            (
                name,
                count / each.wall,
                node / each.wall,
                f"{each.cpu / count * 1000:.2f} ms",
                loop.wall / each.wall,
            )
            for name, each in {"loop in Node, once": loop, **found}.items()
        ]
        print_table(
            f"{count:,} sessions, {places} requests at once, medians of {rounds}",
            ("", "checks/s", "to Node", "processor time a check", "to the loop"),
            rows,
        )


def main() -> None:
    quick = arguments(__doc__).quick
    refuse_without_peers()
    count, rounds = (MANY // 4, 1) if quick else (MANY, ROUNDS)
    with ExitStack() as stack:
        address = stack.enter_context(service())
        url = stack.enter_context(server())
        settings = {"BILLING_BASE_URL": address, "APIKEY": "key"}
        worlds = {
            "SQLite": stack.enter_context(sqlite_world(**settings)),
            "PostgreSQL": stack.enter_context(postgres_world(url, **settings)),
        }
        known = sides(address, worlds)
        few(known, worlds, rounds)
        many(known, worlds, count, rounds)


def refuse_without_peers() -> None:
    if not shutil.which("node"):
        raise SystemExit("this needs Node 20 or newer: put `node` on the PATH")
    if not importlib.util.find_spec("aiohttp"):
        raise SystemExit("this needs aiohttp: pip install -c constraints.txt '.[benchmarks]'")


if __name__ == "__main__":
    main()
