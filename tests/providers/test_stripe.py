"""What is asked of Stripe, and what its answers, its faults and its silence are taken for."""

import io
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from jobctl.errors import Exit
from jobctl.job import Means, NotBegunError, ScopeDownError
from jobctl.money import Money
from jobctl.parsing import Rate
from jobctl.providers import transport
from jobctl.providers.protocol import (
    KINDS,
    Answer,
    Authorize,
    Capture,
    Charge,
    Declined,
    Inquiry,
    Kind,
    Mismatched,
    NoEffect,
    NotFound,
    NotListed,
    Outcome,
    Paid,
    Pending,
    Refund,
    Rejected,
    Release,
    Request,
    Succeeded,
    Unknown,
    Unreadable,
    UnrepresentableError,
)
from jobctl.providers.stripe import VERSION, Stripe, account, compose
from jobctl.sandbox import SECRET_KEY, Sandbox
from jobctl.settings import Settings
from tests.providers.ways import OFTEN, Hasty
from tests.sandbox.client import Client, ok
from tests.servers import HookServer, Reply, closed_port
from tests.world import NOW

KEY = "abcd1234.operation-7"
TEN = Money(1000, "USD")
INTENTS = "/v1/payment_intents"
VISA, OTHERS = timedelta(days=4, hours=18), timedelta(days=7)
EFFECTS = {
    "authorize": "hold",
    "charge": "charge",
    "capture": "capture",
    "release": "release",
    "refund": "refund",
}
ALL = cast(tuple[Kind, ...], tuple(EFFECTS))
EVER = 10_000
HOUR = 3600.0

Open = Callable[..., Stripe]


def request(what: Kind, payment: str = "pi_1", amount: Money = TEN, method: str = "pm_card_visa") -> Request:
    made: dict[Kind, Request] = {
        "authorize": Authorize(amount, "cus_1", method),
        "charge": Charge(amount, "cus_1", method),
        "capture": Capture(payment, amount),
        "release": Release(payment),
        "refund": Refund(payment, amount),
    }
    return made[what]


def ask(stripe: Stripe, wanted: Request, key: str = KEY) -> Outcome:
    return stripe.send(KINDS[type(wanted)], compose(wanted, key), key)


def done(outcome: Answer) -> str:
    """Return the id of what has succeeded."""
    assert isinstance(outcome, Succeeded), outcome
    return outcome.payment_id


