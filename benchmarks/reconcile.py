"""Reconciliation after three days without a run: thousands of payments that nobody here knows.

They lie spread over the days, and are listed page by page; memory must not grow with their number. First all
of them are recorded, each with its subscription, then the same list is followed once more and all is known.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from benchmarks.world import JOBCTL, Took, World, arguments, postgres_world, server, sqlite_world, table
from jobctl.sandbox import SECRET_KEY, YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID, Sandbox

FEW, MANY, QUICK = 1000, 10_000, 2000
JOB = "matching-successful-payments"
OUTAGE = timedelta(days=3)
SETTINGS = {
    "STRIPE_SECRET_KEY": SECRET_KEY,
    "YOOKASSA_SHOP_ID": YOOKASSA_SHOP_ID,
    "YOOKASSA_SECRET_KEY": YOOKASSA_SECRET_KEY,
    "STRIPE_RATE_LIMIT": "100000/s",
    "YOOKASSA_RATE_LIMIT": "100000/s",
}
INSTANT = "%Y-%m-%dT%H:%M:%S.%fZ"


class Outage(NamedTuple):
    """What the two runs after it took."""

    recorded: Took
    known: Took


def seed(world: World, buyers: int, now: datetime) -> None:
    """Add people and a plan; the last complete run of the job was three days ago."""
    world.seed(buyers)
    long_ago, until = ((now - each).strftime(INSTANT) for each in (timedelta(days=300), OUTAGE))
    world.execute(
        "INSERT INTO plans (name, unit, recurring, created_at) VALUES ('Gold', 'month', true, :at)",
        at=long_ago,
    )
    world.execute(
        "INSERT INTO prices (plan_id, currency, amount_minor, valid_from) VALUES (1, 'RUB', 50000, :at)",
        at=long_ago,
    )
    for provider in ("stripe", "yookassa"):
        world.execute(
            "INSERT INTO watermarks (source, until) VALUES (:source, :until)",
            source=f"{JOB}.{provider}",
            until=until,
        )


def pay(sandbox: Sandbox, provider: str, count: int, now: datetime) -> None:
    """Have each of as many people pay once."""
    for n in range(count):
        said = {"user_id": str(n + 1), "plan_id": "1", "payment_provider_id": provider}
        at = now - OUTAGE + (OUTAGE - timedelta(minutes=5)) * n / count
        sandbox.pay(provider, 50_000, "rub" if provider == "stripe" else "RUB", said, at=at)


def outage(world: World, sandbox: Sandbox, provider: str, count: int) -> Outage:
    now = datetime.now(UTC)
    seed(world, count, now)
    pay(sandbox, provider, count, now)
    recorded = world.take(JOBCTL, JOB)
    lists = sandbox.requests()["list"]["requests"]
    known = world.take(JOBCTL, JOB, "--since", "4d")
    if sandbox.requests()["list"]["requests"] - lists < count / 100:
        raise SystemExit("the second run did not follow the whole list")
    periods = "SELECT count(*) FROM subscription_periods JOIN payments ON payments.id = payment_id"
    found = [world.number(each) for each in (periods, "SELECT count(*) FROM subscriptions")]
    runs = world.number("SELECT count(*) FROM runs")
    if found != [count, count] or runs != 1:
        raise SystemExit(f"{found} periods and subscriptions of {count} payments, after {runs} runs")
    return Outage(recorded, known)


def outage_on(kind: str, server_url: str, provider: str, count: int) -> Outage:
    with Sandbox() as sandbox:
        bases = {f"{name}_API_BASE": sandbox.url for name in ("STRIPE", "YOOKASSA")}
        settings = {**SETTINGS, **bases}
        on_sqlite = sqlite_world(**settings)
        with on_sqlite if kind == "SQLite" else postgres_world(server_url, **settings) as world:
            return outage(world, sandbox, provider, count)


def compared(title: str, few: Took, many: Took, count: int) -> tuple[object, ...]:
    return title, few.peak, many.peak, many.peak / few.peak, many.wall, count / many.wall


def main() -> None:
    many = QUICK if arguments(__doc__).quick else MANY
    rows = []
    with server() as url:
        for provider in ("yookassa", "stripe"):
            for kind in ("PostgreSQL", "SQLite"):
                few, all_ = (outage_on(kind, url, provider, count) for count in (FEW, many))
                title = f"{provider}, {kind}"
                rows.append(compared(f"{title}: recorded", few.recorded, all_.recorded, many))
                rows.append(compared(f"{title}: known", few.known, all_.known, many))
    table(
        f"Peak memory (MiB) with {FEW:,} and with {many:,} payments listed",
        ("", f"{FEW:,}", f"{many:,}", "ratio", "seconds", "payments/s"),
        rows,
    )


if __name__ == "__main__":
    main()
