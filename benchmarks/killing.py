"""What the benchmarks with kills share: real runs against a sandbox, killed after so many requests."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from sqlalchemy import func, select, update

from jobctl import migrating
from jobctl.sandbox import SECRET_KEY, YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID, Sandbox
from jobctl.settings import Settings
from jobctl.tables.journal import money_operations
from tests import postgres
from tests.world import World

PATIENCE = 60.0  # seconds for the next request
A_WHILE = timedelta(hours=1)  # longer than any provider's lists may lag
IDLE = 20  # starts in a row that send nothing: there is nothing left to do


class Scene(Protocol):
    """A database, and a sandbox that its payments go to."""

    world: World
    sandbox: Sandbox


Process = subprocess.Popen[str]


def databases(server_url: str, name: str) -> Iterator[Settings]:
    """Give a migrated PostgreSQL database, and then one of SQLite; each goes when the next one comes."""
    made = postgres.create_database(server_url, name).replace("+psycopg", "", 1)
    for url in (made, None):
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(jobctl_home=Path(folder), database_url=url)
            migrating.upgrade(settings)
            yield settings
    postgres.drop_database(server_url, name)


def kind_of(scene: Scene) -> str:
    return "PostgreSQL" if scene.world.settings.database_url else "SQLite"


def start(scene: Scene, job: str, *options: str) -> Process:
    names = ("STRIPE", "YOOKASSA")
    address = {f"{name}_API_BASE": scene.sandbox.url for name in names}
    rates = {f"{name}_RATE_LIMIT": "100000/s" for name in names}
    keys = {"STRIPE_SECRET_KEY": SECRET_KEY, "YOOKASSA_SECRET_KEY": YOOKASSA_SECRET_KEY}
    settings = {**address, **rates, **keys, "YOOKASSA_SHOP_ID": YOOKASSA_SHOP_ID}
    return scene.world.process(job, "--json", *options, **settings)


def under_way(scene: Scene) -> int:
    """Count the operations that are sent and not settled."""
    count = select(func.count()).where(money_operations.c.settled_at.is_(None))
    with scene.world.engine.connect() as connection:
        return int(connection.scalar(count) or 0)


def requests(scene: Scene) -> int:
    return sum(each["requests"] for each in scene.sandbox.requests().values())


def kill_along(
    scene: Scene,
    begin: Callable[[], Process],
    moments: Sequence[int],
    before: Callable[[int], None] = lambda _: None,
) -> list[int]:
    """Let two runs share a job, and kill one in turn after so many requests; return what each left open.

    A run that ends meanwhile, as when its provider refuses it, is begun again. `before` is called ahead of
    each kill with its number.
    """
    first, left = requests(scene), []
    runs = [begin() for _ in range(2)]
    for n, moment in enumerate(moments):
        before(n)
        if not wait_for(scene, first + moment, runs, begin):
            break
        victim = runs[n % 2]
        victim.kill()
        victim.communicate()
        left.append(under_way(scene))
        runs[n % 2] = begin()
    for each in runs:
        each.communicate()
    return left


def wait_for(scene: Scene, count: int, runs: list[Process], begin: Callable[[], Process]) -> bool:
    """Wait until so many requests have come; return whether they did before there was nothing left to do."""
    end, idle, came = time.monotonic() + PATIENCE, 0, requests(scene)
    while (now := requests(scene)) < count:
        if now > came:
            end, idle, came = time.monotonic() + PATIENCE, 0, now
        for n, each in enumerate(runs):
            if each.poll() is not None:
                each.communicate()
                runs[n], idle = begin(), idle + 1
        if idle > IDLE:
            return False
        if time.monotonic() > end:
            raise SystemExit(f"{now} requests after {PATIENCE} s, {count} expected")
        time.sleep(0.001)
    return True


def age(scene: Scene) -> None:
    """Make overdue what was sent and never answered, and believable what a list lacked once.

    What was taken for absent, or was refused and is to be repeated, is due again too.
    """
    ours = money_operations.c
    late = update(money_operations).where(ours.settled_at.is_(None)).values(answer_by=ours.first_sent_at)
    missed = (
        update(money_operations)
        .where(ours.missed_at.is_not(None))
        .values(missed_at=datetime.now(UTC) - A_WHILE)
    )
    absent = update(money_operations).where(ours.look_until.is_not(None)).values(answer_by=ours.first_sent_at)
    with scene.world.engine.begin() as connection:
        for each in (late, missed, absent):
            connection.execute(each)


def finish(scene: Scene, *jobs: str, rounds: int = 3) -> int:
    """Run what an operator's crontab runs next; return the worst exit code of the last round."""
    codes = [0]
    for _ in range(rounds):  # what a list lacks is looked for twice, and then asked for anew
        age(scene)
        codes = []
        for each in jobs:
            process = start(scene, each)
            process.communicate(timeout=PATIENCE)
            codes.append(process.returncode)
    return max(codes)
