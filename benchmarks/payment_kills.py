"""Orders that two runs share, one of them killed at seeded moments: held or captured twice, or stuck.

Every kill is a SIGKILL with requests under way. In the end the provider's ledger and the database must
agree to the last cent, and every order be paid exactly once. What the dead had sent is made overdue, as
two minutes would, before the last runs.
"""

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from benchmarks.killing import Process, finish, kill_along, start
from benchmarks.world import server, table
from jobctl import migrating
from jobctl.sandbox import Sandbox
from jobctl.settings import Settings
from jobctl.tables.sessions import sessions
from tests import postgres
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.world import World

ORDERS, KILLS, CONCURRENCY = 200, 25, 4  # kills: while holds are placed, and as many while they are captured
QUICK = 40, 5
LATENCY = 0.02  # seconds


def sharing(market: Market, job: str) -> Callable[[], Process]:
    return lambda: start(market, job, "--share", "--concurrency", str(CONCURRENCY))


def trial(market: Market, orders: int, kills: int, seed: int) -> tuple[object, ...]:
    chance = random.Random(seed)
    begins = market.now + timedelta(hours=1)
    ids = [market.order(market.session(starts_at=begins)) for _ in range(orders)]
    left = kill_along(market, sharing(market, AUTHORIZER), sorted(chance.sample(range(1, orders), kills)))
    codes = [finish(market, SETTLER, AUTHORIZER)]
    market.agree()
    over = {"attendance": "all_present", "status": "ended", "ended_at": market.now}
    with market.world.engine.begin() as connection:
        connection.execute(update(sessions).values(**over))
    left += kill_along(market, sharing(market, PROCESSOR), sorted(chance.sample(range(1, orders), kills)))
    codes += [finish(market, SETTLER, PROCESSOR)]
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
