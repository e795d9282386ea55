"""`jobctl findings`: what needs someone, and that somebody saw to it."""

import pytest

from jobctl.errors import Exit
from jobctl.tables.findings import findings
from jobctl.tables.frame import runs
from tests.world import World, ago, command

pytestmark = pytest.mark.usefixtures("environment")


def finding(world: World, n: int = 1, **values: object) -> int:
    given = {
        "kind": "orphan payment",
        "once_key": f"orphan payment.yookassa.22-{n}",
        "reason": "its metadata names no user",
        "facts": {"provider": "yookassa", "payment": f"22-{n}"},
        "amount_minor": 50_000,
        "currency": "RUB",
        "found_at": ago(hours=1),
    }
    return world.add(findings, given | values)


def listed(*options: str) -> list[int]:
    done = command("findings", "list", "--json", *options)
    assert done.exit_code == Exit.DONE
    return [each["id"] for each in done.document]


def test_open_ones_are_listed_newest_first(world: World) -> None:
    first, second = finding(world), finding(world, 2, kind="mismatch")
    resolved = finding(world, 3, status="resolved", resolved_at=ago(minutes=1), resolution="refunded")
    assert listed() == [second, first]
    assert listed("--all") == [resolved, second, first]
    assert listed("--kind", "mismatch") == [second]
    assert listed("--limit", "1") == [second]
    assert listed("--kind", "nothing") == []
    assert "500.00 RUB" in command("findings", "show", str(first)).out


def test_one_is_shown_with_all_that_is_known(world: World) -> None:
    made = finding(world)
    shown = command("findings", "show", str(made), "--json").document
    (row,) = world.rows(findings)
    assert (shown["id"], shown["facts"], shown["reason"]) == (made, row.facts, row.reason)
    text = command("findings", "show", str(made)).out
    for value in (*row.facts.values(), row.reason, row.kind):
        assert value in text
    assert text.splitlines()[-1].endswith(f"jobctl findings resolve {made} --reason …")


def test_one_that_is_resolved_names_no_next_command(world: World) -> None:
    made = finding(world)
    command("findings", "resolve", str(made), "--reason", "refunded")
    assert "findings resolve" not in command("findings", "show", str(made)).out


def test_it_is_resolved_once_with_a_reason(world: World) -> None:
    made, other = finding(world), finding(world, 2)
    done = command("findings", "resolve", str(made), "--reason", "  refunded by hand ")
    assert done.exit_code == Exit.DONE
    row, untouched = world.rows(findings)
    assert (row.status, row.resolution, row.resolved_at > row.found_at) == (
        "resolved",
        "refunded by hand",
        True,
    )
    assert (untouched.id, untouched.status) == (other, "open")
    (run,) = world.rows(runs)
    assert (run.job, run.outcome, run.counts) == ("findings resolve", "done", {"resolved": 1})
    (change,) = world.trail()
    assert (change.table_name, change.row_id, change.after["status"]) == ("findings", made, "resolved")
    assert "by hand" not in str(change.after)
    before = world.everything()
    again = command("findings", "resolve", str(made), "--reason", "twice")
    assert (again.exit_code, world.everything()) == (Exit.USAGE, before)


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "99"),
        ("show", "x"),
        ("show",),
        ("resolve", "99", "--reason", "why"),
        ("resolve", "1"),
        ("resolve", "1", "--reason", ""),
        ("resolve", "1", "--reason", "  "),
        ("list", "--limit", "0"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(world: World, arguments: tuple[str, ...]) -> None:
    finding(world)
    before = world.everything()
    done = command("findings", *arguments)
    assert (done.exit_code, done.out, world.everything()) == (Exit.USAGE, "", before)
