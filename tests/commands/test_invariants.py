"""`jobctl invariants`: which rules hold, the rows that break the others, and exit code 6."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from jobctl.errors import Exit
from jobctl.invariants.every import RULES
from jobctl.tables.notifications import notifications
from tests.world import NOW, World, command

pytestmark = pytest.mark.usefixtures("environment")
RULE = "settled-messages-say-when"
MANY = 1_203


def break_it(world: World, count: int) -> list[int]:
    """Have so many messages that say they were sent, and not when."""
    queued = {"channel": "tray", "template": "welcome", "context": {}, "queued_at": NOW, "status": "sent"}
    with world.engine.begin() as connection:
        connection.execute(insert(notifications), [queued] * count)
    return [each.id for each in world.rows(notifications)]


def test_a_line_is_printed_for_each_rule_and_a_sentence_at_the_end() -> None:
    done = command("invariants")
    *lines, last = done.out.splitlines()
    assert (done.exit_code, done.err) == (Exit.DONE, "")
    assert [each.split() for each in lines] == [[rule.name, "holds"] for rule in RULES]
    assert last == f"{len(RULES)} rules hold; none is broken."


def test_a_broken_one_has_its_rows_under_it(world: World) -> None:
    first, second = break_it(world, 2)
    done = command("invariants", RULE, "claimed-messages-are-queued")
    assert done.exit_code == Exit.INVARIANT_BROKEN
    broken, *rows, holds, last = done.out.splitlines()
    assert broken.split(maxsplit=1) == [RULE, "broken: 2 rows"]
    facts = "channel=tray  template=welcome  status=sent  settled_at=-"
    assert rows == [f"  notifications {first}  {facts}", f"  notifications {second}  {facts}"]
    assert holds.split() == ["claimed-messages-are-queued", "holds"]
    assert last == "1 rule holds, 1 is broken by 2 rows."


def test_twenty_rows_are_shown_or_as_many_as_are_asked_for(world: World) -> None:
    break_it(world, 23)
    lines = command("invariants", RULE).out.splitlines()
    assert (len(lines), lines[21]) == (23, "  … and 3 more (--json shows all)")
    lines = command("invariants", RULE, "--limit", "22").out.splitlines()
    assert (len(lines), lines[23]) == (25, "  … and 1 more (--json shows all)")
    assert len(command("invariants", RULE, "--limit", "23").out.splitlines()) == 25


def test_json_is_one_document_with_every_row(world: World) -> None:
    ids = break_it(world, MANY)
    done = command("invariants", "--json")
    assert done.exit_code == Exit.INVARIANT_BROKEN
    rules: dict[str, Any] = {each["name"]: each for each in done.document["rules"]}
    assert (list(rules), done.document["broken"]) == ([each.name for each in RULES], 1)
    broken = rules[RULE]
    assert [each["id"] for each in broken["rows"]] == ids
    assert broken["rows"][0] == {
        "table": "notifications",
        "id": ids[0],
        "channel": "tray",
        "template": "welcome",
        "status": "sent",
        "settled_at": None,
    }
    assert (broken["holds"], broken["count"]) == (False, MANY)
    assert broken["rule"].startswith("A message that was sent")
    (limited,) = command("invariants", RULE, "--json", "--limit", "3").document["rules"]
    assert (limited["count"], len(limited["rows"])) == (MANY, 3)


def test_a_rule_is_checked_once_however_often_it_is_named() -> None:
    assert len(command("invariants", RULE, RULE).out.splitlines()) == 2


def test_nothing_is_written_not_even_a_run_record(world: World) -> None:
    break_it(world, 1)
    before = world.everything()
    assert world.call("invariants").exit_code == Exit.INVARIANT_BROKEN
    assert world.everything() == before


def test_a_list_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://nowhere")
    done = command("invariants", "--list")
    assert done.exit_code == Exit.DONE
    assert all(f"{rule.name} " in done.out and rule.sentence in done.out for rule in RULES)
    listed = json.loads(command("invariants", "--list", "--json", RULE).out)
    assert [each["name"] for each in listed] == [RULE]


@pytest.mark.parametrize("arguments", [("no-such-rule",), (RULE, "--limit", "0"), ("--limit", "x")], ids=str)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...]) -> None:
    done = command("invariants", *arguments)
    assert (done.exit_code, done.out) == (Exit.USAGE, "")


def test_a_database_that_is_not_there_is_misconfigured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("JOBCTL_HOME", str(tmp_path / "nowhere"))
    assert command("invariants").exit_code == Exit.MISCONFIGURED


def test_one_that_cannot_be_reached_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/market")
    assert command("invariants", "--json").exit_code == Exit.UNREACHABLE
