"""What all parts of the world share: one database, one sandbox, one clock, and how jobs are run."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from sqlalchemy import func, select

from jobctl import registry
from jobctl.errors import Exit
from jobctl.invariants.every import RULES
from jobctl.sandbox.faults import KINDS
from jobctl.sandbox.ledger import Effect
from jobctl.sandbox.protocol import CALLS
from jobctl.tables.findings import findings
from jobctl.tables.frame import run_errors
from tests.bazaar import Bazaar
from tests.disagreement.watched import Watched
from tests.payments import Market
from tests.subscribers import Club
from tests.world import NOW, Done, World

ROOT = Path(__file__).parents[2]
ANY = st.integers(0, 1_000)  # of what there is, one
SENDER = "notification-sender"
JOBS = tuple(each.name for each in registry.JOBS)
NIGHTLY = ("history-prune", "monthly-credits-reset", "credit-expiry", "credit-expiry-warning")
APART = (SENDER, "upcoming-session-reminder", "checkout-session-monitor", "flutterwave-key-update", *NIGHTLY)
MONEY = tuple(each for each in JOBS if each not in APART)  # those that have to do with money here
ASKING = (  # those that ask providers, the ones that move money twice
    *["session-payment-authorizer", "session-payment-processor", "autopayments"] * 2,
    *["settle-operations", "payment-cleanup", "matching-pending-payments", "matching-successful-payments"],
)
ROUND = "all"
SLOW = {"delay", "drip", "drip_head", "gzip_bomb", "text_deep"}  # of real time
TROUBLES = sorted(set(KINDS) - SLOW)
STRUCK = ("any", "any", *sorted(set(CALLS) - {"token", "other"}))
LATE, PAUSES = (45.0, 600.0, 7200.0), (0.02, 60.0)  # seconds
THEN = st.one_of(
    st.none(),
    st.tuples(st.sampled_from([ROUND, *ASKING])),
    st.tuples(st.sampled_from(ASKING), st.sampled_from(TROUBLES), st.sampled_from(STRUCK), ANY),
)
# Which id a new payment has nobody can tell but the provider: that of a known one alone is proved.
KNOWN = ("capture", "release", "refund", "retrieve")
# Several may apply to one run; a stop is never asked for.
SOUND = {Exit.DONE, Exit.ITEMS_FAILED, Exit.UNKNOWN_OUTCOME, Exit.UNREACHABLE, Exit.MISCONFIGURED}
LOUD = SOUND - {Exit.DONE}
TOLD = Counter[str]()  # what all examples came to


def happening(**drawn: Any) -> Callable[[Callable[..., None]], Any]:
    """Make a rule of something that happens, after which a job may run, or all of them."""

    def made(function: Callable[..., None]) -> Any:
        def happen(self: "Stage", *given: Any, then: Sequence[Any] | None = None, **values: Any) -> None:
            function(self, *given, **values)
            self.go_on(then)

        happen.__name__, happen.__doc__ = function.__name__, function.__doc__
        untyped: Any = rule
        return untyped(then=THEN, **drawn)(happen)

    return made


class Stage(RuleBasedStateMachine):
    """worlds: makes a migrated database, given a folder that is not there."""

    worlds: Callable[[Path], AbstractContextManager[World]]
    folder: Path
    processes = True  # whether real ones are started, of which none has the same moments twice

    def __init__(self) -> None:
        super().__init__()
        TOLD["examples"] += 1
        self.stack = ExitStack()
        self.world = self.stack.enter_context(self.worlds(self.folder / f"example-{TOLD['examples']}"))
        self.sandbox = self.stack.enter_context(Watched())
        self.now: datetime = NOW
        self.market = Market(self.world, self.sandbox)
        self.club = Club(self.world, sandbox=self.sandbox)
        self.bazaar = Bazaar(self.world, self.sandbox)
        self.reversed: set[str] = set()  # by a bank, at Paystack

    def at_dashboard(self, act: str, provider: str, payment: str, *arguments: Any) -> None:
        """Have somebody do something there; what the provider would refuse doesn't happen."""
        with suppress(Exception):
            getattr(self.sandbox.dashboard, act)(provider, payment, *arguments)
            TOLD["acts by hand"] += 1

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)
        for each in (self.market, self.club, self.bazaar):
            each.now = self.now
        self.sandbox.set_clock(self.now)

    # ── runs ─────────────────────────────────────────────────────────────────────────────────

    def run_job(self, job: str, **options: Any) -> Done:
        """Run a job in this process, and see that its exit code tells what it came to."""
        TOLD["runs"] += 1
        before = self.left_to_people()
        done = self.world.run(job, now=self.now, **options)
        assert done.exit_code in SOUND, (job, done)
        news = self.left_to_people() - before
        assert not news or done.exit_code in LOUD, (job, done, news)
        return done

    def go_on(self, then: Sequence[Any] | None) -> None:
        """Let a job run, or all of them; with a fault that strikes once, if one is named."""
        if not then:
            return
        job, *fault = then
        if fault:
            self.provide(job, fault[-1])
            self.trouble(*fault)
        for each in MONEY if job == ROUND else (job,):
            self.run_job(each)

    def provide(self, job: str, number: int) -> None:
        """Have something due for a job; number: which provider, and which of what there is."""
        raise NotImplementedError

    def trouble(self, kind: str, call: str, long: int, times: int = 1) -> None:
        if kind == "other_id" and call not in KNOWN:
            call = KNOWN[long % len(KNOWN)]
        seconds = LATE if kind == "late" else PAUSES
        with suppress(ValueError):  # of a call that this fault never strikes
            self.sandbox.fault(kind, call, times=times, seconds=seconds[long % len(seconds)])

    def left_to_people(self) -> set[tuple[str, int]]:
        """Return what runs have left to a person: findings, and errors of rows."""
        with self.world.engine.connect() as connection:
            found = connection.scalars(select(findings.c.id)).all()
            errors = connection.scalars(select(run_errors.c.id)).all()
        return {*(("finding", each) for each in found), *(("error", each) for each in errors)}

    def start(self, job: str) -> "subprocess.Popen[str]":
        """Start a real run that shares the work, at the world's present."""
        TOLD["processes"] += 1
        given = {
            f"{name.upper()}": str(getattr(self.world.settings, name))
            for name in ADDRESSED
            if getattr(self.world.settings, name) is not None
        }
        rates = {f"{each}_RATE_LIMIT": "100000/s" for each in ("STRIPE", "YOOKASSA", "PAYSTACK")}
        environment = self.world.environment(**given, **rates, PYTHONPATH=str(ROOT))
        command = [sys.executable, "-m", "tests.disagreement.process", job, self.now.isoformat()]
        return subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finish(self, job: str, process: "subprocess.Popen[str]") -> None:
        out, err = process.communicate(timeout=120)
        if process.returncode != -9:  # it was not killed
            assert process.returncode in SOUND, (job, process.returncode, out, err)

    # ── what is there ────────────────────────────────────────────────────────────────────────

    def one(self, table: Any, which: int, *conditions: Any) -> Any:
        """Return one of the rows, if there are any."""
        with self.world.engine.connect() as connection:
            rows = connection.execute(select(table).where(*conditions).order_by(table.c.id)).all()
        return rows[which % len(rows)] if rows else None

    def count(self, table: Any, *conditions: Any) -> int:
        with self.world.engine.connect() as connection:
            return int(connection.scalar(select(func.count()).select_from(table).where(*conditions)) or 0)

    def effects(self, *kinds: str) -> list[Effect]:
        return [each for each in self.sandbox.ledger() if each.kind in kinds]

    def open_findings(self) -> list[Any]:
        return [each for each in self.world.rows(findings) if each.status == "open"]

    def broken(self) -> Mapping[str, Any]:
        """Return the rules of invariants that are broken, and the rows that break them."""
        with self.world.engine.connect() as connection:
            found = {each.name: connection.execute(each.broken).all() for each in RULES}
        return {name: rows for name, rows in found.items() if rows}


ADDRESSED = (
    "stripe_secret_key",
    "stripe_api_base",
    "yookassa_shop_id",
    "yookassa_secret_key",
    "yookassa_api_base",
    "paystack_secret_key",
    "paystack_url",
)
assert os.name == "posix", "runs are killed by SIGKILL"