def inquiry(what: Kind, payment: str | None = None, key: str = KEY) -> Inquiry:
    return Inquiry(what, key, payment, NOW)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what goes on failing be given up after a few repeats."""
    monkeypatch.setattr(transport, "PATIENCE", timedelta(seconds=1))


@pytest.fixture
def stop() -> Hasty:
    return Hasty()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        made.set_clock(NOW)
        yield made


@pytest.fixture
def server() -> Iterator[HookServer]:
    with HookServer() as made:
        yield made


@pytest.fixture
def at(stop: Hasty) -> Iterator[Open]:
    with ExitStack() as closing:

        def opened(url: str, **changed: Any) -> Stripe:
            usual = {
                "stripe_secret_key": SECRET_KEY,
                "stripe_api_base": url,
                "stripe_rate_limit": OFTEN,
                "stripe_timeout": timedelta(seconds=5),
            }
            made = Stripe(Settings(**{**usual, **changed}), Means(stop, 4, io.StringIO(), clock=lambda: NOW))
            closing.callback(made.close)
            return made

        yield opened


@pytest.fixture
def stripe(sandbox: Sandbox, at: Open) -> Stripe:
    return at(sandbox.url)


def prepared(stripe: Stripe, what: Kind) -> str:
    """Make what a capture, a release or a refund needs; return its id."""
    first: dict[Kind, Kind] = {"capture": "authorize", "release": "authorize", "refund": "charge"}
    return done(ask(stripe, request(first[what]), "earlier")) if what in first else "pi_1"


def effects(sandbox: Sandbox) -> list[str]:
    return [each.kind for each in sandbox.ledger() if each.key == KEY]


def says(status: int, document: Any, **headers: str) -> Reply:
    # The end of a connection is what pushes the answer out without waiting for an acknowledgement.
    return Reply(status, {"Connection": "close", **headers}, json.dumps(document).encode())


def after_one(stop: Hasty, sandbox: Sandbox, name: str, act: Callable[[], object]) -> None:
    """Let this happen once the first request of that name has come, before the next is sent."""
    before = sandbox.requests().get(name, {}).get("requests", 0)
    happened: list[object] = []

    def once() -> None:
        if not happened and sandbox.requests().get(name, {}).get("requests", 0) > before:
            happened.append(act())

    stop.then = once


# The account, and the amounts


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"stripe_secret_key": "sk_test_1"}, "test"),
        ({"stripe_secret_key": "sk_live_1"}, "live"),
        ({"stripe_secret_key": "rk_live_1"}, "live"),
        ({"stripe_secret_key": "sk_live_1", "stripe_account": "market-eu"}, "market-eu"),
    ],
)
def test_the_account_is_named_by_a_setting_or_its_key(settings: dict[str, str], name: str) -> None:
    assert account(Settings(**cast(Any, settings))) == name


def test_without_a_key_nothing_is_opened(at: Open) -> None:
    for opening in (lambda: account(Settings()), lambda: at("http://127.0.0.1", stripe_secret_key=None)):
        with pytest.raises(ScopeDownError, match="STRIPE_SECRET_KEY is not set") as caught:
            opening()
        assert caught.value.exit_code is Exit.MISCONFIGURED


AMOUNTS = [
    (Money(1000, "USD"), "1000"),
    (Money(500, "JPY"), "500"),
    (Money(12340, "KWD"), "12340"),
    (Money(500, "ISK"), "50000"),
    (Money(5000, "UGX"), "500000"),
    (Money(500_000, "MGA"), "5000"),
]


@pytest.mark.parametrize(("amount", "written"), AMOUNTS)
@pytest.mark.parametrize("what", ["authorize", "charge", "capture", "refund"])
def test_amounts_are_in_stripes_smallest_unit(what: Kind, amount: Money, written: str) -> None:
    fields = dict(compose(request(what, amount=amount), KEY)["fields"])
    assert fields["amount_to_capture" if what == "capture" else "amount"] == written
    assert fields.get("currency", amount.currency.lower()) == amount.currency.lower()


@pytest.mark.parametrize(
    "amount",
    [
        *(Money(1235, each) for each in ("BHD", "JOD", "KWD", "OMR", "TND")),
        Money(150, "MGA"),
    ],
)
@pytest.mark.parametrize("what", ["authorize", "charge", "capture", "refund"])
def test_what_stripe_cannot_represent_is_refused_and_not_rounded(what: Kind, amount: Money) -> None:
    with pytest.raises(UnrepresentableError, match=amount.currency):
        compose(request(what, amount=amount), KEY)


@pytest.mark.parametrize(("amount", "written"), AMOUNTS)
def test_what_was_paid_is_listed_with_the_amount_that_was_asked_for(
    stripe: Stripe, sandbox: Sandbox, amount: Money, written: str
) -> None:
    payment = done(ask(stripe, request("charge", amount=amount)))
    assert str(sandbox.ledger()[0].amount) == written
    ((listed,),) = stripe.listed(NOW, NOW + timedelta(hours=1))
    assert isinstance(listed, Paid)
    assert (listed.id, listed.amount) == (payment, amount)


# What is sent


PAYMENT = [
    ["amount", "1000"],
    ["currency", "usd"],
    ["customer", "cus_1"],
    ["payment_method", "pm_card_visa"],
    ["confirm", "true"],
    ["off_session", "true"],
    ["expand[0]", "latest_charge"],
    ["metadata[jobctl_key]", KEY],
]
COMPOSED: dict[Kind, tuple[str, list[list[str]]]] = {
    "authorize": (INTENTS, [*PAYMENT, ["capture_method", "manual"]]),
    "charge": (INTENTS, [*PAYMENT, ["capture_method", "automatic"]]),
    "capture": (
        f"{INTENTS}/pi_1/capture",
        [["amount_to_capture", "1000"], ["expand[0]", "latest_charge"]],
    ),
    "release": (f"{INTENTS}/pi_1/cancel", [["cancellation_reason", "abandoned"]]),
    "refund": (
        "/v1/refunds",
        [["payment_intent", "pi_1"], ["amount", "1000"], ["metadata[jobctl_key]", KEY]],
    ),
}


@pytest.mark.parametrize("what", ALL)
def test_a_request_has_the_documented_fields(what: Kind) -> None:
    composed = compose(request(what), KEY)
    path, fields = COMPOSED[what]
    assert (composed["method"], composed["path"]) == ("POST", path)
    assert sorted(composed["fields"]) == sorted(fields)
    assert composed == json.loads(json.dumps(composed)) == compose(request(what), KEY)


@pytest.mark.parametrize("what", ALL)
def test_a_stored_request_is_sent_word_for_word(server: HookServer, at: Open, what: Kind) -> None:
    server.default = says(401, {})
    stripe = at(server.url)
    stored = json.loads(json.dumps(compose(request(what), KEY)))
    for _ in range(2):
        stripe.send(what, stored, KEY)
    first, second = server.requests
    assert (first.path, first.headers, first.body) == (second.path, second.headers, second.body)
    assert first.headers["idempotency-key"] == KEY
    assert first.headers["authorization"] == f"Bearer {SECRET_KEY}"
    assert first.headers["stripe-version"] == VERSION


# The five calls at work


@pytest.mark.parametrize("what", ALL)
def test_it_succeeds(stripe: Stripe, sandbox: Sandbox, what: Kind) -> None:
    payment = prepared(stripe, what)
    outcome = done(ask(stripe, request(what, payment)))
    effect = sandbox.ledger()[-1]
    assert (effect.kind, effect.amount, effect.currency) == (EFFECTS[what], 1000, "usd")
    assert (effect.key, effect.intent) == (KEY, outcome)
    assert payment in (outcome, "pi_1")
    assert done(ask(stripe, request(what, payment))) == outcome
    assert effects(sandbox) == [EFFECTS[what]]
    assert sandbox.versions().keys() == {VERSION}


def test_less_than_the_hold_is_captured_and_refunded(stripe: Stripe, sandbox: Sandbox) -> None:
    payment = prepared(stripe, "capture")
    done(ask(stripe, Capture(payment, Money(600, "USD")), "key-c"))
    done(ask(stripe, Refund(payment, Money(250, "USD")), "key-r"))
    assert sandbox.totals() == {"usd": {"held": 1000, "captured": 600, "released": 0, "refunded": 250}}


@pytest.mark.parametrize(("card", "lasts"), [("pm_card_visa", VISA), ("pm_card_mastercard", OTHERS)])
def test_a_hold_ends_when_stripe_says(stripe: Stripe, card: str, lasts: timedelta) -> None:
    outcome = ask(stripe, request("authorize", method=card))
    assert isinstance(outcome, Succeeded)
    assert outcome.hold_ends_at
    assert timedelta(0) <= outcome.hold_ends_at - NOW - lasts < timedelta(minutes=1)
    for payment in (None, outcome.payment_id):
        assert stripe.look(inquiry("authorize", payment)) == outcome


def test_only_a_hold_has_an_end(stripe: Stripe) -> None:
    assert cast(Succeeded, ask(stripe, request("charge"))).hold_ends_at is None


CREATED = int(NOW.timestamp())
HELD = {"id": "pi_1", "status": "requires_capture", "created": CREATED}


def charge(details: Any) -> dict[str, Any]:
    return {"latest_charge": {"id": "ch_1", "payment_method_details": details}}


@pytest.mark.parametrize(
    ("told", "lasts"),
    [
        (charge({"card": {"capture_before": CREATED + 3600}}), timedelta(hours=1)),
        (charge({"card": {"capture_before": None}}), VISA),
        (charge({"card": None}), VISA),
        (charge({"type": "link"}), VISA),
        (charge(None), VISA),
        ({"latest_charge": "ch_1"}, VISA),
        ({"latest_charge": None}, VISA),
        ({}, VISA),
    ],
)
def test_a_hold_whose_end_is_not_told_is_a_short_one(
    server: HookServer, at: Open, told: dict[str, Any], lasts: timedelta
) -> None:
    server.default = says(200, {**HELD, **told})
    assert ask(at(server.url), request("authorize")) == Succeeded("pi_1", NOW + lasts)


def test_a_hold_of_an_unknown_beginning_did_not_end_in_1970(server: HookServer, at: Open) -> None:
    server.default = says(200, {"id": "pi_1", "status": "requires_capture"})
    outcome = ask(at(server.url), request("authorize"))
    assert isinstance(outcome, Succeeded)
    assert outcome.hold_ends_at is None or outcome.hold_ends_at.year > 1970


# Declines


# Code, whether it may be retried, whether the customer has to act.
DECLINES = {
    "pm_card_visa_chargeDeclined": ("generic_decline", True, False),  # try_again_later, says the issuer
    "pm_card_chargeDeclined": ("generic_decline", True, False),
    "pm_card_chargeCustomerFail": ("generic_decline", True, False),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("insufficient_funds", True, False),
    "pm_card_chargeDeclinedInsufficientFunds": ("insufficient_funds", True, False),
    "pm_card_visa_chargeDeclinedLostCard": ("lost_card", False, True),
    "pm_card_chargeDeclinedLostCard": ("lost_card", False, True),
    "pm_card_visa_chargeDeclinedStolenCard": ("stolen_card", False, True),
    "pm_card_chargeDeclinedStolenCard": ("stolen_card", False, True),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": ("card_velocity_exceeded", True, False),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", False, True),
    "pm_card_chargeDeclinedIncorrectCvc": ("incorrect_cvc", False, True),
    "pm_card_chargeDeclinedProcessingError": ("processing_error", True, False),
    "pm_card_radarBlock": ("fraudulent", False, False),
    "pm_card_authenticationRequired": ("authentication_required", False, True),
    "pm_card_threeDSecure2Required": ("authentication_required", False, True),
}


@pytest.mark.parametrize(("card", "expected"), list(DECLINES.items()))
@pytest.mark.parametrize("what", ["authorize", "charge"])
def test_each_declined_card_says_what_may_be_done(
    stripe: Stripe, sandbox: Sandbox, what: Kind, card: str, expected: tuple[str, bool, bool]
) -> None:
    outcome = ask(stripe, request(what, method=card))
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable, outcome.needs_customer) == expected
    assert outcome.reason.startswith(("Your card", "An error occurred"))
    assert outcome.payment_id
    assert outcome.payment_id.startswith("pi_")
    assert sandbox.ledger() == []
    assert ask(stripe, request(what, method=card)) == outcome
    for payment in (None, outcome.payment_id):
        assert stripe.look(inquiry(what, payment)) == outcome


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "card_declined", "decline_code": "do_not_honor"}, ("do_not_honor", False, True)),
        ({"code": "card_declined", "decline_code": "from_next_year"}, ("from_next_year", False, True)),
        ({"decline_code": "insufficient_funds", "advice_code": "do_not_try_again"}, None),
        (
            {"code": "authentication_required", "decline_code": "generic_decline"},
            ("generic_decline", False, True),
        ),
        ({"code": "card_declined"}, ("card_declined", False, True)),
        ({"decline_code": "revocation_of_authorization"}, ("revocation_of_authorization", False, False)),
    ],
)
def test_a_decline_by_other_codes(
    server: HookServer, at: Open, error: dict[str, str], expected: tuple[str, bool, bool] | None
) -> None:
    server.default = says(402, {"error": {"type": "card_error", **error}})
    outcome = ask(at(server.url), request("charge"))
    assert isinstance(outcome, Declined)
    found = (outcome.code, outcome.retryable, outcome.needs_customer)
    assert found == (expected or ("insufficient_funds", False, True))
    assert len(server.requests) == 1


def test_what_waits_for_the_customer_needs_the_customer(stripe: Stripe, sandbox: Sandbox) -> None:
    given = {"metadata[jobctl_key]": KEY, "off_session": "false"}
    with Client(sandbox.url) as client:
        ok(client.hold(payment_method="pm_card_authenticationRequired", **given))
    outcome = stripe.look(inquiry("authorize"))
    assert isinstance(outcome, Declined)
    assert (outcome.retryable, outcome.needs_customer) == (False, True)


def test_a_lapsed_hold_is_not_captured(stripe: Stripe, sandbox: Sandbox) -> None:
    payment = prepared(stripe, "capture")
    sandbox.advance(VISA.total_seconds() + 60)
    outcome = ask(stripe, Capture(payment, TEN))
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable, outcome.payment_id) == ("hold_ended", False, payment)
    for what in ("authorize", "capture"):
        found = stripe.look(inquiry(what, payment))
        assert isinstance(found, Declined)
        assert (found.code, found.payment_id) == ("hold_ended", payment)
    assert done(stripe.look(inquiry("release", payment))) == payment
    assert done(ask(stripe, Release(payment), "key-2")) == payment  # gone is what a release wants
    assert [each.kind for each in sandbox.ledger()] == ["hold", "expiry"]


@pytest.mark.parametrize("code", ["charge_expired_for_capture", "capture_charge_authorization_expired"])
@pytest.mark.parametrize("status", [400, 402])
def test_the_other_words_for_a_lapsed_hold(server: HookServer, at: Open, status: int, code: str) -> None:
    server.default = says(status, {"error": {"type": "invalid_request_error", "code": code}})
    outcome = ask(at(server.url), request("capture"))
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable, outcome.needs_customer) == ("hold_ended", False, False)


@pytest.mark.parametrize(
    ("before", "what", "expected"),
    [
        ("capture", "capture", Succeeded),
        ("capture", "release", Mismatched),
        ("release", "release", Succeeded),
        ("release", "capture", Mismatched),
    ],
)
def test_what_another_has_done_already(
    stripe: Stripe, sandbox: Sandbox, before: Kind, what: Kind, expected: type[Outcome]
) -> None:
    payment = prepared(stripe, "capture")
    done(ask(stripe, request(before, payment), "other"))
    outcome = ask(stripe, request(what, payment))
    assert isinstance(outcome, expected)
    if isinstance(outcome, Mismatched):
        assert outcome.code == ("captured_by_hand" if what == "release" else "cancelled_by_hand")
    assert stripe.look(inquiry(what, payment)) == outcome
    assert effects(sandbox) == []


# What each status means. S: succeeded, D: declined, P: pending, U: unknown, N: no effect yet, M: by hand.
STATUSES = [
    "requires_capture",
    "succeeded",
    "canceled",
    "processing",
    "requires_payment_method",
    "from_next_year",
]
MEANINGS: dict[Kind, str] = {
    "authorize": "SMMPDU",
    "charge": "USMPDU",
    "capture": "NSMPDU",
    "release": "NMSPNU",
}
LETTERS: dict[str, type[Answer]] = {
    "S": Succeeded,
    "D": Declined,
    "P": Pending,
    "U": Unknown,
    "N": NoEffect,
    "M": Mismatched,
}


@pytest.mark.parametrize("what", list(MEANINGS))
def test_what_each_status_of_a_payment_means(server: HookServer, at: Open, what: Kind) -> None:
    stripe = at(server.url)
    for status, letter in zip(STATUSES, MEANINGS[what], strict=True):
        server.default = says(200, {"id": "pi_1", "status": status, "created": CREATED})
        sent = ask(stripe, request(what))
        found = stripe.look(inquiry(what, "pi_1"))
        assert isinstance(sent, LETTERS[letter.replace("N", "U")]), (status, sent)
        assert isinstance(found, LETTERS[letter]), (status, found)
        if letter in "SDPM":
            assert cast(Succeeded, sent).payment_id == "pi_1"


@pytest.mark.parametrize(
    ("status", "letter"),
    [
        ("succeeded", "S"),
        ("pending", "P"),
        ("requires_action", "P"),
        ("failed", "D"),
        ("canceled", "D"),
        ("from_next_year", "U"),
        (None, "U"),
    ],
)
def test_what_each_status_of_a_refund_means(
    server: HookServer, at: Open, status: str | None, letter: str
) -> None:
    stripe = at(server.url)
    reason = {"failure_reason": "lost_or_stolen_card"} if status == "failed" else {}
    refund: dict[str, Any] = {
        "id": "re_1",
        "object": "refund",
        "payment_intent": "pi_1",
        "status": status,
        "metadata": {"jobctl_key": KEY},
        **reason,
    }
    server.default = says(200, refund)
    sent = ask(stripe, request("refund"))
    assert isinstance(sent, LETTERS[letter])
    if isinstance(sent, Declined):
        assert sent.code == ("lost_or_stolen_card" if reason else "refund_failed")
    if letter != "U":
        assert cast(Succeeded, sent).payment_id == "pi_1"
    server.default = says(200, {"object": "list", "data": [refund], "has_more": False})
    assert stripe.look(inquiry("refund", "pi_1")) == sent


# Refusals


def test_what_makes_no_sense_is_rejected(stripe: Stripe, sandbox: Sandbox) -> None:
    for wanted, code in (
        (Authorize(TEN, "cus_1", "pm_nobodys"), "resource_missing"),
        (Charge(Money(10, "USD"), "cus_1", "pm_card_visa"), "amount_too_small"),
    ):
        outcome = ask(stripe, cast(Request, wanted))
        assert isinstance(outcome, Rejected)
        assert (outcome.code, outcome.closes, outcome.later) == (code, None, False)
    assert sandbox.ledger() == []


def test_more_than_the_hold_is_rejected(stripe: Stripe) -> None:
    payment = prepared(stripe, "capture")
    outcome = ask(stripe, Capture(payment, Money(1001, "USD")))
    assert isinstance(outcome, Rejected)
    assert outcome.code == "amount_too_large"


def test_a_key_that_was_used_for_something_else_proves_nothing(stripe: Stripe, sandbox: Sandbox) -> None:
    done(ask(stripe, request("authorize")))
    outcome = ask(stripe, request("authorize", amount=Money(2000, "USD")))
    assert isinstance(outcome, Unknown)
    assert outcome.code == "idempotency_error"
    assert effects(sandbox) == ["hold"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, Rejected) for status in (400, 401, 403, 404, 429)),
        *((status, Unknown) for status in (201, 202, 204, 301, 302, 307, 408, 409, 418, 424)),
        *((status, Unknown) for status in (500, 502, 503, 504, 599)),
    ],
)
def test_only_what_certainly_had_no_effect_is_rejected(
    server: HookServer, at: Open, status: int, expected: type[Outcome]
) -> None:
    server.default = says(status, "no object", **{"Retry-After": "3600", "Location": "/"})
    for what in ALL:
        assert isinstance(ask(at(server.url), request(what)), expected)
    assert len(server.requests) == len(ALL)


def test_a_402_that_is_not_stripes_is_no_decline(server: HookServer, at: Open) -> None:
    server.default = Reply(402, {}, b"<html>Payment required</html>")
    assert isinstance(ask(at(server.url), request("charge")), Unknown)


# Bodies in shapes that no document has


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {**HELD, "created": "soon"}),
        (200, {**HELD, "latest_charge": {"payment_method_details": "card"}}),
        (200, {**HELD, **charge({"card": "visa"})}),
        (200, {**HELD, **charge({"card": {"capture_before": 10**15}})}),
        (200, {"id": "pi_1", "status": "requires_payment_method", "last_payment_error": "no"}),
        (200, {"id": 1, "status": "requires_capture"}),
        (200, {"id": "pi_1", "status": {}}),
        (200, {"id": "pi_1"}),
        (402, {"error": {"type": "card_error", "code": "card_declined", "payment_intent": "pi_1"}}),
        (402, {"error": "no"}),
        (400, {"error": {"code": "payment_intent_unexpected_state", "payment_intent": "pi_1"}}),
        (400, {"error": {"code": ["a"], "message": {"b": 1}}}),
    ],
)
@pytest.mark.parametrize("what", ["authorize", "capture"])
def test_nothing_that_is_answered_raises(
    server: HookServer, at: Open, what: Kind, status: int, body: dict[str, Any]
) -> None:
    server.default = says(status, body)
    outcome = ask(at(server.url), request(what))
    assert isinstance(outcome, Rejected) == (status == 400)


@pytest.mark.parametrize("body", [{}, {"status": "succeeded"}, {"id": "re_1", "status": "succeeded"}])
def test_a_success_is_a_payments(server: HookServer, at: Open, body: dict[str, Any]) -> None:
    server.default = says(200, body)
    for what in cast(tuple[Kind, ...], ("charge", "capture", "refund")):
        outcome = ask(at(server.url), request(what))
        # An intent's id is its payment's; a refund names it.
        named = what != "refund" and "id" in body
        assert isinstance(outcome, Succeeded if named else Unknown)


# Faults


# Once, and again and again: what is made of it, and how many effects there are then and in the end.
ONCE: dict[str, tuple[type[Outcome], int, int]] = {
    "lost_answer": (Succeeded, 1, 1),
    "dropped": (Succeeded, 1, 1),
    "late": (Succeeded, 1, 1),
    "http_409": (Succeeded, 1, 1),
    "http_429": (Succeeded, 1, 1),
    "http_401": (Rejected, 0, 0),
    "http_403": (Rejected, 0, 0),
    "http_500_before": (Unknown, 0, 0),
    "http_500_after": (Unknown, 1, 1),
    "garbage": (Unknown, 1, 1),
    "empty": (Unknown, 1, 1),
}
ALWAYS: dict[str, tuple[type[Outcome], int, int]] = {
    "lost_answer": (Unknown, 1, 1),
    "dropped": (Unknown, 0, 0),
    "late": (Unknown, 0, 1),
    "http_409": (Unknown, 0, 0),
    "http_429": (Rejected, 0, 0),
}
CLOSES = {
    "http_401": Exit.MISCONFIGURED,
    "http_403": Exit.MISCONFIGURED,
    "http_429": Exit.UNREACHABLE,  # which asks for a pause of an hour
}


def wait(fault: str, times: int) -> float | None:
    """Let a rate limit be over at once, or not for an hour."""
    return None if fault != "http_429" else 0.0 if times == 1 else HOUR


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize(
    ("struck", "expected"),
    [
        *(((fault, 1), expected) for fault, expected in ONCE.items()),
        *(((fault, EVER), expected) for fault, expected in ALWAYS.items()),
    ],
)
def test_what_a_fault_is_taken_for(
    stripe: Stripe,
    sandbox: Sandbox,
    what: Kind,
    struck: tuple[str, int],
    expected: tuple[type[Outcome], int, int],
) -> None:
    fault, times = struck
    payment = prepared(stripe, what)
    sandbox.fault(fault, what, times=times, seconds=wait(fault, times))
    outcome = ask(stripe, request(what, payment))
    assert isinstance(outcome, expected[0]), outcome
    assert len(effects(sandbox)) == expected[1]
    if isinstance(outcome, Rejected | Unknown):
        assert outcome.closes is CLOSES.get(fault)
        assert outcome.reason.startswith("Stripe ")
    if isinstance(outcome, Rejected):
        assert outcome.later is (fault == "http_429")
    sandbox.clear_faults()
    sandbox.advance(60)
    assert effects(sandbox) == [EFFECTS[what]] * expected[2]


def asked_again(stripe: Stripe, what: Kind, payment: str) -> Answer:
    return stripe.look(inquiry(what, None if payment == "pi_1" else payment))


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("fault", ["lost_answer", "dropped", "late", "http_409", "garbage", "empty"])
def test_resent_under_its_key_it_is_the_same_effect(
    stripe: Stripe, sandbox: Sandbox, what: Kind, fault: str
) -> None:
    payment = prepared(stripe, what)
    sandbox.fault(fault, what, times=EVER)
    assert isinstance(ask(stripe, request(what, payment)), Unknown)
    sandbox.clear_faults()
    again = done(ask(stripe, request(what, payment)))
    sandbox.advance(60)
    assert effects(sandbox) == [EFFECTS[what]]
    assert done(asked_again(stripe, what, payment)) == again


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("fault", ["lost_answer", "http_500_after", "http_500_before", "dropped"])
def test_a_look_up_tells_what_became_of_it(stripe: Stripe, sandbox: Sandbox, what: Kind, fault: str) -> None:
    payment = prepared(stripe, what)
    sandbox.fault(fault, what, times=EVER)
    assert isinstance(ask(stripe, request(what, payment)), Unknown)
    sandbox.clear_faults()
    found = asked_again(stripe, what, payment)
    if effects(sandbox):
        assert done(found) == sandbox.ledger()[-1].intent
    else:
        assert found in (NoEffect(), NotListed())


@pytest.mark.parametrize("what", ALL)
def test_a_stored_500_is_not_waited_out_for_ever(stripe: Stripe, sandbox: Sandbox, what: Kind) -> None:
    payment = prepared(stripe, what)
    sandbox.fault("http_500_after", what)
    for _ in range(2):
        outcome = ask(stripe, request(what, payment))
        assert isinstance(outcome, Unknown)
        assert (outcome.code, outcome.closes) == ("http_500", None)
    assert sandbox.requests()[what]["requests"] < 50


@pytest.mark.parametrize("what", ALL)
def test_what_takes_too_long_is_unknown(
    sandbox: Sandbox, at: Open, stop: Hasty, what: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key is in use for as long as it takes, and its effect comes afterwards."""
    patient, hasty = at(sandbox.url), at(sandbox.url, stripe_timeout=timedelta(seconds=0.1))
    payment = prepared(patient, what)
    sandbox.fault("delay", what, seconds=600)
    outcome = ask(hasty, request(what, payment))
    assert isinstance(outcome, Unknown)
    assert outcome.code in ("http_409", "no_answer")
    assert effects(sandbox) == []
    stop.then = sandbox.clear_faults
    # It waits for nothing between its repeats, and the sandbox's thread may need some of them.
    monkeypatch.setattr(transport, "PATIENCE", timedelta(minutes=1))
    assert done(ask(patient, request(what, payment))) == sandbox.ledger()[-1].intent
    assert effects(sandbox) == [EFFECTS[what]]


