"""What a start costs: jobctl's processes against the least that anything doing the like must import.

Both sides are whole processes, started in turns, with compiled modules in place. The rival of an idle
run connects with the same libraries and selects 1: no job, no lock, no settings.
"""

import sys

from benchmarks.world import (
    JOBCTL,
    Took,
    World,
    arguments,
    in_turns,
    median,
    postgres_world,
    server,
    sqlite_world,
    table,
)

ROUNDS, QUICK = 25, 11
INTERVAL, TICKS, QUICK_TICKS, LOOPS = 0.1, 100, 40, 5
IDLE = "SELECT idle_runs FROM idle_runs WHERE job = 'notification-sender'"
CLICK = "import click"
POSTGRES = """
import os, click, sqlalchemy, psycopg
url = os.environ["DATABASE_URL"]
with sqlalchemy.create_engine(url).connect() as connection:
    connection.execute(sqlalchemy.text("SELECT 1"))
"""
SQLITE = """
import os, click, sqlalchemy
url = "sqlite:///" + os.environ["JOBCTL_HOME"] + "/jobctl.db"
with sqlalchemy.create_engine(url).connect() as connection:
    connection.execute(sqlalchemy.text("SELECT 1"))
"""
Row = tuple[object, ...]


def compare(title: str, ours: tuple[str, ...], rival: str, world: World, rounds: int) -> Row:
    commands = {"ours": (JOBCTL, *ours), "rival": (sys.executable, "-c", rival)}
    measured = {name: lambda command=command: world.take(*command) for name, command in commands.items()}
    in_turns(1, measured)  # compiles what isn't yet, and fills the file cache
    found = in_turns(rounds, measured)
    wall, cpu = medians(found["ours"])
    rival_wall, rival_cpu = medians(found["rival"])
    return (
        title,
        wall * 1e3,
        rival_wall * 1e3,
        wall / rival_wall,
        cpu * 1e3,
        rival_cpu * 1e3,
        cpu / rival_cpu,
    )


def medians(found: list[Took]) -> tuple[float, float]:
    return median([each.wall for each in found]), median([each.cpu for each in found])


def ticking(title: str, world: World, ticks: int) -> Row:
    """Compare the CPU time of a further tick inside one process with that of a start for each tick."""
    every = ("--every", f"{INTERVAL:g}s", "--for", f"{INTERVAL * ticks:g}s")
    measured = {
        "cold": lambda: (world.take(JOBCTL, "notification-sender").cpu, 1),
        "looping": lambda: counted(world, JOBCTL, "notification-sender", *every),
    }
    found = in_turns(LOOPS, measured)
    cold = median([cpu for cpu, _ in found["cold"]])
    # The first tick is the cold start's.
    tick = median([(cpu - cold) / (ticked - 1) for cpu, ticked in found["looping"]])
    return (title, ticked_in(found["looping"]), tick * 1e3, cold * 1e3, tick / cold)


def counted(world: World, *command: str) -> tuple[float, int]:
    """Return the CPU seconds of a loop, and how many ticks it has really done."""
    before = world.number(IDLE)
    took = world.take(*command)
    return took.cpu, world.number(IDLE) - before


def ticked_in(loops: list[tuple[float, int]]) -> int:
    return int(median([ticked for _, ticked in loops]))


def main() -> None:
    quick = arguments(__doc__).quick
    rounds, ticks = (QUICK, QUICK_TICKS) if quick else (ROUNDS, TICKS)
    run = ("notification-sender",)
    with server() as url, postgres_world(url) as postgres, sqlite_world() as sqlite:
        starts = [
            compare("jobctl --help / import click", ("--help",), CLICK, sqlite, rounds),
            compare("idle run / connect, PostgreSQL", run, POSTGRES, postgres, rounds),
            compare("idle run / connect, SQLite", run, SQLITE, sqlite, rounds),
        ]
        ticks_of = [
            ticking("PostgreSQL", postgres, ticks),
            ticking("SQLite", sqlite, ticks),
        ]
    table(
        f"Whole processes, medians of {rounds}",
        ("", "wall ms", "rival", "ratio", "CPU ms", "rival", "ratio"),
        starts,
    )
    table(
        f"An idle tick of --every {INTERVAL:g}s, medians of {LOOPS}",
        ("", "ticks", "tick, CPU ms", "cold start", "ratio"),
        ticks_of,
    )


if __name__ == "__main__":
    main()
