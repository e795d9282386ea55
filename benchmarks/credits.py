"""100,000 professionals reset, 100,000 lots expired: against SQL by hand, and killed half way.

By hand means `credits_reset.sql` and `credit_expiry.sql`, which leave the same rows: that is compared, row
by row, before a figure is printed. Then a run is killed with SIGKILL once half of it is committed, and run
again; each must be done once, and every balance be what it is without a kill.
"""

import signal
import subprocess
import time

from benchmarks.bulk import Bulk, compared
from benchmarks.world import JOBCTL, World, arguments, postgres_world, server, sqlite_world, table

# Of five lots a professional the few are more than one page: a single transaction has no half way.
ROWS, QUICK = 100_000, 20_000
NUMBERS = {
    "postgresql": "generate_series(1, :rows) AS numbers(n)",
    "sqlite": "(WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < :rows) "
    "SELECT n FROM up) AS numbers",
}
DAYS = {
    "postgresql": "now() - interval '1 day' * ({})",
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-' || ({}) || ' days')",
}
# Some have no e-mail address, and some don't take everything by every channel.
PEOPLE = """
INSERT INTO users (name, email, created_at)
SELECT 'Anna ' || n, CASE WHEN n % 50 <> 1 THEN 'anna' || n || '@example.com' END, {now} FROM {numbers};

INSERT INTO channel_preferences (user_id, channel, category, accepted)
SELECT n, 'email', CASE WHEN n % 20 = 0 THEN 'credits' ELSE '*' END, {no} FROM {numbers} WHERE n % 10 = 0;

INSERT INTO professionals (user_id, verification_status, created_at)
SELECT n, CASE WHEN n % 3 = 0 THEN 'comprehensive' ELSE 'basic' END, {now} FROM {numbers}
"""
# One of twenty has no balance yet.
BALANCES = """
INSERT INTO credit_balances (professional_id, free_credits, paid_credits, last_reset_at, created_at)
SELECT n, n % 150, n % 7, CASE WHEN n % 2 = 0 THEN {month_ago} END, {year_ago}
FROM {numbers} WHERE n % 20 <> 0
"""
# Five lots for each balance have expired, a tenth of them without a date; five more are spent, or have not.
LOTS = """
INSERT INTO credit_transactions (professional_id, type, credit_type, amount, remaining_amount, expires_at,
    free_before, free_after, paid_before, paid_after, created_at)
SELECT n % (:rows / 5) + 1, 'purchase', 'paid', 50, 1 + n % 50, CASE WHEN n % 10 <> 0 THEN {lately} END,
    0, 0, 0, 50, {year_ago} FROM {numbers};

INSERT INTO credit_transactions (professional_id, type, credit_type, amount, remaining_amount, expires_at,
    free_before, free_after, paid_before, paid_after, created_at)
SELECT n % (:rows / 5) + 1, 'purchase', 'paid', 50, CASE WHEN n % 2 = 0 THEN 0 ELSE 50 END,
    CASE WHEN n % 2 = 0 THEN {lately} ELSE {later} END, 0, 0, 0, 50, {month_ago} FROM {numbers};

INSERT INTO credit_balances (professional_id, free_credits, paid_credits, created_at)
SELECT professional_id, 30, sum(remaining_amount), {year_ago} FROM credit_transactions
GROUP BY professional_id
"""
RESET = Bulk(
    "monthly-credits-reset",
    (PEOPLE, BALANCES),
    "credits_reset.sql",
    "credit_balances",
    "last_reset_at",
    {
        "rows": "to_jsonb(ours) - ARRAY['last_reset_at', 'created_at'], last_reset_at = began, "
        "created_at = began FROM credit_balances AS ours",
        "audit_trail": "table_name, row_id, before, after - ARRAY['last_reset_at', 'created_at'], "
        "ours.at = began, run_id = run, (after->>'last_reset_at')::timestamptz = began, "
        "(after->>'created_at')::timestamptz = began FROM audit_trail AS ours",
        "credit_transactions": "to_jsonb(ours) - ARRAY['id', 'created_at'], ours.created_at = began "
        "FROM credit_transactions AS ours",
    },
)
EXPIRY = Bulk(
    "credit-expiry",
    (PEOPLE, LOTS),
    "credit_expiry.sql",
    "credit_transactions",
    "created_at",
    {
        "rows": "to_jsonb(ours) - ARRAY['id', 'created_at'], ours.created_at = began "
        "FROM credit_transactions AS ours",
        "credit_balances": "to_jsonb(ours) FROM credit_balances AS ours",
        "audit_trail": "table_name, row_id, before, after, ours.at = began, run_id = run "
        "FROM audit_trail AS ours",
        "expiries": "lot_id FROM (SELECT * FROM credit_transactions WHERE type = 'expiry') AS ours",
    },
    "expiries",
)
# What each must have been done once, and the balances that are not what they should be then.
DONE = {
    RESET.job: "SELECT count(*) FROM credit_transactions WHERE type = 'monthly_reset'",
    EXPIRY.job: "SELECT count(*) FROM credit_transactions WHERE type = 'expiry'",
}
WRONG = {
    RESET.job: """
SELECT count(*) FROM credit_balances AS b
LEFT JOIN credit_transactions AS t ON t.professional_id = b.professional_id AND t.type = 'monthly_reset'
WHERE b.free_credits <> 100 OR t.id IS NULL OR t.free_after <> 100 OR t.paid_after <> b.paid_credits
""",
    EXPIRY.job: """
SELECT count(*) FROM credit_balances AS b JOIN (
    SELECT professional_id, sum(coalesce(remaining_amount, 0)) AS has_left,
        sum(CASE WHEN type = 'expiry' THEN 1 ELSE 0 END) AS gone
    FROM credit_transactions GROUP BY professional_id
) AS lots ON lots.professional_id = b.professional_id
WHERE b.paid_credits <> has_left OR gone <> 5
""",
}


