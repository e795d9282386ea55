"""The list step: windows, the watermark, what is here already, bad items."""

from datetime import datetime

import pytest

from jobctl import registry
from jobctl.errors import Exit
from jobctl.registry import Entry
from jobctl.tables.findings import findings
from jobctl.tables.frame import runs, watermarks
from jobctl.tables.notifications import notifications
from tests.steps import listing_job
from tests.steps.listing_job import Elsewhere, Item
from tests.world import NOW, World, ago, ahead

JOB = Entry("follow", "tests.steps.listing_job", "* * * * *", None, "Follow a list.", ())


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    monkeypatch.setattr(registry, "JOBS", (*registry.JOBS, JOB))
    there = Elsewhere([Item(f"i{n}", ago(minutes=10 + n)) for n in range(5)])
    monkeypatch.setattr(listing_job, "ELSEWHERE", there)
    return there


BEGUN = {"follow.elsewhere": ago(minutes=61)}  # what the first run leaves, whatever becomes of it


def marks(world: World) -> dict[str, datetime]:
    return {each.source: each.until for each in world.rows(watermarks)}


def here(world: World) -> set[str]:
    return {each.once_key for each in world.rows(notifications)}


def test_what_is_listed_and_not_here_is_recorded_once(world: World) -> None:
    assert world.run("follow").counts == {"recorded": 5}
    assert world.run("follow").counts == {}
    assert here(world) == {"i0", "i1", "i2", "i3", "i4"}
    assert len(world.rows(runs)) == 1


def test_the_window_reaches_back_to_the_watermark_when_runs_were_missed(
    world: World, elsewhere: Elsewhere
) -> None:
    world.run("follow")
    world.run("follow", now=ahead(minutes=2))
    world.run("follow", now=ahead(days=3))
    minute, overlap = ahead(minutes=1) - NOW, ahead(minutes=10) - NOW
    first, second, *late = elsewhere.asked
    assert first == (ago(minutes=61), ago(minutes=1))
    assert second == (ahead(minutes=2) - minute - (first[1] - first[0]), ahead(minutes=1))
    assert (late[0][0], late[-1][1]) == (second[1] - overlap, ahead(days=3) - minute)
    assert [end for _, end in late[:-1]] == [start for start, _ in late[1:]]
    assert len(late) == 64, "parts of more than an hour"


def test_the_oldest_is_settled_first(world: World, elsewhere: Elsewhere) -> None:
    elsewhere.items = [Item(f"i{n}", ago(hours=n)) for n in (3, 1, 30, 7, 2)]
    world.run("follow", since=ago(days=2))
    assert [each.once_key for each in world.rows(notifications)] == ["i30", "i7", "i3", "i2", "i1"]


def test_the_watermark_moves_only_once_everything_is_settled(world: World, elsewhere: Elsewhere) -> None:
    for options in ({"since": ago(minutes=30)}, {"dry_run": True}):
        world.run("follow", **options)
        assert marks(world) == {}
    world.run("follow", limit=3)
    assert marks(world) == BEGUN
    elsewhere.down = True
    assert world.run("follow").exit_code == Exit.UNREACHABLE
    assert marks(world) == BEGUN
    elsewhere.down = False
    world.run("follow")
    assert marks(world) == {"follow.elsewhere": ago(minutes=1)}


def test_what_the_first_run_could_not_come_to_is_not_missed(world: World, elsewhere: Elsewhere) -> None:
    elsewhere.down = True
    assert world.run("follow").exit_code == Exit.UNREACHABLE
    elsewhere.down = False
    assert world.run("follow", now=ahead(hours=9)).counts == {"recorded": 5}


def test_a_new_key_begins_where_the_one_that_came_least_far_was(world: World, elsewhere: Elsewhere) -> None:
    """One of them may have been another account's; one of long ago is not asked back to."""
    for key, until in (("old", ago(days=99)), ("right", ago(days=5)), ("wrong", ago(hours=2))):
        world.add(watermarks, {"source": f"follow.elsewhere.{key}", "until": until})
    elsewhere.items.append(Item("lost", ago(days=5)))
    assert world.run("follow").counts == {"recorded": 6}
    assert elsewhere.asked[0][0] == ago(days=5, minutes=10)


def test_a_new_key_looks_at_days_that_the_old_one_may_have_missed(world: World, elsewhere: Elsewhere) -> None:
    """It may have been another account's from the first day on."""
    world.add(watermarks, {"source": "follow.elsewhere.wrong", "until": ago(hours=2)})
    elsewhere.items.append(Item("lost", ago(days=2)))
    assert world.run("follow").counts == {"recorded": 6}
    assert world.run("follow", now=ahead(minutes=1)).counts == {}
    assert elsewhere.asked[-1][0] == ago(minutes=60)