def test_a_server_that_never_answers_is_unknown(server: HookServer, at: Open) -> None:
    server.default = Reply(after=threading.Event())
    outcome = ask(at(server.url, stripe_timeout=timedelta(seconds=0.1)), request("charge"))
    assert server.default.after
    server.default.after.set()
    assert outcome == Unknown("no_answer", "Stripe gave no answer: no answer in time")
    assert 1 < len(server.requests) < 12


@pytest.mark.parametrize("what", ALL)
def test_where_nobody_listens_it_is_rejected_and_closed(at: Open, what: Kind) -> None:
    outcome = ask(at(f"http://127.0.0.1:{closed_port()}"), request(what))
    reason = "Stripe gave no answer: no connection (Connection refused)"
    assert outcome == Rejected("not_reached", reason, Exit.UNREACHABLE, later=True)


# Several at once


THEN = {
    "refused": Exit.UNREACHABLE,
    "http_401": Exit.MISCONFIGURED,
    "http_403": Exit.MISCONFIGURED,
    "http_429": Exit.UNREACHABLE,
}


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize(
    "order", list(itertools.product(["lost_answer", "dropped", "late", "http_409", "http_500_after"], THEN))
)
def test_an_earlier_attempt_without_an_answer_leaves_it_unknown(
    stripe: Stripe, sandbox: Sandbox, stop: Hasty, what: Kind, order: tuple[str, str]
) -> None:
    first, then = order
    payment = prepared(stripe, what)
    sandbox.fault(first, what)

    def worse() -> None:
        if then == "refused":
            sandbox.__exit__()
        else:
            sandbox.fault(then, what, times=EVER, seconds=HOUR)

    after_one(stop, sandbox, what, worse)
    outcome = ask(stripe, request(what, payment))
    assert isinstance(outcome, Unknown), outcome
    assert outcome.closes is THEN[then]
    sandbox.advance(60)
    there = first in ("lost_answer", "late", "http_500_after")
    assert effects(sandbox) == [EFFECTS[what]] * there


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("then", ["refused", "http_401"])
def test_an_earlier_attempt_that_was_turned_away_leaves_it_rejected(
    stripe: Stripe,
    sandbox: Sandbox,
    stop: Hasty,
    what: Kind,
    then: str,
) -> None:
    payment = prepared(stripe, what)
    sandbox.fault("http_429", what, seconds=0)
    worse = {"refused": sandbox.__exit__, "http_401": lambda: sandbox.fault("http_401", what)}
    after_one(stop, sandbox, what, worse[then])
    outcome = ask(stripe, request(what, payment))
    assert isinstance(outcome, Rejected)
    assert (outcome.closes, outcome.later) == (THEN[then], then == "refused")
    assert effects(sandbox) == []


