"""Orders that two runs share, one of them killed at seeded moments: held or captured twice, or stuck.

Every kill is a SIGKILL with requests under way. In the end the provider's ledger and the database must
agree to the last cent, and every order be paid exactly once. What the dead had sent is made overdue, as
two minutes would, before the last runs.
"""

import argparse
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, update

from benchmarks.world import server, table
from jobctl import migrating
from jobctl.sandbox import SECRET_KEY, Sandbox
from jobctl.settings import Settings
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import sessions
from tests import postgres
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.world import World

ORDERS, KILLS, CONCURRENCY = 200, 25, 4  # kills: while holds are placed, and as many while they are captured
QUICK = 40, 5
LATENCY = 0.02  # seconds
PATIENCE = 60.0  # seconds for the next request


def start(market: Market, job: str, *options: str) -> "subprocess.Popen[str]":
    address = {"STRIPE_API_BASE": market.sandbox.url, "STRIPE_SECRET_KEY": SECRET_KEY}
    return market.world.process(job, "--json", *options, **address, STRIPE_RATE_LIMIT="100000/s")


def start_sharing(market: Market, job: str) -> "subprocess.Popen[str]":
    return start(market, job, "--share", "--concurrency", str(CONCURRENCY))


def under_way(market: Market) -> int:
    """Count the operations that are sent and not settled."""
    count = select(func.count()).where(money_operations.c.settled_at.is_(None))
    with market.world.engine.connect() as connection:
        return int(connection.scalar(count) or 0)


def requests(market: Market) -> int:
    return sum(each["requests"] for each in market.sandbox.requests().values())


def wait_for(market: Market, count: int, runs: "list[subprocess.Popen[str]]") -> bool:
    """Wait until so many requests have come; return whether they did before the runs had ended."""
    end = time.monotonic() + PATIENCE
    while requests(market) < count:
        if all(each.poll() is not None for each in runs):
            return False
        if time.monotonic() > end:
            raise SystemExit(f"{requests(market)} requests after {PATIENCE} s, {count} expected")
        time.sleep(0.001)
    return True


def kill_along(market: Market, job: str, moments: list[int]) -> list[int]:
    """Let two runs share a job, and kill one in turn at each moment; return what each kill left open."""
    before, left = requests(market), []
    runs = [start_sharing(market, job) for _ in range(2)]
    for n, moment in enumerate(moments):
        if not wait_for(market, before + moment, runs):
            break
        victim = runs[n % 2]
        victim.kill()
        victim.communicate()
        left.append(under_way(market))
        runs[n % 2] = start_sharing(market, job)
    for each in runs:
        each.communicate()
    return left


def age(market: Market) -> None:
    """Make overdue what was sent and never answered."""
    late = update(money_operations).where(money_operations.c.settled_at.is_(None))
    with market.world.engine.begin() as connection:
        connection.execute(late.values(answer_by=money_operations.c.first_sent_at))


def finish(market: Market, job: str) -> int:
    """Run what an operator's crontab runs next; return the worst exit code of the last round."""
    for _ in range(2):
        age(market)
        codes = [start(market, each).wait(PATIENCE) for each in (SETTLER, job)]
    return max(codes)


def trial(market: Market, orders: int, kills: int, seed: int) -> tuple[object, ...]:
    chance = random.Random(seed)
    begins = market.now + timedelta(hours=1)
    ids = [market.order(market.session(starts_at=begins)) for _ in range(orders)]
    left = kill_along(market, AUTHORIZER, sorted(chance.sample(range(1, orders), kills)))
    codes = [finish(market, AUTHORIZER)]
    market.agree()
    over = {"attendance": "all_present", "status": "ended", "ended_at": market.now}
    with market.world.engine.begin() as connection:
        connection.execute(update(sessions).values(**over))
    left += kill_along(market, PROCESSOR, sorted(chance.sample(range(1, orders), kills)))
    codes += [finish(market, PROCESSOR)]
    market.agree()
    paid = sum(market.status(each) == "captured" for each in ids)
    if paid != orders or any(codes):
        raise SystemExit(f"{paid} of {orders} orders are paid, exit codes {codes}")
    twice = len(market.operations()) - 2 * orders
    return (kind_of(market), seed, len(left), sum(left), paid, twice)


def kind_of(market: Market) -> str:
    return "PostgreSQL" if market.world.settings.database_url else "SQLite"


@contextmanager
def opened(settings: Settings) -> Iterator[Market]:
    migrating.upgrade(settings)
    with World(settings) as world, Sandbox(latency=LATENCY) as sandbox:
        yield Market(world, sandbox, datetime.now(UTC))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    orders, kills = QUICK if given.quick else (ORDERS, KILLS)
    rows = []
    with server() as url, tempfile.TemporaryDirectory() as folder:
        name = "jobctl_payment_kills"
        made = postgres.create_database(url, name).replace("+psycopg", "", 1)
        for each in (
            Settings(jobctl_home=Path(folder), database_url=made),
            Settings(jobctl_home=Path(folder)),
        ):
            with opened(each) as market:
                rows.append(trial(market, orders, kills, given.seed))
        postgres.drop_database(url, name)
    table(
        f"{orders} orders, each held and captured; {2 * kills} kills of one of two runs that share the work",
        ("", "seed", "kills", "open at them", "paid once", "asked anew"),
        rows,
    )


if __name__ == "__main__":
    main()
