"""Each message that any job queues can be rendered with the context it was queued with, in each language."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import jobctl.jobs
from jobctl.rendering import BUILT_IN, Reader, Templates
from jobctl.tables.notifications import notifications
from jobctl.tables.sessions import orders, sessions
from tests.bazaar import Bazaar
from tests.credits import Office
from tests.payments import AUTHORIZER, CANCELLER, PROCESSOR, SETTLER, Market
from tests.subscribers import Club
from tests.world import NOW, ago, ahead

DECLINES = "pm_card_visa_chargeDeclinedInsufficientFunds"
LANGUAGES = sorted(path.name for path in BUILT_IN.iterdir() if path.is_dir())
QUEUED_BY_JOBS = {
    name
    for path in Path(jobctl.jobs.__file__).parent.rglob("*.py")
    for name in re.findall(
        r"(?:notify\(|tell\(\w+,|^\s+\()\s*\"([a-z]+-[a-z-]+)\",", path.read_text("utf-8"), re.MULTILINE
    )
}


def cards(market: Market) -> None:
    """Decline holds with a deadline and without, of sessions and extensions, renewals, and another's card."""
    soon = market.session(starts_at=ahead(minutes=30), ends_at=ahead(minutes=90))
    for session in (market.session(starts_at=ahead(hours=40), ends_at=ahead(hours=41)), soon):
        parent = market.order(session, DECLINES)
        market.order(session, DECLINES, parent_order_id=parent)
        for part in (market.order(session), market.order(session, parent_order_id=parent)):
            market.of_another(part)
    held = market.held()
    market.change_method(market.of(orders, held).payment_method_id, provider_method=DECLINES)
    market.world.change(orders, held, hold_ends_at=ahead(hours=1))
    market.run(AUTHORIZER)
    market.pass_time(hours=25)
    market.run(CANCELLER)


def attendance(market: Market) -> None:
    for role in (None, "expert_id", "consumer_id"):
        session = market.session(starts_at=ago(hours=2), ends_at=ago(hours=1))
        if role:
            market.join(session, getattr(market.of(sessions, session), role))
    market.world.run("session-attendance-analyzer")
    market.held(market.past_session())
    market.run(PROCESSOR)
    market.session(starts_at=ahead(minutes=10))
    market.session(starts_at=ahead(minutes=10), join_url="https://market.example/1", expert_id=2**40)
    market.world.run("upcoming-session-reminder")


def subscriptions(market: Market) -> None:
    club = Club(market.world, sandbox=market.sandbox, provider="stripe")
    for method in (None, DECLINES, "pm_card_chargeDeclinedFraudulent"):
        club.member(method)
    club.run("autopayments")
    club.subscription(ended_at=ago(days=4))
    club.run("expire-subscriptions")


def escrow(market: Market) -> None:
    bazaar = Bazaar(market.world, market.sandbox)
    paid, failed, late = (
        bazaar.transaction(bazaar.request(created_at=ago(hours=hours))) for hours in (25, 25, 49)
    )
    bazaar.request()
    for payment, status in ((paid, "success"), (failed, "failed"), (late, "abandoned")):
        bazaar.at_paystack(payment, status)
    bazaar.run("payment-cleanup")
    bazaar.pass_time(hours=2)
    bazaar.at_paystack(late, "success")
    for _ in range(2):
        bazaar.pass_time(minutes=30)
        bazaar.run("payment-cleanup")
        bazaar.run(SETTLER)


def credits_of_the_month(market: Market) -> None:
    office = Office(market.world)
    professional = office.professional()
    office.lot(professional, 40, NOW + timedelta(days=1))
    office.lot(professional, 2, created_at=ago(days=180))
    office.run("monthly-credits-reset")
    office.run("credit-expiry-warning")


DOMAINS: dict[Any, set[str]] = {
    cards: {"payment-card-declined", "session-cancelled-unpaid"},
    attendance: {
        "session-missed",
        "session-missed-by-expert",
        "session-apology",
        "session-receipt",
        "session-reminder",
    },
    subscriptions: {"subscription-renewed", "renewal-declined", "subscription-expired"},
    escrow: {"request-paid", "request-declined", "request-refunded"},
    credits_of_the_month: {"credits-reset", "credits-expiring"},
}


@pytest.mark.parametrize("live", DOMAINS, ids=lambda each: each.__name__)
def test_what_is_queued_can_be_rendered_in_each_language(market: Market, live: Any) -> None:
    live(market)
    queued = market.world.rows(notifications)
    assert {each.template for each in queued} == DOMAINS[live]
    templates = Templates(None, "en")
    for message in queued:
        for language in LANGUAGES:
            rendered = templates.render(
                message.template, Reader("Anna", language, "Asia/Kathmandu"), message.context
            )
            for part in (rendered.subject, rendered.text, rendered.html or ""):
                assert part
                assert not re.search(r"\bNone\b|\+00:00|\{\{", part), (message.template, message.context)


def test_all_that_jobs_queue_is_among_them() -> None:
    assert set().union(*DOMAINS.values()) == QUEUED_BY_JOBS
