"""E-mails whose sender is killed at seeded moments and run again: what is missing, and what comes twice.

Every kill is a SIGKILL with messages in flight. Nothing may be missing; at most as many may come twice
as were in flight, and under the Message-ID that they had. Half as many again may be claimed ahead.
"""

import argparse
import random
import subprocess
from collections import Counter
from contextlib import ExitStack

from benchmarks.world import JOBCTL, MAIL, World, postgres_world, server, sqlite_world, table
from tests.servers import MailServer

CONCURRENCY, KILLS = 16, 5
MANY, QUICK = 10_000, 1000
LATENCY = 0.01  # seconds: long enough that a kill always finds messages in flight


def start(world: World) -> "subprocess.Popen[bytes]":
    command = [JOBCTL, "notification-sender", "--concurrency", str(CONCURRENCY)]
    return subprocess.Popen(command, env=world.environment, stdout=subprocess.DEVNULL)


def kill_at(world: World, mails: MailServer, count: int) -> int:
    """Kill a run once so many messages have come in all; return how many rows it leaves claimed."""
    process = start(world)
    mails.wait_for(count)
    process.kill()
    process.wait()
    return world.number("SELECT count(*) FROM notifications WHERE claimed_by IS NOT NULL")


def trial(world: World, mails: MailServer, count: int, seed: int) -> tuple[object, ...]:
    world.seed(count)
    moments = sorted(random.Random(seed).sample(range(50, count - 50), KILLS))
    claimed = [kill_at(world, mails, moment) for moment in moments]
    code = start(world).wait()
    sent = world.number("SELECT count(*) FROM notifications WHERE status = 'sent'")
    came = Counter(each.recipients[0] for each in mails.messages)
    ids = {(each.recipients[0], each.parsed["Message-ID"]) for each in mails.messages}
    repeats = sum(came.values()) - len(came)
    if code or sent != count or not all(0 < each <= CONCURRENCY * 3 // 2 for each in claimed):
        raise SystemExit(f"exit code {code}, {sent} of {count} sent, claimed at the kills: {claimed}")
    return (
        "PostgreSQL" if world.server else "SQLite",
        seed,
        str(claimed),
        count - len(came),
        repeats,
        len(ids) - len(came),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    count = QUICK if given.quick else MANY
    rows = []
    with server() as url:
        for kind in ("postgresql", "sqlite"):
            with ExitStack() as stack:
                mails = stack.enter_context(MailServer())
                mails.latency = LATENCY
                settings = {**MAIL, "SMTP_PORT": str(mails.port)}
                opened = postgres_world(url, **settings) if kind == "postgresql" else sqlite_world(**settings)
                rows.append(trial(stack.enter_context(opened), mails, count, given.seed))
    table(
        f"{count:,} e-mails, {KILLS} kills at concurrency {CONCURRENCY}",
        ("", "seed", "claimed at each kill", "missing", "came twice", "under another id"),
        rows,
    )


if __name__ == "__main__":
    main()
