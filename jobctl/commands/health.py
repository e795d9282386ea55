"""`jobctl health`: does the database answer, are its migrations current, do the jobs succeed on schedule."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import click
from cronsim import CronSim
from sqlalchemy import Connection, Row, select

from jobctl import circuits
from jobctl.commands.shared import as_json, loaded
from jobctl.db import (
    SCHEMA,
    Database,
    check_embedded,
    clock,
    current_revision,
    first_line,
    wrong_schema,
)
from jobctl.errors import Exit, JobctlError, UnreachableError
from jobctl.job import At
from jobctl.logs import redact
from jobctl.output import legible, readable, to_json
from jobctl.registry import JOBS, Entry
from jobctl.settings import Settings
from jobctl.tables.frame import idle_runs, runs

PATIENCE = 4.0  # seconds: a probe has to know within some five
SKEW = timedelta(minutes=1)  # by the database's clock a run may begin a little before its time
NOT_CHECKED = "not checked"
MARKS = {True: "✓", False: "✗", None: "-"}


@dataclass(frozen=True)
class Check:
    check: str
    healthy: bool | None  # None: nobody knows, or nobody needs to
    said: str
    job: str | None = None
    last_success_at: datetime | None = None
    due_at: datetime | None = None  # the first scheduled time after that
    down: Sequence[str] = ()
    waits_since: datetime | None = None


@dataclass(frozen=True)
class Known:
    """What the database knows of a job."""

    last_success_at: datetime | None
    first_run_at: datetime | None  # where it never succeeded; as far as anything was kept of it
    exit_code: int | None  # of its last idle run
    overlapped: int = 0
    down: Sequence[str] = ()  # what is said of each scope that is down
    waits_since: datetime | None = None  # when the oldest row that is due came to be so


@dataclass(frozen=True)
class Found:
    """What the database told, and how long it took to tell anything."""

    kind: str
    seconds: float
    lacking: str | None  # what is said of a database that is at no or another migration
    now: datetime
    jobs: Mapping[str, Known]
    waiting: Sequence[str] = ()  # what is said of money that waits too long


@click.command()
@click.argument("jobs", metavar="[JOB]...", nargs=-1, type=click.Choice([each.name for each in JOBS]))
@as_json
def health(jobs: tuple[str, ...], *, as_json: bool) -> int:
    """Tell whether all is well: exit code 0, else 1. Nothing is written, and it takes no more than 5 s.

    The database is reachable, its migrations are current, and each job, or each that is named, has succeeded
    since the last of its scheduled times (UTC) that is HEALTH_GRACE ago. A success is a run with exit code 0,
    even if nothing was due, that neither --since, --limit nor --only bounded, and after which nothing that
    the job needs is known to be down. A success in the future is a fault. No row may be due for longer than
    until HEALTH_GRACE after the next scheduled time, or HEALTH_WAITING. A job that never ran is a fault only
    where it is named, or rows wait for it. Where none is named, money that waits too long is one as well.
    """
    entries = [each for each in JOBS if not jobs or each.name in jobs]
    made = list(checks(entries, named=bool(jobs)))
    report = [*made, *unmade(entries)[len(made) :]]
    healthy = all(each.healthy is not False for each in report)
    if as_json:
        click.echo(to_json({"healthy": healthy, "checks": [vars(each) for each in report]}))
    else:
        tell(report)
    return Exit.DONE if healthy else Exit.UNEXPECTED


def tell(report: Sequence[Check]) -> None:
    width = max(len(each.job or each.check) for each in report)
    for each in report:
        said = legible(redact(each.said))
        click.echo(f"{MARKS[each.healthy]} {each.job or each.check:{width}}  {said}")


def unmade(entries: Sequence[Entry]) -> list[Check]:
    frame = [Check(each, None, NOT_CHECKED) for each in ("settings", "database", "migrations")]
    return frame + [Check("job", None, NOT_CHECKED, each.name) for each in entries]


def checks(entries: Sequence[Entry], *, named: bool) -> Iterator[Check]:
    """Make the checks in the order of `unmade`, up to the first that leaves the rest without sense."""
    try:
        settings = loaded().settings
    except JobctlError as error:
        yield Check("settings", False, sentence(error))
        return
    yield Check("settings", True, "sound")
    yield from look_into(settings, entries, named=named)


def look_into(settings: Settings, entries: Sequence[Entry], *, named: bool) -> Iterator[Check]:
    """Check the database, its migrations and each job, up to the first that leaves the rest without sense."""
    try:
        found = answer(settings, entries, named=named)
    except Exception as error:  # noqa: BLE001 (whatever it is: a probe gets its report)
        yield Check("database", False, sentence(error))
        return
    yield Check("database", True, f"{found.kind} reachable, {found.seconds * 1000:.0f} ms")
    if found.lacking:
        yield Check("migrations", False, found.lacking)
        return
    yield Check("migrations", True, SCHEMA)
    for each in entries:
        yield judged(each, found, settings, named=named)
    yield from (Check("waiting", False, said) for said in found.waiting)


def sentence(error: Exception) -> str:
    """Bring what went wrong into one line."""
    if not isinstance(error, JobctlError):
        return f"{type(error).__name__}: {first_line(error)}"
    first, *problems = str(error).splitlines()
    return " ".join([first, "; ".join(each.strip() for each in problems)]).strip()


def answer(settings: Settings, entries: Sequence[Entry], *, named: bool) -> Found:
    """Return what the database tells; raise what keeps it from that, be it only that it takes too long.

    In a thread that nobody has to wait for: a name server, a lock, a server that is stopped each have a
    patience of their own, if any.
    """
    answers: queue.SimpleQueue[Found | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(look(settings, entries, named=named))
        except Exception as error:  # noqa: BLE001 (raised below)
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answered = answers.get(timeout=PATIENCE)
    except queue.Empty:
        raise UnreachableError(f"the database did not answer within {PATIENCE:g} s") from None
    if isinstance(answered, Exception):
        raise answered
    return answered


def look(settings: Settings, entries: Sequence[Entry], *, named: bool) -> Found:
    if not settings.database_url:
        check_embedded(settings)
    began = time.monotonic()
    database = Database(settings, read_only=True, name="jobctl health")
    try:
        with database.transaction() as connection:
            now, seconds = clock(connection), time.monotonic() - began
            revision = current_revision(connection)
            lacking = None if revision == SCHEMA else wrong_schema(revision, connection)
            at = At(now, settings)
            jobs = {} if lacking else known(connection, entries, at)
            waiting = () if named or lacking else look_for_money(connection, now, settings)
    finally:
        database.close()
    return Found("SQLite" if database.embedded else "PostgreSQL", seconds, lacking, now, jobs, waiting)


def look_for_money(connection: Connection, now: datetime, settings: Settings) -> Sequence[str]:
    from jobctl.waiting import too_long  # noqa: PLC0415 (a probe of one job does without these tables)

    return list(too_long(connection, now, settings))


def known(connection: Connection, entries: Sequence[Entry], at: At) -> dict[str, Known]:
    """Return what is known of those jobs that ever ran, or for which rows wait."""
    from jobctl.backlog import oldest_of  # noqa: PLC0415 (it loads the jobs)

    noted = {each.job: each for each in connection.execute(select(idle_runs))}
    down = circuits.open_ones(connection)
    found = dict[str, Known]()
    for each in entries:
        said = [circuits.sentence(circuit) for circuit in down if circuit["job"] == each.name]
        ran = known_of(each.name, noted.get(each.name), connection)
        waits_since = oldest_of(each, at, connection)
        if ran or said or waits_since:
            ran = ran or Known(None, None, None)
            found[each.name] = replace(ran, down=said, waits_since=waits_since)
    return found


def known_of(job: str, noted: Row[Any] | None, connection: Connection) -> Known | None:
    if noted and noted.last_success_at:
        return Known(noted.last_success_at, None, None)
    oldest = select(runs.c.started_at).where(runs.c.job == job).order_by(runs.c.id).limit(1)
    first: datetime | None = connection.scalar(oldest)
    if not noted:
        return Known(None, first, None) if first else None
    if not first and not noted.last_idle_exit:
        # Of idle runs only the last is known. One that failed tells nothing of when that began.
        first = noted.last_at
    return Known(None, first, noted.last_idle_exit)


def judged(entry: Entry, found: Found, settings: Settings, *, named: bool) -> Check:
    """Hold a job's last success, or first run, and the oldest row that is due against its schedule."""
    if not (job := found.jobs.get(entry.name)):
        return Check("job", False if named else None, "never ran", entry.name)
    healthy, said, due = succeeds(entry, job, found.now, settings)
    waits = waits_too_long(entry, job.waits_since, found.now, settings)
    said = "; ".join(
        [said, *([f"rows are due since {readable(job.waits_since)}"] if waits else []), *job.down]
    )
    healthy = False if waits else healthy
    since = job.last_success_at
    return Check("job", healthy, said, entry.name, since, due, job.down, job.waits_since)


def succeeds(
    entry: Entry, job: Known, now: datetime, settings: Settings
) -> tuple[bool | None, str, datetime | None]:
    """Tell whether its last success is young enough, what to say of that, and when it was due again."""
    since = job.last_success_at or job.first_run_at
    if not since and job.exit_code is None:
        return (False if job.down else None), "never ran", None
    if not since:
        return False, f"never succeeded; its last run ended with exit code {job.exit_code}: jobctl jobs", None
    due = next(CronSim(entry.cron, since + SKEW))
    late = due <= now - settings.health_grace
    early = since > now + SKEW
    success = f"succeeded {readable(since)}" if job.last_success_at else "has not succeeded yet"
    fault = " and late: jobctl jobs" if late else ", a time that is still to come" if early else ""
    return not late and not early, f"{success}, due {readable(due)}{fault}", due


def waits_too_long(entry: Entry, since: datetime | None, now: datetime, settings: Settings) -> bool:
    if since is None:
        return False
    limits = {each.job: each.span for each in settings.health_waiting}
    served = next(CronSim(entry.cron, since + SKEW)) + settings.health_grace
    return now >= (since + limits[entry.name] if entry.name in limits else served)
