"""What every provider has to do alike, so that jobs never ask which one it is."""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from jobctl.errors import Exit
from jobctl.job import Means, ScopeDownError
from jobctl.money import Money
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
    Provider,
    Refund,
    Rejected,
    Release,
    Request,
    Succeeded,
    Unknown,
)
from jobctl.providers.switchboard import RECURRING, Providers, account, compose
from jobctl.sandbox import SECRET_KEY, YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID, Sandbox
from jobctl.settings import Settings
from tests.providers.ways import OFTEN, Hasty
from tests.servers import closed_port
from tests.world import NOW

KEY = "abcd1234.charge.subscription-7.2026-03-01.1"
EVER, HOUR = 10_000, 3600.0
EFFECTS = {
    "authorize": "hold",
    "charge": "charge",
    "capture": "capture",
    "release": "release",
    "refund": "refund",
}
ALL = cast(tuple[Kind, ...], tuple(EFFECTS))


@dataclass(frozen=True)
class Side:
    """What is particular to one provider, and to its imitation."""

    name: str
    currency: str
    method: str
    poor: str  # a saved method that has not enough money on it
    expired: str
    nobody: str  # the id of no payment


STRIPE = Side(
    "stripe",
    "USD",
    "pm_card_visa",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_card_chargeDeclinedExpiredCard",
    "pi_0",
)
YOOKASSA = Side(
    "yookassa",
    "RUB",
    "pm_yk_ok",
    "pm_yk_insufficient_funds",
    "pm_yk_card_expired",
    "00000000-000f-5000-8000-000000000000",
)
SIDES = (STRIPE, YOOKASSA)


@dataclass
class There:
    """One provider as a run has it, and the sandbox that answers for it."""

    side: Side
    sandbox: Sandbox
    provider: Provider
    opened: Callable[..., Provider]
    stop: Hasty

    def request(self, what: Kind, payment: str | None = None, method: str | None = None) -> Request:
        amount, card = Money(50_000, self.side.currency), method or self.side.method
        whose = {"user_id": "17", "plan_id": "3"}
        made: dict[Kind, Request] = {
            "authorize": Authorize(amount, "cus_1", card, whose),
            "charge": Charge(amount, "cus_1", card, whose),
            "capture": Capture(payment or self.side.nobody, amount),
            "release": Release(payment or self.side.nobody),
            "refund": Refund(payment or self.side.nobody, amount),
        }
        return made[what]

    def ask(self, wanted: Request, key: str = KEY) -> Outcome:
        return self.provider.send(KINDS[type(wanted)], compose(self.side.name, wanted, key), key)

    def prepared(self, what: Kind) -> str | None:
        """Make what a capture, a release or a refund needs; return its id."""
        first: dict[Kind, Kind] = {"capture": "authorize", "release": "authorize", "refund": "charge"}
        return done(self.ask(self.request(first[what]), f"earlier-{what}")) if what in first else None

    def look(self, what: Kind, payment: str | None) -> Answer:
        return self.provider.look(Inquiry(what, KEY, payment, NOW))

    def pay(self, minor: int = 50_000, metadata: dict[str, str] | None = None, **times: Any) -> str:
        """Pay at the provider itself, without a request of ours."""
        currency = self.side.currency.lower() if self.side is STRIPE else self.side.currency
        return self.sandbox.pay(self.side.name, minor, currency, metadata, **times)

    def effects(self) -> list[str]:
        return [each.kind for each in self.sandbox.ledger() if each.key == KEY]


