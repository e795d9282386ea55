"""A plugin of pytest's that runs chosen tests in a given order, ends a hang, and writes down what failed."""

import faulthandler
import json
import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.edits import processes

ORDER = "EDITS_TRIAL"  # names the file that says what to do


class Trial:
    def __init__(self, order: Path) -> None:
        wanted = json.loads(order.read_text(encoding="utf-8"))
        self.tests: list[str] = wanted["tests"]
        self.hang: float = wanted["hang"]  # seconds
        self.ends_at: float = time.monotonic() + wanted["seconds"]
        self.report, self.begun = order.with_suffix(".report"), order.with_suffix(".begun")
        self.failed: str | None = None
        self.cut = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {each.nodeid: each for each in items}
        items[:] = [found[each] for each in self.tests if each in found]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with self.begun.open("a", encoding="utf-8") as file:
            file.write(f"{item.nodeid}\n")
            faulthandler.dump_traceback_later(self.hang, exit=True, file=file)
            try:
                return (yield)
            finally:
                faulthandler.cancel_dump_traceback_later()
                self.look_at_the_clock(item.session)

    def look_at_the_clock(self, session: pytest.Session) -> None:
        if time.monotonic() > self.ends_at and not self.failed:
            self.cut = True
            session.shouldstop = "the time for this edit is used up"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed:
            self.failed = self.failed or item.nodeid
        return report

    def pytest_sessionfinish(self) -> None:
        told = {"failed": self.failed, "cut": self.cut}
        self.report.write_text(json.dumps(told), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    processes.follow(lambda: {"PYTHONPATH": os.environ["PYTHONPATH"]})
    config.pluginmanager.register(Trial(Path(os.environ[ORDER])))