@pytest.mark.parametrize("first", ["dropped", "late", "http_429"])
def test_a_decline_is_certain_whatever_came_before(stripe: Stripe, sandbox: Sandbox, first: str) -> None:
    sandbox.fault(first, "charge", seconds=wait(first, 1))
    outcome = ask(stripe, request("charge", method="pm_card_visa_chargeDeclinedLostCard"))
    assert isinstance(outcome, Declined)
    sandbox.advance(60)
    assert sandbox.ledger() == []


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ((500, "false"), 1),
        ((409, "false"), 1),
        ((429, "false"), 1),
        ((400, "true"), 2),
        ((402, "true"), 2),
        ((500, None), 2),
        ((400, None), 1),
    ],
)
def test_stripe_says_whether_to_try_again(
    server: HookServer, at: Open, stop: Hasty, answer: tuple[int, str | None], count: int
) -> None:
    status, header = answer
    server.default = says(status, {}, **({"Stripe-Should-Retry": header} if header else {}))

    def improve() -> None:
        if server.requests:
            server.default = says(200, {"id": "pi_1", "status": "succeeded"})

    stop.then = improve
    outcome = ask(at(server.url), request("charge"))
    assert len(server.requests) == count
    assert isinstance(outcome, Succeeded) == (count == 2)


# The run's stop signal, and the rate limit


