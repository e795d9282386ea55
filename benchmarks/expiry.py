"""Expiry in bulk: half of a million subscriptions or payments are due at once.

The speed is compared with SQL by hand that leaves the same rows (`expire_subscriptions.sql`,
`expire_payments.sql`), the peak memory with that of a run of which 1,000 rows are due; and while such a run
is under way a second connection updates due rows, and the longest wait of it is told.
"""

import random
import subprocess
import threading
import time
from contextlib import closing

import psycopg

from benchmarks.bulk import PEOPLE, PREFERENCES, Bulk, compared, seed
from benchmarks.world import JOBCTL, World, arguments, postgres_world, server, table

ROWS, QUICK, FEW = 1_000_000, 100_000, 2000  # half of them are due
LONGEST = 1.0  # seconds that a lock may be held
PLANS = """
INSERT INTO plans (name, unit, recurring, created_at)
SELECT 'Plan ' || n, 'month', true, now() FROM generate_series(0, :rows / :users) AS numbers(n)
"""
# Of those that have ended some were to be charged again, long ago by now.
SUBSCRIPTIONS = """
INSERT INTO subscriptions
    (user_id, plan_id, currency, started_at, ended_at, billing_anchor_day, next_charge_at, created_at)
SELECT n % :users + 1, n / :users + 1, 'RUB', ends - interval '31 days', ends, 1,
    CASE WHEN n % 10 IN (0, 1) THEN date_trunc('day', ends, 'UTC') END, ends - interval '31 days'
FROM generate_series(0, :rows - 1) AS numbers(n),
    LATERAL (SELECT now() + CASE WHEN n % 2 = 0 THEN interval '-5 days' ELSE interval '5 days' END
        - n * interval '0.1 second') AS ending(ends)
"""
# Half of the old ones never came to their provider; it was seen to have the others undecided.
PAYMENTS = """
INSERT INTO payments (user_id, plan_id, provider, provider_payment_id, amount_minor, currency, status,
    seen_pending_at, created_at)
SELECT n % :users + 1, n / :users + 1, 'yookassa', CASE WHEN n % 4 <> 0 THEN 'payment-' || n END, 50000,
    'RUB', CASE WHEN n % 4 = 1 THEN 'succeeded' ELSE 'pending' END, CASE WHEN n % 4 = 2 THEN now() END, begun
FROM generate_series(0, :rows - 1) AS numbers(n),
    LATERAL (SELECT now() - CASE WHEN n % 2 = 0 THEN interval '8 days' ELSE interval '1 day' END
        - n * interval '0.1 second') AS beginning(begun)
"""
BULKS = (
    Bulk(
        "expire-subscriptions",
        (PEOPLE, PREFERENCES, PLANS, SUBSCRIPTIONS),
        "expire_subscriptions.sql",
        "subscriptions",
        "expired_at",
    ),
    Bulk("expire-payments", (PEOPLE, PLANS, PAYMENTS), "expire_payments.sql", "payments", "expired_at"),
)


def peak(bulk: Bulk, source: World) -> float:
    """Return the peak memory of a run, in MiB."""
    with source.copy() as world:
        return world.take(JOBCTL, bulk.job).peak


class Rival(threading.Thread):
    """A second connection that updates due rows, one by one, until it is told to stop."""

    def __init__(self, world: World, bulk: Bulk, due: int) -> None:
        super().__init__()
        self.url, self.table = world.url.replace("+psycopg", ""), bulk.table
        self.ids = random.Random(2026).choices(range(1, 2 * due, 2), k=1_000_000)
        self.waits: list[float] = []
        self.told = threading.Event()

    def run(self) -> None:
        change = f"UPDATE {self.table} SET currency = currency WHERE id = %s"
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            for each in self.ids:
                if self.told.is_set():
                    return
                began = time.perf_counter()
                connection.execute(change, (each,))
                self.waits.append(time.perf_counter() - began)


def locked(bulk: Bulk, source: World, due: int) -> tuple[int, float]:
    """Return how many updates a rival made during a run, and the longest that one took, in seconds."""
    with source.copy() as world:
        rival = Rival(world, bulk, due)
        rival.start()
        subprocess.run([JOBCTL, bulk.job, "-q"], env=world.environment, check=True)
        rival.told.set()
        rival.join()
        # What the rival had in its hands at that moment was passed over, for the next run.
        subprocess.run([JOBCTL, bulk.job, "-q"], env=world.environment, check=True)
        done = world.number(f"SELECT count(*) FROM {bulk.table} WHERE expired_at IS NOT NULL")
    if done != due or max(rival.waits) > LONGEST:
        raise SystemExit(f"{done:,} of {due:,} are expired; the longest wait took {max(rival.waits):.2f} s")
    return len(rival.waits), max(rival.waits)


def main() -> None:
    rows = QUICK if arguments(__doc__).quick else ROWS
    found = []
    with server() as url:
        for bulk in BULKS:
            with postgres_world(url) as few:
                seed(few, bulk, FEW)
                small = peak(bulk, few)
            with postgres_world(url) as world:
                seed(world, bulk, rows)
                compared(world, bulk, rows // 2)
                large = peak(bulk, world)
                updates, longest = locked(bulk, world, rows // 2)
            found.append((bulk.job, small, large, large / small, updates, longest))
    table(
        f"Peak memory (MiB) with {FEW // 2:,} and with {rows // 2:,} rows due; a rival's updates of due rows",
        ("", f"{FEW // 2:,}", f"{rows // 2:,}", "ratio", "updates", "longest (s)"),
        found,
    )


if __name__ == "__main__":
    main()
