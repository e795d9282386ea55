"""A thousand orders of which fifty are spoilt in ten ways: none may stop another, and each must be named.

One run places the holds, and another one, of other orders that are spoilt in ten other ways, captures them.
Each must do all that is sound, name all that is not, as errors or findings, and end with exit code 3.
`tests/poisons.py` has the ways.
"""

import time
from collections.abc import Mapping, Sequence

from benchmarks.killing import databases, kind_of
from benchmarks.world import arguments, server, table
from jobctl.errors import Exit
from jobctl.sandbox import Sandbox
from tests.payments import AUTHORIZER, PROCESSOR, Market
from tests.poisons import CAPTURES, HOLDS, Poison, named, over, spoilt, standing
from tests.world import World

ORDERS, EACH = 1000, 5
QUICK = 100, 1
Row = tuple[object, ...]


def trial(
    market: Market, job: str, ways: Mapping[str, Poison], orders: Sequence[int], each: int
) -> list[Row]:
    """Run a job once over orders of which so many are spoilt in each way; return a row for each way."""
    with spoilt(market, ways, orders, each) as by_way:
        began = time.monotonic()
        done = market.run(job)
        seconds = time.monotonic() - began
    bad = {order for some in by_way.values() for order in some}
    status = "authorized" if job == AUTHORIZER else "captured"
    settled, told = set(standing(market, status)), named(market, done)
    if (settled, told, done.exit_code) != (set(orders) - bad, bad, Exit.ITEMS_FAILED):
        wrong = {name: [n for n in some if n not in told or n in settled] for name, some in by_way.items()}
        sound = sorted(set(orders) - bad - settled)
        raise SystemExit(f"exit code {done.exit_code}, not settled {sound}, not named {wrong}: {done.out}")
    kind = kind_of(market)
    rows: list[Row] = [
        (f"{kind}, {name}", len(some), len(told & set(some)), "", "") for name, some in by_way.items()
    ]
    return [*rows, (f"{kind}, {job}", len(bad), len(told), len(settled), seconds)]


def holds(market: Market, number: int, each: int) -> list[Row]:
    return trial(market, AUTHORIZER, HOLDS, [market.order() for _ in range(number)], each)


def captures(market: Market, number: int, each: int) -> list[Row]:
    ids = [market.order() for _ in range(number)]
    if market.run(AUTHORIZER).exit_code:
        raise SystemExit("the holds that are to be captured could not be placed")
    over(market)
    return trial(market, PROCESSOR, CAPTURES, ids, each)


def main() -> None:
    number, each = QUICK if arguments(__doc__).quick else (ORDERS, EACH)
    with server() as url:
        for what, tried in (("held", holds), ("captured", captures)):
            rows: list[Row] = []
            for settings in databases(url, "jobctl_poisoned"):
                with World(settings) as world, Sandbox() as sandbox:
                    rows += tried(Market(world, sandbox), number, each)
            heading = ("", "spoilt", "named", "settled", "seconds")
            table(f"{number:,} orders to be {what}, in one run", heading, rows)


if __name__ == "__main__":
    main()
