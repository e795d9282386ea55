"""One table of meanings for all adapters: whatever a provider means, each of them takes it for the same."""

from datetime import timedelta
from typing import Any

import pytest

from jobctl.providers import transport
from tests.providers import meanings_paystack, meanings_stripe, meanings_yookassa
from tests.providers.meanings import MEANINGS, Case, answering, taken_for

SIDES: dict[str, Any] = {
    "stripe": meanings_stripe,
    "yookassa": meanings_yookassa,
    "paystack": meanings_paystack,
}
TABLE = [
    pytest.param(name, case, id=f"{meaning}-{name}-{case}")
    for name, side in SIDES.items()
    for meaning, cases in side.CASES.items()
    for case in cases
]


@pytest.mark.parametrize("name", SIDES)
def test_each_adapter_has_each_meaning_or_says_why_not(name: str) -> None:
    side = SIDES[name]
    assert [each for each in MEANINGS if bool(side.CASES.get(each)) == (each in side.LACKING)] == []
    assert set(side.CASES) | set(side.LACKING) == set(MEANINGS)


@pytest.mark.parametrize(("name", "case"), TABLE)
def test_what_is_meant_is_what_it_is_taken_for(
    name: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PATIENCE", timedelta(0))
    with answering(case.answers):
        taken, code = taken_for(name, SIDES[name].PAYMENT, case)
    expected, its_code = case.expected
    assert (taken, code if its_code is not None or taken == "Succeeded" else None) == (expected, its_code)
