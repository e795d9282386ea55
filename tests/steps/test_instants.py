"""The first and the last instant of what is decided about a money operation by the time that has passed.

Who decides does so at the moment of the decision, a day after the run began here; not when that was.
"""

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobctl import journal
from jobctl.job import At
from jobctl.journal import PATIENT, Operation
from jobctl.providers.protocol import Declined, NotListed, Pending, Unknown
from jobctl.providers.switchboard import PROVIDERS, horizon, key_lives, listed_after
from jobctl.steps import absence
from jobctl.steps.concluding import Conclusion, key_is_alive, overdue, repeating
from tests.world import NOW

TICK, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
EACH = pytest.mark.parametrize("provider", PROVIDERS)


def at(moment: datetime) -> At:
    return At(NOW - DAY, moment=moment)


def operation(provider: str = "stripe", **values: Any) -> Operation:
    """Return one that was sent now."""
    given: dict[str, Any] = dict.fromkeys(Operation._fields)
    given |= {"kind": "refund", "subject": "order", "subject_id": 1, "cycle": "hold-1", "payment_id": "pi_1"}
    given |= {"amount_minor": 4500, "currency": "USD", "attempt": 1, "asked": 0, "account": "test"}
    return Operation(**given | {"provider": provider, "first_sent_at": NOW, "follows": 1} | values)


@pytest.mark.parametrize(("provider", "lives"), [("stripe", 23 * HOUR), ("yookassa", 23 * HOUR)])
def test_a_key_lives_for_23_hours_from_its_first_sending(provider: str, lives: timedelta) -> None:
    assert key_lives(provider) == lives
    assert key_is_alive(operation(provider), NOW + lives - TICK)
    assert not key_is_alive(operation(provider), NOW + lives)


@EACH
def test_what_was_never_sent_or_has_no_keys_has_none_that_lives(provider: str) -> None:
    assert not key_is_alive(operation(provider, first_sent_at=None), NOW)
    assert key_is_alive(operation(provider), NOW) == (provider != "paystack")


@EACH
def test_an_absence_is_believed_once_the_lists_have_had_their_time_since_the_first(provider: str) -> None:
    missed = operation(provider, missed_at=NOW)
    assert not absence.is_believed(at(NOW + listed_after(provider) - TICK), missed)
    assert absence.is_believed(at(NOW + listed_after(provider)), missed)
    assert not absence.is_believed(at(NOW + DAY), operation(provider))


@EACH
def test_the_first_absence_stays_and_the_next_look_is_once_it_can_be_believed(provider: str) -> None:
    values = absence.missed(at(NOW + HOUR), operation(provider))
    assert (values["missed_at"], values["answer_by"]) == (NOW + HOUR, NOW + HOUR + listed_after(provider))
    assert absence.missed(at(NOW + HOUR), operation(provider, missed_at=NOW))["missed_at"] == NOW


@EACH
def test_what_seemed_absent_is_looked_for_until_the_horizon(provider: str) -> None:
    end = NOW + horizon(provider)
    assert absence.looked_for(at(end - TICK), operation(provider)) == {"look_until": end, "answer_by": end}
    assert absence.looked_for(at(end), operation(provider)) == {"look_until": None, "answer_by": None}


@pytest.mark.parametrize(("age", "wait"), [(1, 60), (60, 60), (61, 61), (3600, 3600), (43_200, 43_200)])
def test_the_older_it_is_the_longer_until_it_is_looked_for_again(age: int, wait: int) -> None:
    now = NOW + timedelta(seconds=age)
    assert absence.looked_for(at(now), operation())["answer_by"] == now + timedelta(seconds=wait)


@pytest.mark.parametrize("answer", [NotListed(), Unknown("http_500", "down"), Pending("pi_2")], ids=str)
def test_nothing_but_a_decision_ends_that_before_the_horizon(answer: Any) -> None:
    """What the provider has under another number meanwhile is kept: that is what it is asked about then."""
    values = absence.looked_again(at(NOW + HOUR), operation(payment_id=None, asked=2), answer)
    assert values["asked"] == 3
    assert values["answer_by"] > NOW + HOUR
    assert values.get("look_until", NOW) is not None
    assert values.get("payment_id") == ("pi_2" if isinstance(answer, Pending) else None)
    decided = absence.looked_again(at(NOW + HOUR), operation(), Declined("no", "no"))
    assert (decided["look_until"], decided["answer_by"]) == (None, None)


def test_an_answer_is_overdue_from_its_instant_on() -> None:
    assert not overdue(at(NOW - TICK), operation(answer_by=NOW))
    assert overdue(at(NOW), operation(answer_by=NOW))
    assert not overdue(at(NOW), operation())


def test_intervals_between_looks_double_up_to_an_hour() -> None:
    minutes = [(journal.next_time(asked, NOW) - NOW) / timedelta(minutes=1) for asked in range(12)]
    assert minutes == [1, 2, 4, 8, 16, 32, *[60] * 6]


def test_intervals_between_refusals_double_up_to_four_hours_and_then_are_days() -> None:
    minutes = [journal.patience(attempts) / timedelta(minutes=1) for attempts in range(1, 15)]
    assert minutes == [1, 2, 4, 8, 16, 32, 64, 128, 240, 240, 240, 1440, 1440, 1440]


@pytest.mark.parametrize("undoing", journal.UNDOING)
def test_a_person_is_told_of_the_last_of_the_patient_attempts_and_of_none_before(undoing: str) -> None:
    for attempt, told in ((PATIENT - 1, False), (PATIENT, True), (PATIENT + 1, True)):
        one = operation(kind=undoing, attempt=attempt)
        made = repeating(at(NOW), Conclusion(one, "rejected"))
        assert (made.finding is not None) == told
        (again,) = made.later
        assert again.not_before == NOW + journal.patience(attempt)
        assert (again.cycle, again.follows, again.account) == (one.cycle, one.follows, one.account)
