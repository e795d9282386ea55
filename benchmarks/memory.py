"""Peak memory with a short and with a long queue: it must not grow with what is due.

Runs send over the console channel to a file that nobody reads, so that no mail server holds them up.
"""

import json
import tempfile
from pathlib import Path

from benchmarks.world import JOBCTL, Took, World, arguments, postgres_world, server, sqlite_world, table

FEW, MANY, QUICK = 1000, 100_000, 10_000
SEND = (JOBCTL, "notification-sender", "--concurrency", "100")
CONSOLE = {"EMAIL_CHANNEL": "console"}
DRY = (*SEND, "--dry-run", "--json")


def compared(title: str, few: Took, many: Took) -> tuple[object, ...]:
    return title, few.peak, many.peak, many.peak / few.peak, many.wall


def dry(world: World, count: int) -> Took:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output")
        took = world.take(*DRY, output=str(output))
        shown = json.loads(output.read_text(encoding="utf-8"))["rows"]
    if len(shown) != count:
        raise SystemExit(f"the dry run shows {len(shown)} rows of {count}")
    return took


def send(world: World, count: int) -> Took:
    took = world.take(*SEND)
    sent = world.number("SELECT count(*) FROM notifications WHERE status = 'sent'")
    if sent != count:
        raise SystemExit(f"{sent} of {count} were sent")
    return took


def on_postgres(url: str, count: int) -> tuple[Took, Took]:
    with postgres_world(url, **CONSOLE) as world:
        world.seed(count)
        return dry(world, count), send(world, count)


def on_sqlite(count: int) -> tuple[Took, Took]:
    with sqlite_world(**CONSOLE) as world:
        world.seed(count)
        return dry(world, count), send(world, count)


def main() -> None:
    many = QUICK if arguments(__doc__).quick else MANY
    with server() as url:
        postgres = [on_postgres(url, count) for count in (FEW, many)]
        sqlite = [on_sqlite(count) for count in (FEW, many)]
    table(
        f"Peak memory (MiB) with {FEW:,} and with {many:,} messages due",
        ("", f"{FEW:,}", f"{many:,}", "ratio", "seconds"),
        [
            compared("dry run, PostgreSQL", *(dry for dry, _ in postgres)),
            compared("run, PostgreSQL", *(sent for _, sent in postgres)),
            compared("dry run, SQLite", *(dry for dry, _ in sqlite)),
            compared("run, SQLite", *(sent for _, sent in sqlite)),
        ],
    )


if __name__ == "__main__":
    main()
