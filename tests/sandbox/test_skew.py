"""Providers' own clocks: each may be off from the sandbox's, and every answer says what it is."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
import requests

from jobctl.sandbox import BILLING_KEY, Sandbox
from tests.sandbox.client import INTENTS, TIMEOUT, Client, ok, soon
from tests.sandbox.merchant import TRANSACTIONS, Merchant, paid
from tests.sandbox.shop import PAYMENTS, Shop
from tests.sandbox.test_control import control
from tests.sandbox.test_flutterwave import ASKED
from tests.world import NOW

BEHIND = timedelta(minutes=-11)


def off(answer: requests.Response, at: datetime = NOW) -> timedelta:
    """Return how far an answer's Date is from an instant, give or take what a slow machine needs."""
    said = parsedate_to_datetime(answer.headers["Date"]) - at
    return timedelta(minutes=round(said / timedelta(minutes=1)))


@pytest.mark.parametrize("skew", [BEHIND, timedelta(), timedelta(hours=2)])
def test_every_answer_has_its_date(
    sandbox: Sandbox, stripe: Client, shop: Shop, paystack: Merchant, skew: timedelta
) -> None:
    """Refusals and faults too."""
    for each in ("stripe", "yookassa", "paystack", "flutterwave", "billing"):
        sandbox.conditions(each, skew=skew.total_seconds())
    sandbox.fault("http_429", "charge", times=2)
    url = sandbox.url
    answers = [
        stripe.hold(), stripe.charge(), stripe.get(f"{INTENTS}/pi_0"), shop.charge(), shop.get(PAYMENTS),
        paystack.get(TRANSACTIONS), paystack.verify("ref-0"),
        requests.post(f"{url}/realms/flutterwave/protocol/openid-connect/token", data=ASKED, timeout=TIMEOUT),
        requests.get(
            f"{url}/billing/api/v1/paysession/1", headers={"x-api-key": BILLING_KEY}, timeout=TIMEOUT
        ),
    ]  # fmt: skip
    assert [off(each) for each in answers] == [skew] * len(answers)


def test_what_is_made_is_of_the_providers_time(
    stripe: Client, shop: Shop, paystack: Merchant, sandbox: Sandbox
) -> None:
    """The ledger is of the sandbox's, all the same."""
    for each in ("stripe", "yookassa", "paystack"):
        sandbox.conditions(each, skew=BEHIND.total_seconds())
    intent = stripe.intent(stripe.held())
    assert soon(intent["created"], NOW + BEHIND)
    ends = intent["latest_charge"]["payment_method_details"]["card"]["capture_before"]
    assert soon(ends, NOW + BEHIND + timedelta(days=4, hours=18))
    payment = shop.payment(shop.held())
    created, expires = (datetime.fromisoformat(payment[each]) for each in ("created_at", "expires_at"))
    assert soon(int(created.timestamp()), NOW + BEHIND)
    assert expires - created == timedelta(days=7)
    transaction = paystack.transaction(paid(sandbox))
    assert soon(int(datetime.fromisoformat(transaction["paid_at"]).timestamp()), NOW + BEHIND)
    for effect in sandbox.ledger():
        assert soon(int(effect.at.timestamp()), NOW)


def test_so_is_a_list_by_time(stripe: Client, sandbox: Sandbox) -> None:
    """Whoever asks for the last ten minutes by a clock of their own doesn't find it."""
    sandbox.conditions("stripe", skew=BEHIND.total_seconds())
    stripe.held()
    since = {"created[gte]": str(int((NOW - timedelta(minutes=10)).timestamp()))}
    assert ok(stripe.get(INTENTS, **since))["data"] == []
    assert len(ok(stripe.get(INTENTS))["data"]) == 1


def test_a_hold_ends_by_the_providers_clock(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.conditions("stripe", skew=BEHIND.total_seconds())
    stripe.held()
    window = timedelta(days=4, hours=18)
    sandbox.set_clock(NOW + window - timedelta(minutes=1))
    assert [each.kind for each in sandbox.ledger()] == ["hold"]
    sandbox.set_clock(NOW + window + timedelta(minutes=1))
    assert [each.kind for each in sandbox.ledger()] == ["hold", "expiry"]
    assert sandbox.ledger()[1].at - sandbox.ledger()[0].at >= window - timedelta(seconds=1)


def test_what_is_late_and_what_is_done_by_hand(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.conditions("stripe", skew=7200)
    sandbox.fault("late", "authorize", seconds=60)
    with pytest.raises(requests.ConnectionError):
        stripe.hold()
    sandbox.advance(61)
    (intent,) = ok(stripe.get(INTENTS))["data"]
    assert soon(intent["created"], NOW + timedelta(hours=2, minutes=1))
    sandbox.dashboard.cancel("stripe", intent["id"])
    assert soon(stripe.intent(intent["id"])["canceled_at"], NOW + timedelta(hours=2, minutes=1))


def test_over_http(stripe: Client, sandbox: Sandbox) -> None:
    said = ok(control(sandbox, "POST", "conditions", {"provider": "stripe", "skew": -660}))
    assert said["skew"] == -660
    assert off(stripe.get(INTENTS)) == BEHIND
    for wrong in ("soon", 10**10):
        refused = control(sandbox, "POST", "conditions", {"provider": "stripe", "skew": wrong})
        assert refused.status_code == 400
