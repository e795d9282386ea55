"""Finding who is due among few and among many rows, nearly all of them settled or not yet due.

Timed is the job's own SELECT, the page that a run claims first; its keys are also what
`jobctl why notification-sender 1 --sql` prints.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from benchmarks.world import (
    NUMBERS,
    World,
    arguments,
    in_turns,
    median,
    postgres_world,
    server,
    sqlite_world,
    table,
)
from jobctl.db import clock
from jobctl.job import At
from jobctl.jobs.notifications.notification_sender import due
from jobctl.settings import load
from jobctl.steps.selection import Selection

FEW, MANY, QUICK = 10_000, 10_000_000, 1_000_000
DUE, PAGE, ROUNDS = 20, 16, 101
LATER_EVERY = 5  # one row in so many is queued for a later time
USERS = 1000
# :ahead and :ago are instants, written as the database stores them.
FILL = """
INSERT INTO notifications
    (user_id, channel, template, context, queued_at, status, attempts, settled_at, send_after)
SELECT n % {users} + 1, 'email', 'welcome', '{{}}', {ago},
    CASE WHEN n <= {due} OR n % {every} = 0 THEN 'queued' ELSE 'sent' END,
    CASE WHEN n <= {due} OR n % {every} = 0 THEN 0 ELSE 1 END,
    CASE WHEN n <= {due} OR n % {every} = 0 THEN NULL ELSE {ago} END,
    CASE WHEN n > {due} AND n % {every} = 0 THEN {ahead} END
FROM {numbers}
"""
INSTANTS = {
    "postgresql": ("now() - interval '1 day'", "now() + interval '1 day' + n * interval '1 millisecond'"),
    "sqlite": (
        "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-1 day')",
        "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+1 day', '+' || (n / 1000.0) || ' seconds')",
    ),
}
Timed = Callable[[], float]


def fill(world: World, count: int) -> None:
    dialect = "postgresql" if world.server else "sqlite"
    ago, ahead = INSTANTS[dialect]
    world.execute(
        "INSERT INTO users (name, email, created_at) "
        f"SELECT 'Anna', 'anna@example.com', {ago} FROM {NUMBERS[dialect]}",
        count=USERS,
    )
    statement = FILL.format(
        users=USERS, due=DUE, every=LATER_EVERY, ago=ago, ahead=ahead, numbers=NUMBERS[dialect]
    )
    world.execute(statement, count=count)
    world.settle_down()


def page(world: World, connection: Connection) -> Any:
    at = At(clock(connection), load(world.environment).settings)
    selection = Selection(due(at), None, None)
    return selection.page(first=True).params(selection.place(None, PAGE))


def seconds(connection: Connection, query: Any) -> float:
    began = time.perf_counter()
    found = connection.execute(query).all()
    took = time.perf_counter() - began
    if len(found) != PAGE:
        raise SystemExit(f"{len(found)} rows were found, not {PAGE}")
    return took


def plan(world: World, connection: Connection) -> str:
    """Return the line of the database's plan that tells how it gets at the notifications."""
    written = page(world, connection).compile(connection.engine, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN" if world.server else "EXPLAIN QUERY PLAN"
    lines = [
        str(row[-1]).strip() for row in connection.exec_driver_sql(f"{explain} {written}".replace("%", "%%"))
    ]
    return next(each for each in lines if "ix_notifications_due" in each or "on notifications" in each)


def compared(title: str, few: World, many: World, count: int) -> tuple[tuple[object, ...], str]:
    fill(few, FEW)
    fill(many, count)
    with few.engine() as one, many.engine() as other, one.connect() as short, other.connect() as long:
        measured: dict[str, Timed] = {
            "few": partial(seconds, short, page(few, short)),
            "many": partial(seconds, long, page(many, long)),
        }
        in_turns(5, measured)
        found = {name: median(each) * 1e3 for name, each in in_turns(ROUNDS, measured).items()}
        how = plan(many, long)
    return (title, found["few"], found["many"], found["many"] / found["few"]), how


def printed(rows: Sequence[tuple[tuple[object, ...], str]], many: int) -> None:
    table(
        f"The first page of due rows, milliseconds, medians of {ROUNDS}: {DUE} due among",
        ("", f"{FEW:,}", f"{many:,}", "ratio"),
        [row for row, _ in rows],
    )
    for (title, *_), how in rows:
        print(f"\n{title} gets at them by: {how}")


def main() -> None:
    count = QUICK if arguments(__doc__).quick else MANY
    rows = []
    with server() as url, postgres_world(url) as few, postgres_world(url) as many:
        rows.append(compared("PostgreSQL", few, many, count))
    with sqlite_world() as few, sqlite_world() as many:
        rows.append(compared("SQLite", few, many, count))
    printed(rows, count)


if __name__ == "__main__":
    main()
