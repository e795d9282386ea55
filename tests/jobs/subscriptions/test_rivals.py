"""Reconciliation by several processes at once, while the application writes the same payments."""

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from jobctl.errors import Exit
from jobctl.sandbox import SECRET_KEY, YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID
from jobctl.tables.findings import findings
from jobctl.tables.subscriptions import payments, subscription_periods, subscriptions
from tests.rival import Webhook, a_month_after, apply
from tests.sandbox.client import until
from tests.subscribers import Club

SUCCESSFUL, PENDING = "matching-successful-payments", "matching-pending-payments"
BUYERS = 40


def told(club: Club, user: int, number: str, paid_at: datetime) -> dict[str, Any]:
    money = {"amount_minor": 50_000, "currency": "RUB", "paid_at": paid_at}
    return {"provider": club.provider, "number": number, "user_id": user, "plan_id": club.plan, **money}


def settings_of(club: Club) -> dict[str, str]:
    bases = {f"{name}_API_BASE": club.sandbox.url for name in ("STRIPE", "YOOKASSA")}
    keys = {"STRIPE_SECRET_KEY": SECRET_KEY, "YOOKASSA_SECRET_KEY": YOOKASSA_SECRET_KEY}
    rates = {f"{name}_RATE_LIMIT": "100000/s" for name in ("STRIPE", "YOOKASSA")}
    return {**bases, **keys, **rates, "YOOKASSA_SHOP_ID": YOOKASSA_SHOP_ID}


def test_each_payment_is_applied_once_whoever_comes_first(club: Club) -> None:
    """Two of each job, and the application's webhooks, which come in another order than lists do.

    Every third buyer has a subscription already and every other one pays twice; of each three payments one
    is unknown here, one pending and one was given up.
    """
    club.now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=3)
    club.sandbox.set_clock(club.now)
    buyers = [buyer(club, n) for n in range(BUYERS)]
    paid: list[dict[str, Any]] = []
    for n, (user, _) in enumerate(buyers):
        for nth in range(1 + n % 2):
            paid_at = club.now - timedelta(minutes=20 + n + 30 * nth)
            number = club.pay(user, ago=club.now - paid_at)
            paid.append(told(club, user, number, paid_at))
            if len(paid) % 3:
                status = "pending" if len(paid) % 3 == 1 else "expired"
                club.begun(user, number, status=status)
    before = len(club.world.rows(subscription_periods))
    runs = [
        club.world.process(job, "--share", "--json", **settings_of(club)) for job in (SUCCESSFUL, PENDING) * 2
    ]
    webhooks = Webhook(club.world.settings, random.Random(2026).sample(paid, len(paid)))
    until(lambda: club.world.rows(subscription_periods)[before:])
    webhooks.start()
    ends = [each.communicate(timeout=120) for each in runs]
    webhooks.join()
    assert 0 < webhooks.applied < len(paid), "they did not meet"
    assert [each.returncode for each in runs] == [Exit.DONE] * 4, ends
    assert club.world.rows(findings) == []
    rows = {each.provider_payment_id: each for each in club.world.rows(payments)}
    assert set(rows) >= {each["number"] for each in paid}
    periods = Counter(each.payment_id for each in club.world.rows(subscription_periods))
    assert {periods[rows[each["number"]].id] for each in paid} == {1}
    bought = Counter(each["user_id"] for each in paid)
    for user, had in buyers:
        (subscription,) = club.subscriptions_of(user)
        end = had
        for each in sorted(
            (each for each in paid if each["user_id"] == user), key=lambda each: each["paid_at"]
        ):
            end = a_month_after(end or each["paid_at"], subscription.billing_anchor_day)
        theirs = club.periods(subscription.id)
        assert len(theirs) == bought[user] + (had is not None)
        assert [one.period_end for one in theirs[:-1]] == [next_.period_start for next_ in theirs[1:]]
        assert had is None or subscription.ended_at == end


@pytest.mark.only("postgresql")
@pytest.mark.parametrize("job", [SUCCESSFUL, PENDING])
def test_who_comes_second_sees_what_the_first_has_done(club: Club, job: str) -> None:
    """The application has written the payment, and not committed it yet, when the job comes to it.

    On SQLite nobody can: there a writer excludes every other one.
    """
    club.now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=3)
    club.sandbox.set_clock(club.now)
    user = club.buyer()
    paid = told(club, user, club.pay(user), club.now - timedelta(minutes=5))
    if job == PENDING:
        club.begun(user, paid["number"], status="expired")
    with club.world.engine.begin() as connection:
        assert apply(connection, paid)
        run = club.world.process(job, "--json", **settings_of(club))
        until(lambda: connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err, json.loads(out)["counts"]) == (Exit.DONE, "", {})
    assert [each.status for each in club.payments_of(user)] == ["succeeded"]
    (subscription,) = club.subscriptions_of(user)
    assert len(club.periods(subscription.id)) == 1


@pytest.mark.parametrize("first", ["the application", "the job"])
@pytest.mark.parametrize(
    "why", ["another plan", "cancelled", "cancelled since", "lost", "another user", "an old period"]
)
def test_what_buys_nothing_buys_nothing_of_either(club: Club, why: str, first: str) -> None:
    made = club.member(next_charge_at=None)
    user, number = club.of(made).user_id, club.pay(club.of(made).user_id)
    values: dict[str, dict[str, Any]] = {
        "another plan": {"plan_id": club.plan_of(name="Year", unit="year")},
        "cancelled": {},
        "cancelled since": {"subscription_id": None},
        "another user": {"user_id": club.buyer()},
        "an old period": {"period_start": club.now - timedelta(days=40)},
    }
    if why != "lost":
        club.begun(**{"user_id": user, "number": number, "subscription_id": made, **values[why]})
    if why in ("cancelled", "cancelled since", "lost"):
        club.world.change(subscriptions, made, status="cancelled", cancelled_at=club.now)
    before = club.of(made), club.periods(made)
    paid = told(club, user, number, club.now - timedelta(minutes=5))
    if first == "the application":
        with club.world.engine.begin() as connection:
            assert not apply(connection, paid)
    job = SUCCESSFUL if why == "lost" else PENDING
    assert club.run(job).exit_code == (Exit.DONE if first == "the application" else Exit.ITEMS_FAILED)
    with club.world.engine.begin() as connection:
        assert not apply(connection, paid)
    assert (club.of(made), club.periods(made)) == before
    assert [each.status for each in club.world.rows(payments)] == ["succeeded"] * 2
    assert len(club.world.rows(subscriptions)) == 1


def buyer(club: Club, n: int) -> tuple[int, datetime | None]:
    """Add a buyer; return the user, and the end of the subscription that they have."""
    if n % 3:
        return club.buyer(), None
    ended_at = club.now + timedelta(days=4)
    made = club.member(ended_at=ended_at, next_charge_at=None)
    return club.of(made).user_id, ended_at
