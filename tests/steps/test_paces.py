"""Channels that keep different paces."""

from itertools import count

import pytest

from jobctl import registry
from jobctl.errors import Exit
from jobctl.registry import Entry
from jobctl.tables.notifications import notifications
from tests.steps import effect_job
from tests.world import World

PACED = Entry("paced", "tests.steps.paced_job", "* * * * *", None, "Call at two paces.", ())


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "JOBS", (*registry.JOBS, PACED))


def test_a_slow_one_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second message has to wait for long; until then the others have all gone."""
    world.messages(2, channel="email")
    world.messages(5, channel="webhook")
    called = count(1)

    def stop_at_the_sixth() -> None:
        if next(called) == 6:
            world.stop.now(Exit.TERMINATED)

    monkeypatch.setattr(effect_job, "MEANWHILE", stop_at_the_sixth)
    done = world.run("paced")
    assert (done.exit_code, done.counts) == (Exit.TERMINATED, {"sent": 6, "put back": 1})
    assert [each.channel for each in world.rows(notifications) if each.status == "queued"] == ["email"]
