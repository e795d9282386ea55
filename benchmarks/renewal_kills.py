"""Renewals that two runs share, one of them killed at seeded moments, while everything goes wrong in turn.

Every kill is a SIGKILL with requests under way; between two kills there is one trouble (`troubles.py`): a
fault, a list that lags behind an effect, a wrong answer, a refund by hand. In the end the troubles are over,
what the dead had sent is made overdue, as hours would, and every job runs once more. Then no period may be
charged twice, no charge be lost or kept silently, every subscription must end on its day; and whatever is
left to a person has an open finding.
"""

import argparse
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from benchmarks.judging import judge
from benchmarks.killing import Process, databases, kill_along, kind_of, start
from benchmarks.troubles import Wreck
from benchmarks.world import server, table
from jobctl.sandbox import Sandbox
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments, subscriptions
from tests.rival import a_month_after
from tests.subscribers import Club
from tests.world import World

RENEWALS, KILLS, CONCURRENCY = 500, 50, 4
QUICK = 60, 8
LATENCY = 0.02  # seconds
CHARGER, SETTLER = "autopayments", "settle-operations"
MATCHERS = ("matching-pending-payments", "matching-successful-payments")
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
    wreck = Wreck(club, club.provider, chance)

    def sharing() -> Process:
        return start(club, CHARGER, "--share", "--concurrency", str(CONCURRENCY))

    moments = sorted(chance.sample(range(1, renewals * 4 // 5), kills))
    left = kill_along(club, sharing, moments, wreck.go_on)
    wreck.rest(SETTLER, CHARGER, *MATCHERS)
    ends = {each.id: each.ended_at for each in club.world.rows(subscriptions)}
    wrong = [each for each, end in expected.items() if ends[each] != end]
    verdict = judge(club, wanted(club), wrong, wreck.refunded)
    verdict.refuse()
    asked = len(club.world.rows(money_operations))
    charged = sum(map(bool, wanted(club).values()))
    return (
        f"{kind_of(club)}, {club.provider}",
        seed,
        len(left),
        sum(left),
        asked,
        charged,
        *verdict.numbers(),
    )


def wanted(club: Club) -> Mapping[int, Mapping[str, int]]:
    """Return for each subscription the payments that it was renewed by."""
    found: dict[int, dict[str, int]] = {each.id: {} for each in club.world.rows(subscriptions)}
    for each in club.world.rows(payments):
        if each.reference and each.status == "succeeded" and not each.refunded_at:
            found[each.subscription_id][each.provider_payment_id] = each.amount_minor
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    renewals, kills = QUICK if given.quick else (RENEWALS, KILLS)
    rows = []
    with server() as url:
        for provider in METHODS:
            for settings in databases(url, f"jobctl_renewal_kills_{provider}"):
                now = datetime.now(UTC).replace(microsecond=0)
                with World(settings) as world, Sandbox(latency=LATENCY) as sandbox:
                    club = Club(world, sandbox=sandbox, provider=provider, now=now)
                    rows.append(trial(club, renewals, kills, given.seed))
    table(
        f"{renewals} renewals, {kills} kills of one of two runs that share the work",
        (
            "",
            "seed",
            "kills",
            "open at them",
            "asked",
            "renewed",
            "twice",
            "lost",
            "kept",
            "stuck",
            "waiting",
        ),
        rows,
    )


if __name__ == "__main__":
    main()
