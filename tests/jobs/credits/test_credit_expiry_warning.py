"""Who is told of credits that are about to expire: once for each day, and of how many."""

from datetime import UTC, datetime

import pytest

from jobctl.errors import Exit
from tests.credits import Office
from tests.world import NOW, ago, ahead

JOB = "credit-expiry-warning"


def told(office: Office) -> list[tuple[int, int, str]]:
    """Return who was told of how many credits, and when the first of them expires."""
    return [
        (each.user_id, each.context["credits"], each.context["expires_at"])
        for each in office.told("credits-expiring")
    ]


def plain(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


@pytest.mark.parametrize(
    ("expires_at", "warned"),
    [
        (ahead(days=7), True),
        (ahead(days=7, seconds=1), False),
        (ahead(seconds=1), True),
        (NOW, False),
        (ago(days=1), False),
    ],
    ids=["last", "later", "soon", "now", "over"],
)
def test_within_the_warning(office: Office, expires_at: datetime, *, warned: bool) -> None:
    office.lot(office.professional(), 40, expires_at)
    done = office.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"warned of": 1} if warned else {})
    assert told(office) == ([(1, 40, plain(expires_at))] if warned else [])


def test_how_long_is_a_setting(office: Office) -> None:
    office.lot(office.professional(), 40, ahead(days=2))
    office.world.configure(credit_expiry_warning=NOW - ago(days=1))
    assert office.run(JOB).counts == {}


def test_one_without_a_date_is_warned_of_by_its_lifetime(office: Office) -> None:
    office.lot(office.professional(), 40, created_at=datetime(2025, 8, 31, 12, tzinfo=UTC))
    office.now = datetime(2026, 2, 27, 12, tzinfo=UTC)
    office.run(JOB)
    assert told(office) == [(1, 40, "2026-02-28T12:00:00.000000Z")]


def test_of_a_day_once_with_all_that_expires_on_it(office: Office) -> None:
    pro, other = office.professional(), office.professional()
    for n, hour in enumerate((6, 1, 2)):  # what expires first was not bought first
        office.lot(pro, 10**n, NOW.replace(day=3, hour=hour))
    office.lot(pro, 5000, ahead(days=3))
    office.lot(other, 7, ahead(days=3))
    spent = office.lot(pro, 90000, ahead(days=3), remaining_amount=0)
    assert office.run(JOB).counts == {"warned of": 5}
    assert sorted(told(office)) == [
        (1, 111, "2026-03-03T01:00:00.000000Z"),
        (1, 5000, plain(ahead(days=3))),
        (2, 7, plain(ahead(days=3))),
    ]
    assert office.left(spent) == 0


def test_nobody_is_told_twice(office: Office) -> None:
    pro = office.professional()
    office.lot(pro, 40, ahead(days=2))
    office.run(JOB)
    assert office.run(JOB).counts == {}
    office.now = ahead(days=1)
    assert office.run(JOB).counts == {}
    office.lot(pro, 2, ahead(days=2))  # of the same day
    office.run(JOB)
    assert len(told(office)) == 1


def test_a_day_that_the_warning_parts_is_told_of_whole(office: Office) -> None:
    """The later of its lots is not due yet, and is not forgotten."""
    pro = office.professional()
    office.lot(pro, 1, ahead(days=7, hours=1))
    office.lot(pro, 2, ahead(days=6, hours=23))
    office.run(JOB)
    assert told(office) == [(1, 3, plain(ahead(days=6, hours=23)))]
    office.now = ahead(days=1)
    assert office.run(JOB).counts == {"warned of": 1}
    assert len(told(office)) == 1


def test_options_and_people(office: Office) -> None:
    office.lot(office.professional(deleted_at=ago(days=1)), 40, ahead(days=2))
    deaf = office.professional()
    office.world.opt_out(2, "tray", "credits")
    office.lot(deaf, 40, ahead(days=2))
    early = office.professional()
    office.lot(early, 40, ahead(days=1))
    assert office.run(JOB).counts == {"warned of": 2}
    assert [each[0] for each in told(office)] == [3]


def test_a_dry_run_shows_what_is_done(office: Office) -> None:
    pro = office.professional()
    office.lot(pro, 40, ahead(days=2))
    office.lot(pro, 2, ahead(days=2))
    before = office.world.everything()
    document = office.run(JOB, dry_run=True).document
    assert office.world.everything() == before
    assert document["counts"] == {"warned of": 2, "queued": 2}
    office.run(JOB)
    assert len(told(office)) == 1
