"""`jobctl invariants` on 1,000,000 ledger entries, against aggregates over them by hand; and its peak memory.

By hand means what tells that each posting has two entries and sums to zero, and what each wallet's sum up to:
as one aggregate with grouping sets, and as two plain ones; and, for the rule of wallets alone, their sums.
They run on a connection that is open, with PostgreSQL free to use parallel workers. Of jobctl the whole
command is timed, with its start. It checks all rules, among them what no aggregate by hand tells: whether the
entries are in the currency of their wallets, and whether each of 333,334 escrows was released once, of its
whole amount, and for a completed request.
"""

import time
from contextlib import closing
from functools import partial

import psycopg

from benchmarks.world import JOBCTL, World, arguments, in_turns, median, postgres_world, server, table

ROWS, FEW, QUICK, ROUNDS, WALLETS = 1_000_000, 10_000, 100_000, 7, 20_000
# Triggers and foreign keys would check it all once more, entry by entry.
SEED = """
SET session_replication_role = replica;
INSERT INTO requests
    (user_id, creator_id, amount_minor, currency, status, paid_at, completed_at, created_at)
SELECT n % {wallets} + 1, (7 * n + 3) % {wallets} + 1, 1000 + n % 9999, 'NGN', 'completed',
    now(), now(), now()
FROM generate_series(1, {postings}) AS numbers(n);
INSERT INTO wallet_transactions (request_id, user_id, provider, reference, amount_minor, currency,
    fee_basis_points, status, escrow_status, paid_at, released_at, release_reason, created_at)
SELECT id, user_id, 'paystack', 'ref-' || id, amount_minor, currency, 1000, 'completed', 'released', now(),
    now(), 'request completed', now() FROM requests ORDER BY id;
INSERT INTO wallets (kind, user_id, currency, created_at)
SELECT 'platform', NULL, 'NGN', now() UNION ALL
SELECT 'user', n, 'NGN', now() FROM generate_series(1, {wallets}) AS numbers(n);
INSERT INTO ledger_postings (wallet_transaction_id, kind, currency, created_at)
SELECT id, 'release', currency, now() FROM wallet_transactions ORDER BY id;
INSERT INTO ledger_entries (wallet_transaction_id, kind, line, account, wallet_id, amount_minor)
SELECT ours.id, 'release', line, lines.account, wallet_id, entered
FROM wallet_transactions AS ours JOIN requests ON requests.id = ours.request_id
    LEFT JOIN wallets AS creators ON creators.user_id = creator_id
    LEFT JOIN wallets AS platform ON platform.kind = 'platform',
    LATERAL (VALUES (1, 'escrow', NULL, -ours.amount_minor),
        (2, 'wallet', creators.id, ours.amount_minor - ours.amount_minor / 10),
        (3, 'wallet', platform.id, ours.amount_minor / 10)) AS lines(line, account, wallet_id, entered)
ORDER BY ours.id, line;
UPDATE wallets SET balance_minor = entered FROM
    (SELECT wallet_id, sum(amount_minor) AS entered FROM ledger_entries GROUP BY wallet_id) AS sums
WHERE sums.wallet_id = wallets.id
"""
OF_WALLETS = "SELECT wallet_id, sum(amount_minor) FROM ledger_entries GROUP BY wallet_id"
AT_ONCE = """
SELECT wallet_id, wallet_transaction_id, kind, sum(amount_minor), count(*) FROM ledger_entries
GROUP BY GROUPING SETS ((wallet_id), (wallet_transaction_id, kind))
HAVING wallet_id IS NOT NULL OR sum(amount_minor) <> 0 OR count(*) < 2
"""
ONE_BY_ONE = f"""
{OF_WALLETS} UNION ALL
SELECT wallet_transaction_id, sum(amount_minor) FROM ledger_entries
GROUP BY wallet_transaction_id, kind HAVING sum(amount_minor) <> 0 OR count(*) < 2
"""
HANDS = {"one aggregate": AT_ONCE, "two, one by one": ONE_BY_ONE, "of wallets alone": OF_WALLETS}
SIDES = {"jobctl invariants": (), "jobctl invariants wallet-equals-ledger": ("wallet-equals-ledger",)}


def seed(world: World, entries: int) -> None:
    statements = SEED.format(wallets=min(WALLETS, entries), postings=-(-entries // 3))
    with closing(psycopg.connect(plain(world), autocommit=True)) as connection:
        for each in statements.split(";\n"):
            connection.execute(each.encode())
    world.settle_down()


def plain(world: World) -> str:
    return world.url.replace("+psycopg", "")


def by_hand(world: World, query: str) -> float:
    with closing(psycopg.connect(plain(world), autocommit=True)) as connection:
        began = time.perf_counter()
        connection.execute(query.encode()).fetchall()
        return time.perf_counter() - began


def by_jobctl(world: World, *names: str) -> float:
    return world.take(JOBCTL, "invariants", *names).wall


def compared(world: World) -> None:
    entries = world.number("SELECT count(*) FROM ledger_entries")
    measured = {f"by hand: {name}": partial(by_hand, world, query) for name, query in HANDS.items()}
    measured |= {name: partial(by_jobctl, world, *names) for name, names in SIDES.items()}
    found = {name: median(each) for name, each in in_turns(ROUNDS, measured).items()}
    hands = [found[f"by hand: {name}"] for name in HANDS]
    table(
        f"{entries:,} ledger entries, medians of {ROUNDS} rounds",
        ("", "seconds", *(f"to {name}" for name in HANDS)),
        [(name, each, *(each / hand for hand in hands)) for name, each in found.items()],
    )


def peaks(world: World) -> list[float]:
    """Return the peak memory where all rules hold, and where every release of escrow breaks one, in MiB."""
    sound = world.take(JOBCTL, "invariants", "--json").peak
    world.execute("UPDATE requests SET status = 'in_progress'")
    return [sound, world.take("/bin/sh", "-c", f"{JOBCTL} invariants --json; test $? = 6").peak]


def main() -> None:
    rows = QUICK if arguments(__doc__).quick else ROWS
    with server() as url:
        with postgres_world(url) as few:
            seed(few, FEW)
            small = peaks(few)
        with postgres_world(url) as world:
            seed(world, rows)
            compared(world)
            large = peaks(world)
    names = ("where all rules hold", "where every third row breaks one")
    table(
        f"Peak memory (MiB) of jobctl invariants --json with {FEW:,} and with {rows:,} ledger entries",
        ("", f"{FEW:,}", f"{rows:,}", "ratio"),
        [(name, *each, each[1] / each[0]) for name, *each in zip(names, small, large, strict=True)],
    )


if __name__ == "__main__":
    main()