def test_since_is_the_start_of_the_window_and_its_end_is_excluded(world: World, elsewhere: Elsewhere) -> None:
    elsewhere.items = [
        Item("start", ago(minutes=30)),
        Item("end", ago(minutes=1)),
        Item("before", ago(hours=1)),
    ]
    world.run("follow", since=ago(minutes=30))
    assert here(world) == {"start"}


def test_a_bad_item_is_an_error_and_stops_no_other(world: World, elsewhere: Elsewhere) -> None:
    """One that the job refuses, and one that the database does."""
    elsewhere.items += [Item("odd", ago(minutes=20), "nonsense"), Item("worse", ago(minutes=21), "pigeon")]
    done = world.run("follow")
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"recorded": 5, "failed": 2})
    found = sorted(each.once_key for each in world.rows(findings))
    assert found == ["listed and not recorded.odd", "listed and not recorded.worse"]
    assert world.run("follow").exit_code == Exit.DONE


@pytest.mark.parametrize(
    "bad",
    [
        Item("odd", ago(minutes=20), "unthinkable"),
        Item("odd", ago(minutes=20), "worst"),
        Item("odd", ago(minutes=20).replace(tzinfo=None)),
        Item("odd\ud800", ago(minutes=20)),
        Item("odd", ago(minutes=20), "\ud800"),
    ],
    ids=["in the news", "with words", "without a time zone", "by its number", "in a value"],
)
def test_whatever_is_raised_of_an_item_stops_no_other(world: World, elsewhere: Elsewhere, bad: Item) -> None:
    elsewhere.items.insert(2, bad)
    done = world.run("follow")
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"recorded": 5, "failed": 1})
    (finding,) = world.rows(findings)
    assert finding.once_key.startswith("listed and not recorded.odd")
    assert [each.row_id for each in world.errors()] == [finding.id]
    assert len(world.rows(watermarks)) == 1
    assert world.run("follow").exit_code == Exit.DONE


def test_what_is_listed_and_cannot_be_marked_as_seen_stops_no_other(
    world: World, elsewhere: Elsewhere
) -> None:
    world.run("follow")
    world.forbid(notifications, "NEW.once_key = 'i2'")
    elsewhere.items.append(Item("new", ago(minutes=20)))
    done = world.run("follow", now=ahead(minutes=1))
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"recorded": 1, "failed": 1})
    marked = {each.once_key for each in world.rows(notifications) if each.send_after == ahead(minutes=1)}
    assert marked == {"i0", "i1", "i3", "i4"}
    assert [each.once_key for each in world.rows(findings)] == ["listed and not recorded.i2"]


def test_what_not_even_a_finding_can_tell_of_is_an_error_of_each_run(
    world: World, elsewhere: Elsewhere
) -> None:
    """The watermark waits for it, and nothing else does."""
    elsewhere.items.insert(0, Item("odd", ago(minutes=59), "pigeon"))
    world.refuse(findings, "kind", "listed and not recorded")
    for counts in ({"recorded": 5, "failed": 1}, {"failed": 1}):
        done = world.run("follow")
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, counts)
        assert marks(world) == BEGUN
    world.allow(findings)
    assert world.run("follow").counts == {"failed": 1}
    assert len(world.rows(findings)) == 1
    assert marks(world) == {"follow.elsewhere": ago(minutes=1)}


def test_what_the_job_may_not_decide_is_found_once(world: World, elsewhere: Elsewhere) -> None:
    """It is listed again as long as the window reaches back to it; only the first run tells a person."""
    elsewhere.items[1] = Item("i1", elsewhere.items[1].at, channel="nobody")
    (shown,) = (each for each in world.run("follow", dry_run=True).document["rows"] if each["after"] == {})
    done = world.run("follow")
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"recorded": 4, "found": 1})
    (finding,) = world.rows(findings)
    assert (finding.kind, finding.once_key, finding.status) == ("orphan", "orphan.i1", "open")
    assert (finding.reason, finding.run_id) == ("nobody wants it", world.last_run().id)
    assert [(each.table_name, each.row_id) for each in world.errors()] == [("findings", finding.id)]
    assert (shown["table"], shown["row_id"], shown["outcome"]) == ("findings", finding.once_key, "found")
    again = world.run("follow")
    assert (again.exit_code, again.counts, len(world.rows(runs))) == (Exit.DONE, {}, 1)
    assert world.run("follow", dry_run=True).document["rows"] == []
    assert world.rows(findings) == [finding]


def test_the_dry_run_shows_it_and_changes_nothing(world: World) -> None:
    before = world.everything()
    shown = world.run("follow", dry_run=True).document
    assert [each["after"]["once_key"] for each in shown["rows"]] == ["i4", "i3", "i2", "i1", "i0"]
    assert world.everything() == before
    assert world.run("follow").counts == shown["counts"]