def done(outcome: Answer) -> str:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.payment_id


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what goes on failing be given up after a few repeats."""
    monkeypatch.setattr(transport, "PATIENCE", timedelta(seconds=1))


@pytest.fixture(params=SIDES, ids=lambda each: each.name)
def there(request: pytest.FixtureRequest) -> Iterator[There]:
    side: Side = request.param
    with ExitStack() as closing:
        sandbox = closing.enter_context(Sandbox())
        sandbox.set_clock(NOW)

        stop = Hasty()

        def opened(**changed: Any) -> Provider:
            means = Means(stop, 4, io.StringIO(), clock=lambda: NOW)
            return closing.enter_context(Providers(settings(sandbox.url, **changed), means)).open(side.name)

        yield There(side, sandbox, opened(), opened, stop)


def settings(url: str, **changed: Any) -> Settings:
    usual: dict[str, Any] = {
        "stripe_secret_key": SECRET_KEY,
        "yookassa_shop_id": YOOKASSA_SHOP_ID,
        "yookassa_secret_key": YOOKASSA_SECRET_KEY,
    }
    for name in RECURRING:
        usual |= {
            f"{name}_api_base": url,
            f"{name}_rate_limit": OFTEN,
            f"{name}_timeout": timedelta(seconds=5),
        }
    return Settings(**{**usual, **changed})


def test_every_provider_is_among_them() -> None:
    """Of those that charge saved methods; Paystack, which is asked for refunds alone, has its own tests."""
    assert {each.name for each in SIDES} == set(RECURRING)


class TestEffects:
    @pytest.mark.parametrize("what", ALL)
    def test_what_is_asked_is_done_once(self, there: There, what: Kind) -> None:
        wanted = there.request(what, there.prepared(what))
        first = done(there.ask(wanted))
        assert there.effects() == [EFFECTS[what]]
        assert done(there.ask(wanted)) == first
        assert there.effects() == [EFFECTS[what]]

    def test_the_ledger_has_amount_currency_and_whose_it_is(self, there: There) -> None:
        payment = done(there.ask(there.request("charge")))
        (effect,) = there.sandbox.ledger()
        assert (effect.provider, effect.intent, effect.amount) == (there.side.name, payment, 50_000)
        assert effect.currency.upper() == there.side.currency
        assert effect.metadata == {"user_id": "17", "plan_id": "3", "jobctl_key": KEY}

    def test_a_hold_ends_when_the_provider_says(self, there: There) -> None:
        outcome = there.ask(there.request("authorize"))
        assert isinstance(outcome, Succeeded)
        assert outcome.hold_ends_at is not None
        there.sandbox.set_clock(outcome.hold_ends_at)
        there.sandbox.advance(1)
        assert [each.kind for each in there.sandbox.ledger()] == ["hold", "expiry"]
        late = there.ask(there.request("capture", outcome.payment_id))
        assert isinstance(late, Declined)
        assert (late.code, late.retryable) == ("hold_ended", False)

    def test_what_is_released_or_captured_already_is_told_as_it_is(self, there: There) -> None:
        held = done(there.ask(there.request("authorize")))
        assert done(there.ask(there.request("release", held), "release-1")) == held
        assert done(there.ask(there.request("release", held), "release-2")) == held
        charged = done(there.ask(there.request("charge"), "another"))
        refused = there.ask(there.request("release", charged), "release-3")
        assert isinstance(refused, Mismatched)
        assert (refused.code, refused.payment_id) == ("captured_by_hand", charged)
        assert [each.kind for each in there.sandbox.ledger()] == ["hold", "release", "charge"]

    @pytest.mark.parametrize("what", ["authorize", "charge"])
    def test_a_decline_says_what_may_be_done(self, there: There, what: Kind) -> None:
        for method, code, retryable in (
            (there.side.poor, "insufficient_funds", True),
            (there.side.expired, None, False),
        ):
            outcome = there.ask(there.request(what, method=method), f"by-{method}")
            assert isinstance(outcome, Declined)
            assert (outcome.retryable, outcome.needs_customer) == (retryable, not retryable)
            assert code in (None, outcome.code)
            assert outcome.payment_id
            assert there.look(what, outcome.payment_id) == outcome
        assert there.sandbox.ledger() == []

    @pytest.mark.parametrize("what", ["capture", "release", "refund"])
    def test_no_payment_has_no_effect(self, there: There, what: Kind) -> None:
        assert there.ask(there.request(what)) == NotFound()
        assert there.sandbox.ledger() == []


# Once, and again and again: what is made of it, and how many effects there are then and in the end.
ONCE: dict[str, tuple[tuple[type[Outcome], ...], int, int]] = {
    "lost_answer": ((Succeeded,), 1, 1),
    "dropped": ((Succeeded,), 1, 1),
    "late": ((Succeeded,), 1, 1),
    "http_429": ((Succeeded,), 1, 1),
    "http_400": ((Rejected,), 0, 0),
    "http_401": ((Rejected,), 0, 0),
    "http_403": ((Rejected,), 0, 0),
    "http_500_before": ((Unknown,), 0, 0),
    "http_500_after": ((Unknown,), 1, 1),
    "garbage": ((Unknown,), 1, 1),
    "empty": ((Unknown,), 1, 1),
}
ALWAYS: dict[str, tuple[tuple[type[Outcome], ...], int, int]] = {
    "lost_answer": ((Unknown,), 1, 1),
    "dropped": ((Unknown,), 0, 0),
    "late": ((Unknown,), 0, 1),
    "http_429": ((Rejected,), 0, 0),
}
CLOSES = {
    "http_401": Exit.MISCONFIGURED,
    "http_403": Exit.MISCONFIGURED,
    "http_429": Exit.UNREACHABLE,  # which asks for a pause of an hour
}


class TestFaults:
    @pytest.mark.parametrize("what", ALL)
    @pytest.mark.parametrize(
        ("fault", "times", "expected"),
        [
            *((fault, 1, expected) for fault, expected in ONCE.items()),
            *((fault, EVER, expected) for fault, expected in ALWAYS.items()),
        ],
    )
    def test_what_it_is_taken_for(
        self,
        there: There,
        what: Kind,
        fault: str,
        times: int,
        expected: tuple[tuple[type[Outcome], ...], int, int],
    ) -> None:
        kinds, at_once, in_the_end = expected
        payment = there.prepared(what)
        seconds = None if fault != "http_429" else 0.0 if times == 1 else HOUR
        there.sandbox.fault(fault, what, times=times, seconds=seconds)
        outcome = there.ask(there.request(what, payment))
        assert isinstance(outcome, kinds), outcome
        assert len(there.effects()) == at_once
        if isinstance(outcome, Rejected | Unknown):
            assert outcome.closes is CLOSES.get(fault)
        if isinstance(outcome, Rejected):
            assert outcome.later is (fault == "http_429")
        there.sandbox.clear_faults()
        there.sandbox.advance(60)
        assert there.effects() == [EFFECTS[what]] * in_the_end

    @pytest.mark.parametrize("what", ALL)
    def test_a_repeat_that_is_refused_says_nothing_of_the_first(self, there: There, what: Kind) -> None:
        payment = there.prepared(what)
        there.sandbox.fault("lost_answer", what)
        there.sandbox.fault("http_401", what, times=EVER)
        there.stop.then = lambda: None
        outcome = there.ask(there.request(what, payment))
        assert isinstance(outcome, Unknown | Rejected)
        assert isinstance(outcome, Unknown) == bool(there.effects())

    def test_a_provider_that_is_busy_says_for_how_long(
        self, there: There, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "PATIENCE", timedelta(minutes=1))
        there.sandbox.fault("http_429", seconds=7)
        done(there.ask(there.request("charge")))
        assert there.stop.longest == 7

    @pytest.mark.parametrize("what", ALL)
    @pytest.mark.parametrize("fault", ["lost_answer", "dropped", "late", "garbage", "empty"])
    def test_resent_under_its_key_it_is_the_same_effect(self, there: There, what: Kind, fault: str) -> None:
        wanted = there.request(what, there.prepared(what))
        there.sandbox.fault(fault, what, times=EVER)
        assert isinstance(there.ask(wanted), Unknown)
        there.sandbox.clear_faults()
        again = done(there.ask(wanted))
        there.sandbox.advance(60)
        assert there.effects() == [EFFECTS[what]]
        assert done(there.look(what, again)) == again

    @pytest.mark.parametrize("what", ALL)
    @pytest.mark.parametrize("fault", ["lost_answer", "http_500_after", "http_500_before", "dropped"])
    def test_a_look_up_tells_what_became_of_it(self, there: There, what: Kind, fault: str) -> None:
        payment = there.prepared(what)
        there.sandbox.fault(fault, what, times=EVER)
        assert isinstance(there.ask(there.request(what, payment)), Unknown)
        there.sandbox.clear_faults()
        found = there.look(what, payment)
        if there.effects():
            assert done(found) == there.sandbox.ledger()[-1].intent
        else:
            assert found in (NoEffect(), NotListed())

    @pytest.mark.parametrize("fault", ["http_500_before", "http_401", "http_429", "dropped", "garbage"])
    def test_a_look_up_that_fails_proves_nothing(self, there: There, fault: str) -> None:
        payment = done(there.ask(there.request("charge")))
        for known in (payment, None):
            there.sandbox.fault(fault, times=EVER, seconds=HOUR)
            outcome = there.look("charge", known)
            assert isinstance(outcome, Unknown)
            assert outcome.closes is CLOSES.get(fault)
            there.sandbox.clear_faults()

    @pytest.mark.parametrize("what", ALL)
    def test_where_nobody_listens_nothing_was_begun(self, there: There, what: Kind) -> None:
        there.provider = there.opened(**{f"{there.side.name}_api_base": f"http://127.0.0.1:{closed_port()}"})
        outcome = there.ask(there.request(what))
        assert isinstance(outcome, Rejected)
        assert (outcome.code, outcome.closes, outcome.later) == ("not_reached", Exit.UNREACHABLE, True)

    def test_of_many_payments_the_one_with_our_reference_is_found(self, there: There) -> None:
        for n in range(120):
            done(there.ask(there.request("charge"), f"earlier-{n}"))
        payment = done(there.ask(there.request("charge")))
        for n in range(120):
            done(there.ask(there.request("charge"), f"later-{n}"))
        assert done(there.look("charge", None)) == payment


class TestLists:
    def test_what_was_paid_in_a_half_open_window_with_what_we_know_of_it(self, there: There) -> None:
        whose = {"user_id": "17"}
        paid = {
            seconds: there.pay(50_000 + seconds, whose, at=NOW + timedelta(seconds=seconds))
            for seconds in (-7200, -3600, -1, 0)
        }
        pages = there.provider.listed(NOW - timedelta(hours=1), NOW)
        found = {each.id: each for page in pages for each in page}
        assert set(found) == {paid[-3600], paid[-1]}
        one = found[paid[-1]]
        assert isinstance(one, Paid)
        assert (one.provider, one.amount) == (there.side.name, Money(49_999, there.side.currency))
        assert (one.paid_at, one.metadata) == (NOW - timedelta(seconds=1), whose)

    def test_what_is_not_paid_is_not_listed(self, there: There) -> None:
        there.ask(there.request("authorize"), "held")
        there.ask(there.request("charge", method=there.side.poor), "declined")
        charged = done(there.ask(there.request("charge")))
        window = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)
        (found,) = (each for page in there.provider.listed(*window) for each in page)
        assert isinstance(found, Paid)
        assert (found.id, found.method, found.refunded) == (charged, there.side.method, False)

    def test_what_was_begun_before_the_window_and_paid_in_it_is_listed(self, there: There) -> None:
        begun, paid = NOW - timedelta(days=2), NOW - timedelta(minutes=5)
        name = there.pay(at=begun, captured_at=paid)
        (found,) = (each for page in there.provider.listed(NOW - timedelta(hours=1), NOW) for each in page)
        assert isinstance(found, Paid)
        assert (found.id, found.paid_at) == (name, paid)
        assert list(there.provider.listed(begun, begun + timedelta(hours=1))) == [[]]

    def test_what_was_given_back_is_listed_as_that(self, there: There) -> None:
        payment = there.prepared("refund")
        there.ask(there.request("refund", payment))
        window = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)
        (found,) = (each for page in there.provider.listed(*window) for each in page)
        assert isinstance(found, Paid)
        assert (found.id, found.refunded) == (payment, True)
        assert there.provider.retrieve(found.id) == found

    def test_pages_follow_one_another(self, there: There) -> None:
        ids = {done(there.ask(there.request("charge"), f"many-{n}")) for n in range(230)}
        window = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)
        pages = list(there.provider.listed(*window))
        assert {each.id for page in pages for each in page} == ids
        assert sum(len(page) for page in pages) == len(ids)
        assert max(len(page) for page in pages) <= 100

    @pytest.mark.parametrize("fault", ["http_500_before", "http_401", "garbage", "empty"])
    def test_a_list_that_fails_is_no_empty_one(self, there: There, fault: str) -> None:
        there.sandbox.fault(fault, "list", times=EVER)
        with pytest.raises(ScopeDownError) as down:
            list(there.provider.listed(NOW - timedelta(hours=1), NOW))
        assert down.value.exit_code == CLOSES.get(fault, Exit.UNREACHABLE)


class TestRetrieval:
    def test_what_was_paid(self, there: There) -> None:
        whose, paid_at = {"user_id": "17"}, NOW - timedelta(minutes=5)
        payment = there.pay(metadata=whose, at=NOW - timedelta(days=2), captured_at=paid_at)
        found = there.provider.retrieve(payment)
        assert isinstance(found, Paid)
        assert (found.id, found.amount) == (payment, Money(50_000, there.side.currency))
        assert (found.paid_at, found.metadata, found.refunded) == (paid_at, whose, False)

    def test_what_is_not_decided(self, there: There) -> None:
        held = done(there.ask(there.request("authorize")))
        assert there.provider.retrieve(held) == Pending(held)

    def test_what_came_to_nothing(self, there: There) -> None:
        held = there.prepared("release")
        assert held is not None
        there.ask(there.request("release", held))
        found = there.provider.retrieve(held)
        assert isinstance(found, Declined)
        assert found.payment_id == held

    @pytest.mark.parametrize("payment", ["", "no/such?payment", "é"], ids=["usual", "path", "letters"])
    def test_what_nobody_knows_there(self, there: There, payment: str) -> None:
        assert there.provider.retrieve(payment or there.side.nobody) == NotFound()

    @pytest.mark.parametrize("fault", ["garbage", "empty"])
    def test_what_could_not_be_told(self, there: There, fault: str) -> None:
        payment = there.pay()
        there.sandbox.fault(fault, "retrieve", times=EVER)
        assert isinstance(there.provider.retrieve(payment), Unknown)

    @pytest.mark.parametrize("fault", ["http_401", "http_403", "http_429", "http_500_before", "dropped"])
    def test_who_fails_for_one_would_for_others(self, there: There, fault: str) -> None:
        payment = there.pay()
        there.sandbox.fault(fault, "retrieve", times=EVER)
        with pytest.raises(ScopeDownError) as down:
            there.provider.retrieve(payment)
        assert down.value.exit_code == CLOSES.get(fault, Exit.UNREACHABLE)


class TestDryRuns:
    @pytest.mark.parametrize("what", ALL)
    def test_nothing_is_sent(self, there: There, what: Kind) -> None:
        """Look-ups go out, and nothing else does."""
        wanted = there.request(what, there.prepared(what))
        means = Means(there.stop, 1, io.StringIO(), read_only=True)
        sent = sum(each["requests"] for each in there.sandbox.requests().values())
        with Providers(settings(there.sandbox.url), means) as providers:
            dry = providers.open(there.side.name)
            with pytest.raises(AssertionError):
                dry.send(what, compose(there.side.name, wanted, KEY), KEY)
            assert dry.retrieve(there.side.nobody) == NotFound()
        assert sum(each["requests"] for each in there.sandbox.requests().values()) == sent + 1


class TestAccounts:
    def test_without_credentials_nothing_is_asked(self, there: There) -> None:
        nothing = {"stripe_secret_key": None, "yookassa_secret_key": None}
        with pytest.raises(ScopeDownError) as down:
            account(settings("http://127.0.0.1", **nothing), there.side.name)
        assert down.value.exit_code == Exit.MISCONFIGURED
        assert "SECRET_KEY" in str(down.value)
        with pytest.raises(ScopeDownError):
            there.opened(**nothing)

    def test_credentials_never_come_back(self, there: There) -> None:
        there.sandbox.fault("http_401", times=EVER)
        outcome = there.ask(there.request("charge"))
        assert isinstance(outcome, Rejected)
        for secret in (SECRET_KEY, YOOKASSA_SECRET_KEY):
            assert secret not in str(outcome)


def test_what_is_undecided_is_pending_and_decided_later() -> None:
    """Of YooKassa alone: the imitation of Stripe decides at once."""
    stop = Hasty()
    with (
        Sandbox() as sandbox,
        Providers(settings(sandbox.url), Means(stop, 1, io.StringIO(), clock=lambda: NOW)) as providers,
    ):
        sandbox.set_clock(NOW)
        there = There(YOOKASSA, sandbox, providers.open("yookassa"), lambda: providers.open("yookassa"), stop)
        for method, later in (("pm_yk_pending_succeeds", Succeeded), ("pm_yk_pending_canceled", Declined)):
            outcome = there.ask(there.request("charge", method=method), method)
            assert isinstance(outcome, Pending)
            assert there.look("charge", outcome.payment_id) == outcome
            sandbox.advance(600)
            assert isinstance(there.look("charge", outcome.payment_id), later)
