"""Orders held and captured a second, at a provider that takes 20 ms for each request.

The bound is what so many connections could ask if nothing else took any time (concurrency / latency), or the
rate limit where that is lower. How near to the first this machine and the sandbox let anybody come shows
requests alone, with as many threads and no database. First to last: from the first request to the last
answer, by the journal.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import requests

from benchmarks.world import JOBCTL, World, arguments, median, postgres_world, server, sqlite_world, table
from jobctl.sandbox import SECRET_KEY
from tests.sandbox.client import HOLD

LATENCY, CONCURRENCY = 0.02, 16
MANY, QUICK = 1000, 200
UNLIMITED, LIVE = 100_000, 100  # requests a second; Stripe's own limit in live mode
ROUNDS = 3

SESSION = """
INSERT INTO sessions (expert_id, consumer_id, starts_at, ends_at, created_at)
SELECT 1, 2, {soon}, {later}, {now} FROM {numbers}
"""
CARD = """
INSERT INTO payment_methods (user_id, provider, provider_customer, provider_method, created_at)
VALUES (2, 'stripe', 'cus_1', 'pm_card_visa', {now})
"""
ORDER = """
INSERT INTO orders
  (session_id, customer_id, payment_method_id, amount_minor, currency, status, created_at)
SELECT id, 2, 1, 4500, 'USD', 'complete', created_at FROM sessions
"""
OVER = "UPDATE sessions SET attendance = 'all_present', status = 'ended', ended_at = {now}"
WORDS = {
    "postgresql": {
        "now": "now()",
        "soon": "now() + interval '1 hour'",
        "later": "now() + interval '2 hours'",
        "numbers": "generate_series(1, :count)",
    },
    "sqlite": {
        "now": "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",
        "soon": "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+1 hour')",
        "later": "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+2 hours')",
        "numbers": "(WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < :count) "
        "SELECT n FROM up)",
    },
}
SPAN = {
    "postgresql": "extract(epoch FROM max(concluded_at) - min(first_sent_at))",
    "sqlite": "(julianday(max(concluded_at)) - julianday(min(first_sent_at))) * 86400.0",
}


@contextmanager
def provider() -> Iterator[str]:
    """Start a sandbox in a process of its own; yield its address."""
    command = [JOBCTL, "sandbox", "--json", "--port", "0", "--latency", f"{LATENCY * 1000:.0f}ms"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        try:
            yield told["url"]
        finally:
            process.terminate()


def seed(world: World, count: int) -> None:
    words = WORDS["postgresql" if world.server else "sqlite"]
    for name in ("Eva", "Carl"):
        at = f"INSERT INTO users (name, email, created_at) VALUES ('{name}', 'a@example.com', {words['now']})"
        world.execute(at)
    world.execute(SESSION.format(**words), count=count)
    world.execute(CARD.format(**words))
    world.execute(ORDER)
    world.settle_down()


def check(world: World, status: str, count: int) -> None:
    """Refuse a figure for anything but every order come to that, by one operation each."""
    done = world.number("SELECT count(*) FROM orders WHERE payment_status = :status", status=status)
    kind = "authorize" if status == "authorized" else "capture"
    made = world.number("SELECT count(*) FROM money_operations WHERE kind = :kind", kind=kind)
    if not done == made == count:
        raise SystemExit(f"of {count} orders {done} are {status}, by {made} operations")


def measure(world: World, job: str, kind: str, count: int) -> tuple[float, float]:
    """Return how many orders a second a whole run does, and from its first request to its last answer."""
    took = world.take(JOBCTL, job, "--concurrency", str(CONCURRENCY))
    span = SPAN["postgresql" if world.server else "sqlite"]
    seconds = float(world.rows(f"SELECT {span} FROM money_operations WHERE kind = :kind", kind=kind)[0][0])
    return count / took.wall, count / seconds


def both(world: World, count: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Hold and capture all orders."""
    held = measure(world, "session-payment-authorizer", "authorize", count)
    check(world, "authorized", count)
    world.execute(OVER.format(**WORDS["postgresql" if world.server else "sqlite"]))
    world.settle_down()
    captured = measure(world, "session-payment-processor", "capture", count)
    check(world, "captured", count)
    return held, captured


def requests_alone(address: str, count: int) -> float:
    """Ask for as many holds over as many connections."""
    began = time.monotonic()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for each in [pool.submit(bare, address, range(n, count, CONCURRENCY)) for n in range(CONCURRENCY)]:
            each.result()
    return count / (time.monotonic() - began)


def bare(address: str, numbers: range) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {SECRET_KEY}"
        for _ in numbers:
            session.post(f"{address}/v1/payment_intents", data=HOLD, timeout=60).raise_for_status()


def settings(address: str, rate: int) -> dict[str, str]:
    return {
        "STRIPE_API_BASE": address,
        "STRIPE_SECRET_KEY": SECRET_KEY,
        "STRIPE_RATE_LIMIT": f"{rate}/s",
    }


def rows_of(
    name: str, found: list[tuple[tuple[float, float], tuple[float, float]]], bound: float
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for n, what in enumerate(("held", "captured")):
        whole, steady = (median([each[n][m] for each in found]) for m in (0, 1))
        rows.append((f"{name}, {what}", whole, whole / bound, steady, steady / bound))
    return rows


def main() -> None:
    quick = arguments(__doc__).quick
    count, rounds = (QUICK, 1) if quick else (MANY, ROUNDS)
    bound = CONCURRENCY / LATENCY
    fast: list[tuple[object, ...]] = []
    slow: list[tuple[object, ...]] = []
    with server() as url, provider() as address:
        alone = median([requests_alone(address, count) for _ in range(rounds)])
        for name, opened in (
            ("PostgreSQL", lambda **each: postgres_world(url, **each)),
            ("SQLite", sqlite_world),
        ):
            found = []
            for _ in range(rounds):
                with opened(**settings(address, UNLIMITED)) as world:
                    seed(world, count)
                    found.append(both(world, count))
            fast += rows_of(name, found, bound)
            with opened(**settings(address, LIVE)) as world:
                seed(world, count)
                slow += rows_of(name, [both(world, count)], LIVE)
    heading = ("", "whole run/s", "ratio", "first to last/s", "ratio")
    table(
        f"{count:,} orders, 16 connections, 20 ms a request: bound {bound:.0f}/s, medians of {rounds}",
        heading,
        [*fast, ("requests alone", alone, alone / bound, "", "")],
    )
    table(f"the same at a rate limit of {LIVE}/s", heading, slow)


if __name__ == "__main__":
    main()
