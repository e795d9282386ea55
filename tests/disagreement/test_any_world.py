"""A world that disagrees, at random, in short; `python -m benchmarks.disagreement` has it at length."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from jobctl.providers import transport
from tests.conftest import Worlds
from tests.disagreement.machine import AnyWorld


def test_everybody_agrees_in_the_end(worlds: Worlds, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(transport, "PATIENCE", timedelta(0))
    machine = type("Machine", (AnyWorld,), {"worlds": staticmethod(worlds), "folder": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=2,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # a shorter way to a failure is for the long form to find
            suppress_health_check=list(HealthCheck),
        ),
    )
