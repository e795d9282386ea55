"""What is recovered is decided about as of the run that recovers it: by its settings and its instant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.jobs.subscriptions import autopayments
from jobctl.tables.notifications import notifications
from jobctl.tables.subscriptions import prices
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.subscribers import Club
from tests.world import ahead

BOTH = pytest.mark.parametrize("provider", ["stripe", "yookassa"])
AUTOPAYMENTS = "autopayments"
LATER = {"stripe": "pm_card_chargeDeclinedInsufficientFunds", "yookassa": "pm_yk_insufficient_funds"}


@pytest.mark.parametrize("answer", ["at once", "later"])
def test_the_row_that_is_settled_is_the_row_that_was_asked_about(
    club: Club, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """As what a plan costs, which is a matter of the instant that it is read for."""
    club.world.add(
        prices, {"plan_id": club.plan, "currency": "RUB", "amount_minor": 1, "valid_from": ahead(days=1)}
    )
    job, seen = autopayments.JOB, []

    def noting(which: Any) -> Any:
        def noted(at: Any, row: Any, *rest: Any) -> Any:
            seen.append(row)
            return which(at, row, *rest)

        return noted

    named = {name: noting(getattr(job, name)) for name in ("ask", "wanted", "settle")}
    monkeypatch.setattr(autopayments, "JOB", replace(job, **named))
    club.member()
    if answer == "later":
        club.sandbox.fault("dropped", "charge")
    club.run(AUTOPAYMENTS)
    club.pass_time(minutes=5)
    club.run(SETTLER)
    assert len(club.sandbox.ledger()) == 1
    assert len(seen) >= 3
    assert {each.amount_minor for each in seen} == {50_000}


@BOTH
def test_what_a_policy_has_the_customer_pay_is_wanted(market: Market, provider: str) -> None:
    market.provider = provider
    market.world.configure(no_show_consumer_policy="capture")
    order = market.held(market.past_session("no_show_consumer"))
    market.sandbox.fault("lost_answer", "capture")
    assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME
    market.pass_time(minutes=5)
    assert market.run(SETTLER).counts == {"captured": 1}
    assert market.status(order) == "captured"
    market.agree()


@BOTH
def test_until_when_a_card_may_be_given_is_a_setting(market: Market, provider: str) -> None:
    market.provider = provider
    window = timedelta(hours=3)
    market.world.configure(unpaid_cancellation_window=window)
    market.order(card=LATER[provider])
    market.sandbox.fault("lost_answer", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    market.pass_time(minutes=5)
    assert market.run(SETTLER).counts["declined"] == 1
    told = {datetime.fromisoformat(each.context["until"]) for each in market.world.rows(notifications)}
    assert {timedelta() <= each - market.now - window < timedelta(minutes=1) for each in told} == {True}


def test_the_days_on_which_a_charge_is_tried_again_are_a_setting(club: Club) -> None:
    club.world.configure(autopayment_retry_days=(2,))
    made = club.member(LATER[club.provider])
    club.sandbox.fault("lost_answer", "charge")
    assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
    club.pass_time(minutes=5)
    assert club.run(SETTLER).counts["declined"] == 1
    assert club.of(made).next_charge_at == datetime(2026, 3, 4, tzinfo=UTC)