def seed(world: World, bulk: Bulk, count: int) -> None:
    kind = "postgresql" if world.server else "sqlite"
    days = DAYS[kind]
    words = {
        "numbers": NUMBERS[kind],
        "now": days.format("0"),
        "no": "false" if world.server else "0",
        "month_ago": days.format("30"),
        "year_ago": days.format("365"),
        "lately": days.format("n % 300 + 1"),
        "later": days.format("-30") if world.server else days.format("0").replace("'-'", "'+30 days', '-'"),
    }
    for statement in "; ".join(bulk.seed).split(";"):
        world.execute(statement.format(**words), rows=count)
    world.settle_down()


def half_way(process: "subprocess.Popen[bytes]", world: World, bulk: Bulk) -> int:
    """Halt the run and count what is done: while it is counted, which may take long, it does nothing more."""
    process.send_signal(signal.SIGSTOP)
    return world.number(DONE[bulk.job])


def killed(world: World, bulk: Bulk, count: int) -> tuple[object, ...]:
    """Kill a run once half is done, and run it again; return what each of them did."""
    seed(world, bulk, count)
    process = subprocess.Popen([JOBCTL, bulk.job], env=world.environment, stdout=subprocess.DEVNULL)
    while half_way(process, world, bulk) < count // 2:
        if process.poll() is not None:
            raise SystemExit(f"{bulk.job} ended before it was killed, with {process.returncode}")
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    process.kill()
    process.wait()
    half = world.number(DONE[bulk.job])
    took = world.take(JOBCTL, bulk.job)
    done, wrong = world.number(DONE[bulk.job]), world.number(WRONG[bulk.job])
    if done != count or wrong or not count // 2 <= half < count:
        raise SystemExit(
            f"{bulk.job}: {half} and then {done} of {count} are done, {wrong} balances are wrong"
        )
    return (bulk.job, "PostgreSQL" if world.server else "SQLite", half, done - half, took.wall, wrong)


def main() -> None:
    count = QUICK if arguments(__doc__).quick else ROWS
    rows = []
    with server() as url:
        for bulk in (RESET, EXPIRY):
            with postgres_world(url) as world:
                seed(world, bulk, count)
                compared(world, bulk, count)
            for opened in (postgres_world(url), sqlite_world()):
                with opened as world:
                    rows.append(killed(world, bulk, count))
    table(
        f"{count:,} each, killed half way and run again",
        ("", "", "before the kill", "after it", "seconds", "wrong"),
        rows,
    )


if __name__ == "__main__":
    main()
