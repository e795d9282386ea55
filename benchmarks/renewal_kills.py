"""Renewals that two runs share, with every fault of the providers in turn, one run killed at seeded moments.

Every kill is a SIGKILL with requests under way; between two kills one fault strikes some of the requests. In
the end the faults are gone, what the dead had sent is made overdue, as two minutes would, and every job runs
once more: no period may be charged twice, no charge be lost, and every subscription must end on its day.
"""

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.killing import Process, finish, kill_along, start
from benchmarks.world import server, table
from jobctl import migrating
from jobctl.sandbox import Sandbox
from jobctl.sandbox.faults import POINTS
from jobctl.settings import Settings
from tests import postgres
from tests.rival import a_month_after
from tests.subscribers import Club
from tests.world import World

RENEWALS, KILLS, CONCURRENCY = 500, 50, 4
QUICK = 60, 13
LATENCY, OFTEN = 0.02, 0.2  # seconds; of the requests that a fault strikes
CHARGER, SETTLER = "autopayments", "settle-operations"
MATCHERS = ("matching-pending-payments", "matching-successful-payments")
FAULTS = tuple(POINTS)
# Of twenty subscribers two have not enough money, and the bank takes its time over one (YooKassa's alone).
POOR, SLOW = (3, 13), (7,)
METHODS = {
    "yookassa": ("pm_yk_ok", "pm_yk_insufficient_funds", "pm_yk_pending_succeeds"),
    "stripe": ("pm_card_visa", "pm_card_chargeDeclinedInsufficientFunds", "pm_card_visa"),
}


def subscribe(club: Club, count: int) -> dict[int, datetime]:
    """Add subscriptions that ended an hour ago; return when each must end in the end."""
    good, poor, slow = METHODS[club.provider]
    ended_at = club.now - timedelta(hours=1)
    due = {"ended_at": ended_at, "next_charge_at": ended_at.replace(hour=0, minute=0, second=0)}
    expected = {}
    for n in range(count):
        method = poor if n % 20 in POOR else slow if n % 20 in SLOW else good
        made = club.member(method, **due)
        expected[made] = ended_at if method == poor else a_month_after(ended_at, ended_at.day)
    return expected


def trial(club: Club, renewals: int, kills: int, seed: int) -> tuple[object, ...]:
    chance = random.Random(seed)
    expected = subscribe(club, renewals)

    def sharing() -> Process:
        return start(club, CHARGER, "--share", "--concurrency", str(CONCURRENCY))

    def next_fault(number: int) -> None:
        club.sandbox.clear_faults()
        club.sandbox.fault(FAULTS[number % len(FAULTS)], probability=OFTEN, seed=chance.randrange(1000))

    moments = sorted(chance.sample(range(1, renewals * 4 // 5), kills))
    left = kill_along(club, sharing, moments, next_fault)
    club.sandbox.clear_faults()
    for _ in range(2):
        club.sandbox.advance(600.0)  # what was late has come, and what was pending is decided
        code = finish(club, SETTLER, CHARGER, *MATCHERS)
    club.agree()
    ends = {each: club.of(each).ended_at for each in expected}
    wrong = [each for each in expected if ends[each] != expected[each]]
    charged = Counter(each.metadata["user_id"] for each in club.sandbox.ledger() if each.kind == "charge")
    given_back = Counter(each.intent for each in club.sandbox.ledger() if each.kind == "refund")
    if wrong or code or given_back or set(charged.values()) != {1} or len(left) != kills:
        raise SystemExit(f"{len(wrong)} end on a wrong day, exit code {code}, {len(left)} kills: {wrong[:5]}")
    kind = "PostgreSQL" if club.world.settings.database_url else "SQLite"
    return (f"{kind}, {club.provider}", seed, len(left), sum(left), len(charged), renewals - len(charged))


@contextmanager
def opened(settings: Settings, provider: str) -> Iterator[Club]:
    migrating.upgrade(settings)
    now = datetime.now(UTC).replace(microsecond=0)
    with World(settings) as world, Sandbox(latency=LATENCY) as sandbox:
        yield Club(world, sandbox=sandbox, provider=provider, now=now)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    renewals, kills = QUICK if given.quick else (RENEWALS, KILLS)
    rows = []
    with server() as url:
        for provider in METHODS:
            with tempfile.TemporaryDirectory() as folder:
                name = f"jobctl_renewal_kills_{provider}"
                made = postgres.create_database(url, name).replace("+psycopg", "", 1)
                for each in (
                    Settings(jobctl_home=Path(folder), database_url=made),
                    Settings(jobctl_home=Path(folder)),
                ):
                    with opened(each, provider) as club:
                        rows.append(trial(club, renewals, kills, given.seed))
                postgres.drop_database(url, name)
    table(
        f"{renewals} renewals, {len(FAULTS)} faults in turn, {kills} kills of one of two runs of them",
        ("", "seed", "kills", "open at them", "charged once", "declined"),
        rows,
    )


if __name__ == "__main__":
    main()
