"""A start is part of the product: what may be imported for what."""

import json
import subprocess
import sys

import pytest

from tests.world import World

PRINT_MODULES = """
import json, sys
from jobctl import cli
code = cli.guarded(sys.argv[1:])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
HEAVY = {
    "alembic",
    "babel",
    "dotenv",
    "email",
    "importlib",
    "jinja2",
    "requests",
    "smtplib",
    "urllib3",
    "zoneinfo",
}


def unavoidable(world: World) -> set[str]:
    """Return what SQLAlchemy's core and the driver load by themselves."""
    driver = "psycopg" if world.settings.database_url else "sqlite3"
    line = f"import json, sys, click, logging, sqlalchemy, {driver}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def loaded(world: World | None, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, *arguments],
        env=world.environment() if world else None,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_help_loads_neither_sqlalchemy_nor_requests() -> None:
    assert not loaded(None, "--help") & {"sqlalchemy", "requests", "psycopg", "jobctl.settings", "logging"}


def test_a_probe_loads_only_what_it_needs(world: World) -> None:
    modules = loaded(world, "health", "wallet-creation")
    ours = {each for each in modules - unavoidable(world) if each.partition(".")[0] in HEAVY}
    assert not ours
    assert "sqlalchemy.orm" not in modules
    jobs = {each for each in modules if each.startswith("jobctl.jobs.") and each.count(".") > 2}
    assert jobs == {"jobctl.jobs.marketplace.wallet_creation"}


@pytest.mark.parametrize(
    "job", ["notification-sender", "history-prune", "flutterwave-key-update", "checkout-session-monitor"]
)
def test_a_run_with_nothing_due_loads_only_what_it_needs(world: World, job: str) -> None:
    modules = loaded(world, job)
    ours = {each for each in modules - unavoidable(world) if each.partition(".")[0] in HEAVY}
    assert not ours
    assert "sqlalchemy.orm" not in modules
    assert "cronsim" not in modules
    assert ("psycopg" in modules) == bool(world.settings.database_url)
