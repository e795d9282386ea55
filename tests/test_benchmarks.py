"""The benchmarks still run: those that need nothing but this machine and take seconds, with tiny counts.

The others take too long for this; each has a `--quick` form that is run by hand.
"""

import importlib
import os
import sys
from pathlib import Path

import pytest

import benchmarks
from tests.conftest import SERVER

# What each would take many of, and how many of them there are here.
TINY = {"payments": {"QUICK": 20}, "escrow": {"QUICK": 200}, "backlog": {"FEW": 100, "QUICK": 1000}}
HELPERS = {"bare_frame", "launcher", "silent_channel", "checkout_aiohttp", "checkout_service"}
ALL = sorted({each.stem for each in Path(benchmarks.__file__).parent.glob("*.py")} - HELPERS - {"__init__"})


@pytest.mark.parametrize("name", ALL)
def test_it_can_be_imported(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("name", TINY)
def test_it_runs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if not os.environ.get(SERVER):
        pytest.skip("it compares with a PostgreSQL")
    monkeypatch.setenv("JOBCTL_TEST_DATABASE_URL", os.environ[SERVER])
    monkeypatch.setattr(sys, "argv", [name, "--quick"])
    module = importlib.import_module(f"benchmarks.{name}")
    for each, count in TINY[name].items():
        monkeypatch.setattr(module, each, count)
    module.main()
    assert "ratio" in capsys.readouterr().out