@pytest.mark.parametrize("what", ALL)
def test_told_to_stop_nothing_is_begun(server: HookServer, at: Open, stop: Hasty, what: Kind) -> None:
    stop.told = True
    stripe = at(server.url)
    with pytest.raises(NotBegunError):
        ask(stripe, request(what))
    with pytest.raises(NotBegunError):
        stripe.look(inquiry(what, "pi_1"))
    assert server.requests == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("lost_answer", Unknown), ("http_500_before", Unknown), ("http_409", Unknown), ("http_429", Rejected)],
)
def test_told_to_stop_between_two_attempts(
    stripe: Stripe, sandbox: Sandbox, stop: Hasty, fault: str, expected: type[Outcome]
) -> None:
    """Stripe is not down for that."""
    sandbox.fault(fault, "charge", times=EVER)

    def tell() -> None:
        stop.told = len(stop.asked) >= 3  # before it, after it, while it waits

    stop.then = tell
    outcome = ask(stripe, request("charge"))
    assert isinstance(outcome, expected)
    assert cast(Unknown, outcome).closes is None
    assert sandbox.requests()["charge"]["requests"] == 1


def test_every_request_waits_for_its_turn(sandbox: Sandbox, at: Open, stop: Hasty) -> None:
    stripe = at(sandbox.url, stripe_rate_limit=Rate(1, 60))
    done(ask(stripe, request("charge")))
    stripe.look(inquiry("charge"))
    assert [round(each / 10) for each in stop.asked] == [0, 6]


