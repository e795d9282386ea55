"""E-mails a second against a mail server that takes 50 ms for each, and that each goes out exactly once.

The bound is what so many connections could send if nothing else took any time: concurrency / latency.
How near to it this machine and this mail server let anybody come shows smtplib alone, which has the
messages ready, as many threads, and no database.
"""

import smtplib
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks.mail_server import Got, Mailbox, mail_server
from benchmarks.world import JOBCTL, MAIL, World, arguments, median, postgres_world, server, table

LATENCY, CONCURRENCY = 0.05, 16
SLOW, QUICK_SLOW = 3000, 1000
FAST, QUICK_FAST = 10_000, 2000
ROUNDS = 3
LETTER = "Subject: Welcome\r\n\r\n" + ("Your account is ready." + " " * 40 + "\r\n") * 30
SEND = (JOBCTL, "notification-sender", "--concurrency", str(CONCURRENCY))


@contextmanager
def post_office(url: str, latency: float, count: int) -> Iterator[tuple[World, Mailbox]]:
    """Lend a database with so many e-mails queued, and the server that they go to."""
    with mail_server(latency) as mailbox, postgres_world(url, **MAIL, SMTP_PORT=str(mailbox.port)) as world:
        world.seed(count)
        yield world, mailbox


def check(world: World, got: Got, count: int) -> None:
    """Refuse a figure for anything but every message sent, once, and known to be."""
    sent = world.number("SELECT count(*) FROM notifications WHERE status = 'sent' AND attempts = 1")
    if not got.messages == got.recipients == sent == count:
        raise SystemExit(f"of {count} messages {sent} are marked sent, and the server got {got}")


def smtplib_alone(mailbox: Mailbox, count: int) -> Got:
    """Send as many messages of about the same size over as many connections."""
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for each in [pool.submit(bare, mailbox.port, n, count) for n in range(CONCURRENCY)]:
            each.result()
    return mailbox.empty()


def bare(port: int, first: int, count: int) -> None:
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        for n in range(first, count, CONCURRENCY):
            smtp.sendmail("hello@example.com", f"anna{n}@example.com", LETTER)


def slow(url: str, count: int) -> list[tuple[object, ...]]:
    seconds, cpu, steady, alone = [], [], [], []
    with post_office(url, LATENCY, count) as (source, mailbox):
        for _ in range(ROUNDS):
            with source.copy() as world:
                took = world.take(*SEND)
                got = mailbox.empty()
                check(world, got, count)
            alone.append(smtplib_alone(mailbox, count).seconds)
            seconds.append(took.wall)
            cpu.append(took.cpu)
            steady.append(got.seconds)
    bound = CONCURRENCY / LATENCY
    rates = {
        "jobctl, the whole run": count / median(seconds),
        "jobctl, first to last": count / median(steady),
        "smtplib alone, first to last": count / median(alone),
    }
    print(f"\njobctl's CPU time for a message: {median(cpu) / count * 1e3:.2f} ms")
    return [(name, count, rate, rate / bound) for name, rate in rates.items()]


def fast(url: str, count: int) -> tuple[object, ...]:
    with post_office(url, 0, count) as (world, mailbox):
        took = world.take(*SEND)
        check(world, mailbox.empty(), count)
    return "one run", count, count / took.wall, "100 %"


def shared(url: str, count: int) -> tuple[object, ...]:
    """Let two runs share the work; the lesser share is what counts."""
    with post_office(url, 0, count) as (world, mailbox):
        began = time.monotonic()
        both = [
            subprocess.Popen([*SEND, "--share"], env=world.environment, stdout=subprocess.DEVNULL)
            for _ in range(2)
        ]
        codes = [each.wait() for each in both]
        seconds = time.monotonic() - began
        check(world, mailbox.empty(), count)
        shares = [row[0] for row in world.rows("SELECT count(*) FROM audit_trail GROUP BY run_id")]
    if codes != [0, 0] or len(shares) != 2:
        raise SystemExit(f"exit codes {codes}, shares {shares}")
    return "two with --share", count, count / seconds, f"{min(shares) / count:.0%}"


def main() -> None:
    quick = arguments(__doc__).quick
    few, many = (QUICK_SLOW, QUICK_FAST) if quick else (SLOW, FAST)
    with server() as url:
        table(
            f"{CONCURRENCY} connections, {LATENCY * 1e3:g} ms a message: bound {CONCURRENCY / LATENCY:g}/s, "
            f"medians of {ROUNDS}",
            ("", "messages", "messages/s", "ratio"),
            slow(url, few),
        )
        table(
            "No latency, each message exactly once",
            ("", "messages", "messages/s", "the lesser share"),
            [fast(url, many), shared(url, many)],
        )


if __name__ == "__main__":
    main()
