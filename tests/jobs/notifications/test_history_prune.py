"""What is kept, and for how long."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from jobctl.errors import Exit, UsageError
from jobctl.steps import set as set_step
from jobctl.tables.frame import audit_trail, idle_runs, run_errors, runs
from jobctl.tables.notifications import notifications
from tests.world import NOW, World, ago


def old_run(world: World, **values: object) -> int:
    given = {
        "job": "notification-sender",
        "started_at": ago(days=91),
        "ended_at": ago(days=90),
        "outcome": "done",
        "counts": {},
        "options": {},
        "host": "h",
        "pid": 1,
        "version": "0",
    }
    return world.add(runs, given | values)


def settled(world: World, **values: Any) -> int:
    given: dict[str, Any] = {
        "status": "sent",
        "settled_at": ago(days=30),
        "context": {"secret": 1},
        "address": "a@b.example",
    }
    return world.message(**(given | {"reason": "said to a@b.example"} | values))


def test_run_records_go_after_their_retention(world: World) -> None:
    old_run(world)
    young = old_run(world, ended_at=ago(days=89))
    running = old_run(world, ended_at=None, outcome="running")
    done = world.run("history-prune")
    assert done.counts["run records deleted"] == 1
    assert {each.id for each in world.rows(runs)} == {young, running, world.last_run().id}


def test_item_errors_idle_counters_and_the_trail_go_too(world: World) -> None:
    world.add(run_errors, {"run_id": 1, "at": ago(days=91), "table_name": "t", "row_id": 1, "error": "e"})
    idle = {"job": "gone", "idle_runs": 1, "overlapped": 0, "last_at": ago(days=91)}
    world.add(idle_runs, idle)
    trail = {"run_id": 1, "table_name": "t", "row_id": 1, "before": {}, "after": {}}
    world.add(audit_trail, trail | {"at": ago(days=365)})
    kept = world.add(audit_trail, trail | {"at": ago(days=364)})
    world.run("history-prune")
    assert world.errors() == []
    assert [each.job for each in world.rows(idle_runs)] == ["history-prune"]
    assert [each.id for each in world.trail()] == [kept]


@pytest.mark.parametrize("status", ["sent", "expired", "skipped", "cancelled", "failed", "held"])
def test_bodies_and_addresses_of_settled_messages_are_erased(world: World, status: str) -> None:
    message = settled(world, status=status)
    assert world.run("history-prune").counts == {"notifications erased": 1}
    row = world.row(message)
    assert (row.context, row.address, row.reason, row.erased_at) == ({}, None, None, NOW)
    assert row.status == status
    assert "a@b.example" not in str(world.trail())


@pytest.mark.parametrize(
    "fact",
    [{"settled_at": ago(days=29)}, {"status": "queued", "settled_at": None}, {"erased_at": ago(days=1)}],
    ids=str,
)
def test_others_are_not(world: World, fact: dict[str, Any]) -> None:
    message = settled(world, **fact)
    world.run("history-prune")
    assert world.row(message).context == {"secret": 1}


def test_since_keeps_what_is_older_untouched(world: World) -> None:
    older, younger = settled(world, settled_at=ago(days=60)), settled(world, settled_at=ago(days=40))
    world.run("history-prune", since=ago(days=50))
    assert world.row(older).erased_at is None
    assert world.row(younger).erased_at == NOW


def test_one_number_would_name_rows_of_several_tables(world: World) -> None:
    settled(world)
    before = world.everything()
    with pytest.raises(UsageError):
        world.run("history-prune", only=1)
    assert world.everything() == before


def test_a_second_run_finds_nothing(world: World) -> None:
    settled(world)
    world.run("history-prune")
    assert world.run("history-prune").counts == {}


def test_the_dry_run_shows_what_the_real_run_does(world: World) -> None:
    message, run = settled(world), old_run(world)
    before = world.everything()
    shown = world.run("history-prune", dry_run=True).document
    assert world.everything() == before
    assert "secret" not in str(shown)
    assert [(each["table"], each["row_id"]) for each in shown["rows"]] == [
        ("runs", run),
        ("notifications", message),
    ]
    assert world.run("history-prune").counts == shown["counts"]


def test_pages_limits_and_a_bad_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that the database refuses is halved until the bad row stands alone; the rest is done."""
    monkeypatch.setattr(set_step, "PAGE", 16)
    ids = world.messages(50, status="sent", settled_at=ago(days=31))
    bad = ids[20]
    with world.engine.begin() as connection:
        connection.execute(text(refusing(world, bad)))
    limited = world.run("history-prune", limit=10)
    assert limited.counts == {"notifications erased": 10}
    done = world.run("history-prune")
    assert done.exit_code == Exit.ITEMS_FAILED
    assert done.counts == {"notifications erased": 39, "failed": 1}
    assert [each.row_id for each in world.errors()] == [bad]
    assert [each.id for each in world.rows(notifications) if each.erased_at is None] == [bad]


def refusing(world: World, message: int) -> str:
    if world.settings.database_url:
        return f"ALTER TABLE notifications ADD CONSTRAINT no CHECK (id <> {message} OR erased_at IS NULL)"
    return (
        f"CREATE TRIGGER no BEFORE UPDATE OF erased_at ON notifications WHEN NEW.id = {message} "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    )


def test_retention_is_a_setting(world: World) -> None:
    world.configure(pii_retention=timedelta(days=7))
    message = settled(world, settled_at=ago(days=8))
    world.run("history-prune")
    assert world.row(message).erased_at == NOW
