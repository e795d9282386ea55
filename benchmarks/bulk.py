"""The jobs that change rows in bulk, against SQL by hand that leaves the same rows.

By hand means `bulk_attendance.sql` and `bulk_reminders.sql`, the fastest forms that were found: one
statement over all rows, on a connection that is open. Of jobctl the whole command is timed, with its start.
No figure is printed unless sessions, notifications and audit trail are then alike on both sides, row by row.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.world import JOBCTL, World, arguments, in_turns, median, postgres_world, server, table

ROWS, QUICK, ROUNDS = 100_000, 30_000, 3
USERS = 20_000
# Some have no e-mail address, some are gone, and some don't take everything by every channel.
PEOPLE = """
INSERT INTO users (name, email, created_at, deleted_at)
SELECT 'Anna ' || n, CASE WHEN n % 50 <> 1 THEN 'anna' || n || '@example.com' END, now(),
    CASE WHEN n % 100 = 2 THEN now() END
FROM generate_series(1, :users) AS numbers(n)
"""
PREFERENCES = """
INSERT INTO channel_preferences (user_id, channel, category, accepted)
SELECT n, 'email', '*', false FROM generate_series(10, :users, 10) AS numbers(n) UNION ALL
SELECT n, 'email', 'reminder', true FROM generate_series(20, :users, 20) AS numbers(n) UNION ALL
SELECT n, 'tray', 'session', false FROM generate_series(15, :users, 15) AS numbers(n)
"""
# Three of four were ended, the rest just went by.
PAST = """
INSERT INTO sessions (expert_id, consumer_id, status, starts_at, ends_at, ended_at, created_at)
SELECT n % :users + 1, (7 * n + 3) % :users + 1, CASE WHEN n % 4 = 0 THEN 'not_started' ELSE 'ended' END,
    began, began + interval '1 hour', CASE WHEN n % 4 <> 0 THEN began + interval '50 minutes' END, began
FROM generate_series(1, :rows) AS numbers(n),
    LATERAL (SELECT now() - interval '1 day' - n * interval '1 second') AS past(began)
"""
# Of ten sessions both came to seven, one of them to one each, and nobody to the tenth.
CAME = """
INSERT INTO attendees (session_id, user_id, joined_at)
SELECT id, expert_id, starts_at FROM sessions WHERE id % 10 NOT IN (8, 9) UNION ALL
SELECT id, consumer_id, starts_at FROM sessions WHERE id % 10 NOT IN (7, 9)
"""
# Some have no link yet, and some were reminded of before they were moved.
COMING = """
INSERT INTO sessions
    (expert_id, consumer_id, starts_at, ends_at, join_url, reminded_start, reminded_lead, created_at)
SELECT n % :users + 1, (7 * n + 3) % :users + 1, starts, starts + interval '1 hour',
    CASE WHEN n % 3 <> 0 THEN 'https://meet.example.com/' || n END,
    CASE WHEN n % 4 = 0 THEN starts - interval '1 day' END, CASE WHEN n % 4 = 0 THEN 3600 END, now()
FROM generate_series(1, :rows) AS numbers(n),
    LATERAL (SELECT now() + interval '2 hours' + n % 72000 * interval '1 second') AS coming(starts)
"""
# What is of the moment must be of the one moment that the run began at.
LEFT: Mapping[str, str] = {
    "rows": "to_jsonb(ours) - '{moment}', ours.{moment} = began FROM {table} AS ours",
    "notifications": "to_jsonb(ours) - ARRAY['id', 'queued_at', 'due_at'], ours.queued_at = began, "
    "ours.due_at = began FROM notifications AS ours",
    "audit_trail": "table_name, row_id, before, after - '{moment}', ours.at = began, run_id = run, "
    "(after->>'{moment}')::timestamptz = began, length(after->>'{moment}') FROM audit_trail AS ours",
    "runs": "job, outcome, exit_code, counts, ended_at IS NULL FROM runs",
}
DIGEST = (
    "SELECT count(*), sum(hashtextextended(shown::text, 0)) FROM (SELECT {} "
    "CROSS JOIN (SELECT id AS run, started_at AS began FROM runs) AS the_run) AS shown"
)
Left = dict[str, tuple[object, ...]]


class Bulk(NamedTuple):
    """A job, what it finds to do, the file that does the same by hand, and the instant that it leaves."""

    job: str
    seed: tuple[str, ...]
    hand: str
    table: str
    moment: str
    beside: Mapping[str, str] = {}  # tables that it writes too, and what of their rows must be the same
    done: str = "audit_trail"  # of which there is a row for each that is done


BULKS = (
    Bulk(
        "session-attendance-analyzer",
        (PEOPLE, PREFERENCES, PAST, CAME),
        "bulk_attendance.sql",
        "sessions",
        "attendance_at",
    ),
    Bulk(
        "upcoming-session-reminder",
        (PEOPLE, PREFERENCES, COMING),
        "bulk_reminders.sql",
        "sessions",
        "attendance_at",
    ),
)


def by_hand(bulk: Bulk, world: World) -> float:
    script = Path(__file__).with_name(bulk.hand).read_text(encoding="utf-8")
    with world.engine(isolation_level="AUTOCOMMIT") as engine, engine.connect() as connection:
        began = time.perf_counter()
        connection.exec_driver_sql(script)
        return time.perf_counter() - began


def by_jobctl(bulk: Bulk, world: World) -> float:
    return world.take(JOBCTL, bulk.job).wall


def left_by(bulk: Bulk, world: World) -> Left:
    names = {"table": bulk.table, "moment": bulk.moment}
    queries = {name: DIGEST.format(shown.format(**names)) for name, shown in {**LEFT, **bulk.beside}.items()}
    return {name: tuple(world.rows(query)[0]) for name, query in queries.items()}


def rate(
    bulk: Bulk, measured: Callable[[Bulk, World], float], source: World, count: int, expected: dict[str, Left]
) -> float:
    """Return the rows a second, on a fresh copy of the database; it must leave what is expected."""
    with source.copy() as world:
        seconds = measured(bulk, world)
        left = left_by(bulk, world)
    if expected.setdefault("rows", left) != left or left[bulk.done][0] != count:
        raise SystemExit(f"not the same rows are left:\n{left}\ninstead of\n{expected['rows']}")
    return count / seconds


def compared(source: World, bulk: Bulk, count: int) -> None:
    """Print how fast both sides do `count` rows, each time on a fresh copy of the database."""
    expected: dict[str, Left] = {}
    sides = {f"SQL by hand, {bulk.hand}": by_hand, f"jobctl {bulk.job}": by_jobctl}
    measured = {name: partial(rate, bulk, each, source, count, expected) for name, each in sides.items()}
    found = {name: median(rates) for name, rates in in_turns(ROUNDS, measured).items()}
    by_hand_rate = next(iter(found.values()))
    table(
        f"{count:,} {bulk.table} and {expected['rows']['notifications'][0]:,} notifications, "
        f"medians of {ROUNDS} rounds",
        ("", f"{bulk.table}/s", "ratio"),
        [(name, each, each / by_hand_rate) for name, each in found.items()],
    )


def seed(world: World, bulk: Bulk, count: int) -> None:
    for statement in bulk.seed:
        world.execute(statement, users=USERS, rows=count)
    world.settle_down()


def main() -> None:
    count = QUICK if arguments(__doc__).quick else ROWS
    with server() as url:
        for bulk in BULKS:
            with postgres_world(url, SESSION_REMINDER_LEADS="24h,1h") as world:
                seed(world, bulk, count)
                compared(world, bulk, count)


if __name__ == "__main__":
    main()