# Looking up


@pytest.fixture(scope="module")
def crowded() -> Iterator[Sandbox]:
    """Give a sandbox with a charge, 105 others after it, and a refund among 105 others."""
    with Sandbox() as made, Client(made.url) as client:
        made.set_clock(NOW)
        key = {"metadata[jobctl_key]": KEY}
        payment = str(ok(client.charge(amount="100000", **key))["id"])
        ok(client.refund(payment, amount="100", **key))
        for n in range(105):
            other = {"metadata[jobctl_key]": f"{KEY}{n}"}
            ok(client.hold(**other))
            ok(client.refund(payment, amount="100", **other))
        yield made


@pytest.fixture
def crowd(crowded: Sandbox) -> Iterator[Sandbox]:
    yield crowded
    crowded.clear_faults()


@pytest.mark.parametrize("what", ["charge", "refund"])
def test_it_is_found_on_a_later_page(crowd: Sandbox, at: Open, what: Kind) -> None:
    payment = crowd.ledger()[0].intent
    before = crowd.requests().get("list", {"requests": 0})["requests"]
    found = at(crowd.url).look(inquiry(what, payment if what == "refund" else None))
    # The charge is found as what it is: some of it was given back.
    assert isinstance(found, Succeeded if what == "refund" else Mismatched)
    assert found.payment_id == payment
    assert crowd.requests()["list"]["requests"] == before + 2


