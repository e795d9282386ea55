"""Orders that two runs share, one of them killed at seeded moments, while everything goes wrong in turn.

Every kill is a SIGKILL with requests under way; between two kills there is one trouble (`troubles.py`): a
fault, a list that lags behind an effect, a refusal of what must follow, an act at the provider's dashboard.
Some sessions are cancelled while their orders are captured. In the end the troubles are over, what the dead
had sent is made overdue, as hours would, and the jobs run once more. Then the provider's ledger and the rows
must agree, payment by payment: nothing held or taken twice, lost, kept silently or stuck; and whatever is
left to a person has an open finding.
"""

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from benchmarks.judging import judge
from benchmarks.killing import Process, databases, kill_along, kind_of, start
from benchmarks.troubles import Wreck
from benchmarks.world import server, table
from jobctl.sandbox import Sandbox
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders, sessions
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.world import World

ORDERS, KILLS, CONCURRENCY = 200, 25, 4  # kills: while holds are placed, and as many while they are captured
QUICK = 40, 8
CANCELLED = 0.1  # of the sessions
LATENCY = 0.02  # seconds


def sharing(market: Market, job: str) -> Callable[[], Process]:
    return lambda: start(market, job, "--share", "--concurrency", str(CONCURRENCY))


def trial(market: Market, number: int, kills: int, seed: int) -> tuple[object, ...]:
    chance = random.Random(seed)
    begins = market.now + timedelta(hours=1)
    ids = [market.order(market.session(starts_at=begins)) for _ in range(number)]
    wreck = Wreck(market, "stripe", chance)

    def and_a_cancellation(_number: int) -> None:
        cancel(market, chance.sample(ids, max(1, int(number * CANCELLED / kills))))
        wreck.go_on()

    moments = [sorted(chance.sample(range(1, number), kills)) for _ in range(2)]
    left = kill_along(market, sharing(market, AUTHORIZER), moments[0], wreck.go_on)
    wreck.rest(SETTLER, AUTHORIZER)
    over(market)
    left += kill_along(market, sharing(market, PROCESSOR), moments[1], and_a_cancellation)
    wreck.rest(SETTLER, PROCESSOR)
    verdict = judge(market, wanted(market), unfinished(market), wreck.refunded)
    verdict.refuse()
    asked = len(market.world.rows(money_operations))
    paid = sum(each.payment_status == "captured" for each in market.world.rows(orders))
    return (kind_of(market), seed, len(left), sum(left), asked, paid, *verdict.numbers())


def over(market: Market) -> None:
    past = {"attendance": "all_present", "status": "ended", "ended_at": market.now}
    with market.world.engine.begin() as connection:
        connection.execute(update(sessions).where(sessions.c.status != "cancelled").values(**past))


def cancel(market: Market, ids: Sequence[int]) -> None:
    """Cancel the sessions of these orders, as the application may at any moment."""
    theirs = sessions.c.id.in_([each.session_id for each in market.world.rows(orders) if each.id in ids])
    gone = {"status": "cancelled", "cancelled_at": market.now, "cancellation_reason": "customer"}
    with market.world.engine.begin() as connection:
        connection.execute(update(sessions).where(theirs).values(**gone))


def wanted(market: Market) -> Mapping[int, Mapping[str, int]]:
    """Return for each order the payment that it goes by."""
    return {
        each.id: {each.payment_id: each.amount_minor}
        if each.payment_status in ("authorized", "captured") and not each.refunded_at
        else {}
        for each in market.world.rows(orders)
    }


def unfinished(market: Market) -> list[int]:
    """Return the orders that are not captured though their session took place, or held though it did not."""
    gone = {each.id for each in market.world.rows(sessions) if each.status == "cancelled"}
    return [
        each.id
        for each in market.world.rows(orders)
        if each.payment_status == "authorized"
        or (each.payment_status != "captured" and each.session_id not in gone)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    number, kills = QUICK if given.quick else (ORDERS, KILLS)
    rows = []
    with server() as url:
        for settings in databases(url, "jobctl_payment_kills"):
            with World(settings) as world, Sandbox(latency=LATENCY) as sandbox:
                rows.append(trial(Market(world, sandbox, datetime.now(UTC)), number, kills, given.seed))
    table(
        f"{number} orders, each held and captured; {2 * kills} kills of one of two runs that share the work",
        ("", "seed", "kills", "open at them", "asked", "paid", "twice", "lost", "kept", "stuck", "waiting"),
        rows,
    )


if __name__ == "__main__":
    main()
