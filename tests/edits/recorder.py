"""A plugin of pytest's that has coverage keep which test runs over which lines, also in processes it starts.

Coverage itself is started by its own hook at the start of Python, in each process that has
COVERAGE_PROCESS_START: pytest, xdist's workers, and each jobctl that a test starts.
"""

import json
import os
import sys
import time
from collections.abc import Generator
from functools import _lru_cache_wrapper
from pathlib import Path

import coverage
import pytest

from tests.edits import processes

FOLDER, CONTEXT = "EDITS_RECORDING", "EDITS_CONTEXT"
FOLLOWED = ("COVERAGE_PROCESS_START", FOLDER, CONTEXT, "PYTHONPATH")


class State:
    """What is known of the test that runs."""

    started = 0  # processes, by the test that runs
    passed = True


def variables() -> dict[str, str]:
    State.started += 1
    return {name: os.environ[name] for name in FOLLOWED if name in os.environ}


def pytest_configure() -> None:
    processes.follow(variables)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    forget_results()
    State.started, State.passed, began = 0, True, time.monotonic()
    os.environ[CONTEXT] = item.nodeid
    measuring().switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        measuring().switch_context("")
        del os.environ[CONTEXT]
        told = [item.nodeid, round(time.monotonic() - began, 3), State.passed, State.started]
        with Path(os.environ[FOLDER], f"tests-{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    State.passed = State.passed and not report.failed and not report.skipped
    return report


def pytest_sessionfinish() -> None:
    """Write now what was measured: xdist ends its workers without a word to them."""
    coverage_of_process = measuring()
    coverage_of_process.stop()
    coverage_of_process.save()


def measuring() -> coverage.Coverage:
    found = coverage.Coverage.current()
    assert found is not None, "coverage was not started with the process"
    return found


def forget_results() -> None:
    """Have each test run over what is worked out once in a process, not only the first that needs it."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "jobctl":
            for each in vars(module).values():
                if isinstance(each, _lru_cache_wrapper):
                    each.cache_clear()