@pytest.mark.parametrize("what", ["authorize", "charge", "refund"])
def test_only_a_complete_list_proves_that_there_is_none(crowd: Sandbox, at: Open, what: Kind) -> None:
    payment = crowd.ledger()[0].intent if what == "refund" else None
    assert at(crowd.url).look(inquiry(what, payment, "no such key")) == NotListed()


BREAKS = ["dropped", "http_401", "http_403", "http_409", "http_429", "http_500_before", "garbage", "empty"]


@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize("what", ["authorize", "refund"])
def test_a_list_that_breaks_off_proves_nothing(
    crowd: Sandbox, at: Open, stop: Hasty, what: Kind, fault: str
) -> None:
    payment = crowd.ledger()[0].intent if what == "refund" else None
    after_one(stop, crowd, "list", lambda: crowd.fault(fault, "list", times=EVER, seconds=HOUR))
    found = at(crowd.url).look(inquiry(what, payment, "no such key"))
    assert isinstance(found, Unknown)
    assert found.closes is CLOSES.get(fault)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({"data": [], "has_more": False}, NotListed),
        ({"data": []}, Unknown),
        ({"data": [], "has_more": None}, Unknown),
        ({"data": [], "has_more": True}, Unknown),
        ({"data": None, "has_more": False}, Unknown),
        ({"data": {}, "has_more": False}, Unknown),
        ({"data": ["pi_1"], "has_more": False}, Unknown),
        ({"has_more": False}, Unknown),
        ({"object": "payment_intent", "id": "pi_1", "status": "succeeded"}, Unknown),
    ],
)
@pytest.mark.parametrize("what", ["charge", "refund"])
def test_what_is_no_list_proves_nothing(
    server: HookServer, at: Open, what: Kind, page: dict[str, Any], expected: type[Answer]
) -> None:
    server.default = says(200, page)
    assert isinstance(at(server.url).look(inquiry(what, "pi_1" if what == "refund" else None)), expected)


def test_it_is_looked_for_from_ten_minutes_before(stripe: Stripe) -> None:
    """Their clock may be behind ours."""
    done(ask(stripe, request("charge")))
    for minutes, expected in ((9, Succeeded), (11, NotListed)):
        sent = NOW + timedelta(minutes=minutes)
        found = stripe.look(Inquiry("charge", KEY, None, sent))
        assert isinstance(found, expected)


@pytest.mark.parametrize("what", ["capture", "release", "refund"])
def test_without_the_payments_id_nothing_is_proved(stripe: Stripe, sandbox: Sandbox, what: Kind) -> None:
    done(ask(stripe, request(what, prepared(stripe, what))))
    assert effects(sandbox) == [EFFECTS[what]]
    assert isinstance(stripe.look(inquiry(what)), Succeeded | Unknown)


def test_a_refund_is_told_from_others_of_its_payment(stripe: Stripe) -> None:
    payment = prepared(stripe, "refund")
    done(ask(stripe, Refund(payment, Money(100, "USD")), "other"))
    assert stripe.look(inquiry("refund", payment)) == NotListed()
    assert done(stripe.look(inquiry("refund", payment, "other"))) == payment


# Of what, and with which id, and which call of the sandbox that is.
Look = tuple[Kind, bool, str]
LOOKS: list[Look] = [
    ("authorize", False, "list"),
    ("charge", False, "list"),
    ("refund", True, "list"),
    *(
        (what, True, "retrieve")
        for what in cast(tuple[Kind, ...], ("authorize", "charge", "capture", "release"))
    ),
]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("fault", [*BREAKS, "lost_answer"])
def test_a_look_up_that_fails_is_unknown(stripe: Stripe, sandbox: Sandbox, look: Look, fault: str) -> None:
    what, named, call = look
    payment = done(ask(stripe, request(what, prepared(stripe, what))))
    sandbox.fault(fault, call, times=10_000, seconds=HOUR)
    found = stripe.look(inquiry(what, payment if named else None))
    assert isinstance(found, Unknown)
    assert found.closes is CLOSES.get(fault)


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_up_that_fails_once_is_repeated(stripe: Stripe, sandbox: Sandbox, look: Look) -> None:
    what, named, call = look
    payment = done(ask(stripe, request(what, prepared(stripe, what))))
    for fault in ("dropped", "http_500_before", "http_429", "http_409", "lost_answer"):
        sandbox.fault(fault, call, seconds=wait(fault, 1))
        assert done(stripe.look(inquiry(what, payment if named else None))) == payment


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("status", [201, 302, 400, 402, 404, 503])
def test_no_status_of_a_look_up_is_about_the_payment(
    server: HookServer, at: Open, look: Look, status: int
) -> None:
    what, named, call = look
    error = {"type": "card_error", "code": "charge_expired_for_capture", "payment_intent": HELD}
    server.default = says(status, {"error": error}, **{"Stripe-Should-Retry": "false"})
    assert isinstance(at(server.url).look(inquiry(what, "pi_1" if named else None)), Unknown), call


@pytest.mark.parametrize("look", LOOKS)
def test_where_nobody_listens_a_look_up_is_unknown(at: Open, look: Look) -> None:
    what, named, call = look
    found = at(f"http://127.0.0.1:{closed_port()}").look(inquiry(what, "pi_1" if named else None))
    assert isinstance(found, Unknown), call
    assert found.closes is Exit.UNREACHABLE


@pytest.mark.parametrize("what", ["authorize", "charge", "capture", "release"])
def test_another_accounts_payment_proves_nothing(
    stripe: Stripe, sandbox: Sandbox, at: Open, what: Kind
) -> None:
    payment = done(ask(stripe, request("authorize")))
    found = at(sandbox.url, stripe_secret_key="sk_test_other").look(inquiry(what, payment))
    assert found == NotFound()


# What was paid


def test_what_was_paid_is_listed_page_by_page(crowd: Sandbox, at: Open) -> None:
    stripe = at(crowd.url)
    paid = crowd.ledger()[0]
    pages = list(stripe.listed(NOW, NOW + timedelta(hours=1)))
    at_once, ours, card = paid.at.replace(microsecond=0), {"jobctl_key": KEY}, "pm_card_visa"
    amount = Money(100_000, "USD")
    expected = Paid("stripe", paid.intent, amount, at_once, ours, "cus_1", card, refunded=True, live=False)
    assert [list(page) for page in pages] == [[expected]]


def test_what_stripe_has_no_events_of_any_more_is_listed_by_its_creation(
    stripe: Stripe, sandbox: Sandbox
) -> None:
    days = [0, 20, 45]
    paid = {each: sandbox.pay("stripe", 1000, "usd", at=NOW - timedelta(days=each)) for each in days}
    sandbox.advance(60.0)
    pages = stripe.listed(NOW - timedelta(days=45), NOW + timedelta(seconds=1))
    assert [each.id for page in pages for each in page] == [paid[each] for each in days]


def test_the_window_is_half_open(stripe: Stripe, sandbox: Sandbox) -> None:
    payment = done(ask(stripe, request("charge")))
    made = sandbox.ledger()[0].at.replace(microsecond=0)
    second = timedelta(seconds=1)
    for since, until, found in (
        (made, made + second, [payment]),
        (made - second, made, []),
        (made + second, made + 2 * second, []),
    ):
        assert [each.id for page in stripe.listed(since, until) for each in page] == found


@pytest.mark.parametrize(
    ("fault", "exit_code"), [("http_401", Exit.MISCONFIGURED), ("http_500_before", Exit.UNREACHABLE)]
)
def test_a_list_of_what_was_paid_fails_as_a_whole(
    crowd: Sandbox, at: Open, stop: Hasty, fault: str, exit_code: Exit
) -> None:
    after_one(stop, crowd, "list", lambda: crowd.fault(fault, "list", times=EVER))
    pages = at(crowd.url).listed(NOW, NOW + timedelta(hours=1))
    with pytest.raises(ScopeDownError) as caught:
        next(pages)
    assert (caught.value.scope, caught.value.exit_code) == ("stripe", exit_code)


@pytest.mark.parametrize(
    "page",
    [
        {"data": [], "has_more": True},
        {"data": []},
        {"data": [{"status": "succeeded"}], "has_more": False},
        {},
    ],
)
def test_what_is_no_list_of_what_was_paid(server: HookServer, at: Open, page: dict[str, Any]) -> None:
    server.default = says(200, page)
    with pytest.raises(ScopeDownError):
        list(at(server.url).listed(NOW, NOW + timedelta(hours=1)))


def intent(**changed: Any) -> dict[str, Any]:
    usual = {
        "id": "pi_1",
        "status": "succeeded",
        "amount_received": 1000,
        "currency": "usd",
        "created": 1_780_000_000,
    }
    return {**usual, "customer": "cus_1", "payment_method": "pm_1", "metadata": {}, **changed}


@pytest.mark.parametrize(
    ("told", "saved"),
    [({}, False), ({"setup_future_usage": "off_session"}, True), ({"metadata": {"jobctl_key": KEY}}, True)],
    ids=["once", "set up", "charged by us"],
)
def test_a_card_is_saved_only_where_it_may_be_charged_again(
    server: HookServer, at: Open, told: dict[str, Any], saved: bool
) -> None:
    server.default = says(200, intent(**told))
    found = at(server.url).retrieve("pi_1")
    assert isinstance(found, Paid)
    assert found.method == ("pm_1" if saved else None)


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "pi_\0"},
        {"id": "pi_\ud800"},
        {"id": ""},
        {"currency": "us"},
        {"currency": "u\0d"},
        {"amount_received": 10**19},
        {"amount_received": -1},
        {"amount_received": 0},
        {"status": "canceled"},
        {"status": "processing"},
        {"status": "succeeded\0"},
        {"amount_received": "many"},
        {"amount_received": 150, "currency": "ugx"},  # a shilling and a half, of which there are no halves
        {"amount_received": 10**17, "currency": "mga"},
        {"customer": "cus_\0", "setup_future_usage": "off_session"},
    ],
    ids=str,
)
def test_what_nobody_could_write_down_hides_no_other(
    server: HookServer, at: Open, odd: dict[str, Any]
) -> None:
    event = {"type": "payment_intent.succeeded", "created": 1_780_000_000}
    told = [{**event, "data": {"object": each}} for each in (intent(**odd), intent(id="pi_2"))]
    server.default = says(200, {"data": told, "has_more": False})
    ((first, second),) = [page for page in at(server.url).listed(NOW, NOW + timedelta(hours=1)) if page]
    assert isinstance(first, Unreadable)
    assert first.id.isascii()
    assert isinstance(second, Paid)


# Secrets


ECHO = f"Invalid API Key provided: {SECRET_KEY}"


@pytest.mark.parametrize(
    "reply",
    [
        says(401, {"error": {"message": ECHO}}),
        says(401, {"error": {"message": "x" * 180 + ECHO}}),
        says(400, {"error": {"code": SECRET_KEY}}),
        says(402, {"error": {"message": ECHO, "decline_code": SECRET_KEY}}),
        says(200, {"id": "pi_1", "status": ECHO}),
        says(200, {"id": "re_1", "payment_intent": "pi_1", "status": "failed", "failure_reason": ECHO}),
        says(503, {"error": {"message": ECHO}}, **{"Retry-After": "3600"}),
        says(404, {}, **{"Request-Id": ECHO}),
    ],
)
def test_the_key_is_never_repeated(server: HookServer, at: Open, reply: Reply) -> None:
    server.default = reply
    stripe = at(server.url)
    told = [repr(ask(stripe, request(what))) for what in ALL]
    told += [repr(stripe.look(inquiry(what, "pi_1"))) for what in ALL]
    with pytest.raises(ScopeDownError) as caught:
        list(stripe.listed(NOW, datetime.now(UTC) + timedelta(days=1)))
    told += [repr(caught.value), str(caught.value), repr(stripe), repr(vars(caught.value))]
    secret = SECRET_KEY.removeprefix("sk_test_")
    assert not [each for each in told if secret in each]


def test_nor_when_nothing_is_answered(at: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        urls = [f"http://127.0.0.1:{port}" for port in (closed_port(), silent.getsockname()[1])]
        for url in urls:
            stripe = at(url, stripe_timeout=timedelta(seconds=0.1))
            told = [repr(ask(stripe, request(what))) for what in ALL[:1]]
            with pytest.raises(ScopeDownError) as caught:
                list(stripe.listed(NOW, NOW + timedelta(hours=1)))
            assert SECRET_KEY not in "".join([*told, repr(caught.value), repr(caught.value.__context__)])
