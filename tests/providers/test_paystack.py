"""What Paystack is asked, and what its answers are taken for; over the wire, with the sandbox's faults."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.job import Means, ScopeDownError
from jobctl.money import Money
from jobctl.parsing import rate
from jobctl.providers import transport
from jobctl.providers.paystack import Paystack, account, compose
from jobctl.providers.protocol import (
    Authorize,
    Declined,
    Inquiry,
    Mismatched,
    NotFound,
    NotListed,
    Paid,
    Pending,
    Refund,
    Rejected,
    Succeeded,
    Unknown,
    UnrepresentableError,
)
from jobctl.sandbox import PAYSTACK_SECRET_KEY, Sandbox
from jobctl.settings import Settings
from jobctl.steps.running import Stop
from tests.world import NOW

PRICE = Money(10_000, "NGN")
KEY = "x.refund.transaction-1.payment.1"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        made.set_clock(NOW)
        yield made


@pytest.fixture
def paystack(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paystack]:
    monkeypatch.setattr(transport, "PATIENCE", timedelta(0))
    made = Paystack(settings(sandbox), Means(Stop(timedelta()), 1, StringIO(), clock=lambda: NOW))
    yield made
    made.close()


def settings(sandbox: Sandbox, **changed: Any) -> Settings:
    usual = {"paystack_secret_key": PAYSTACK_SECRET_KEY, "paystack_url": sandbox.url}
    return Settings(**{**usual, "paystack_rate_limit": rate("100000/s"), **changed})


def paid(sandbox: Sandbox, reference: str = "ref-1", **values: Any) -> str:
    return sandbox.pay("paystack", *PRICE, reference=reference, **{"at": NOW - timedelta(hours=1), **values})


def refund(paystack: Paystack, reference: str = "ref-1", amount: Money = PRICE) -> object:
    return paystack.send("refund", compose(Refund(reference, amount), KEY), KEY)


def look(paystack: Paystack) -> object:
    return paystack.look(Inquiry("refund", KEY, "ref-1", NOW))


class TestVerification:
    def test_a_success_has_its_amount_and_time(self, paystack: Paystack, sandbox: Sandbox) -> None:
        paid(sandbox, "a/b?c=%&")
        found = paystack.retrieve("a/b?c=%&")
        assert found == Paid("paystack", "a/b?c=%&", PRICE, NOW - timedelta(hours=1), live=False)

    @pytest.mark.parametrize(
        ("status", "refunded"), [("pending", True), ("processed", True), ("failed", False)]
    )
    def test_a_success_of_which_something_is_given_back(
        self, paystack: Paystack, sandbox: Sandbox, status: str, *, refunded: bool
    ) -> None:
        paid(sandbox)
        sandbox.conditions("paystack", refund_first=status)
        sandbox.dashboard.refund("paystack", "ref-1", 1)
        found = paystack.retrieve("ref-1")
        assert isinstance(found, Paid)
        assert found.refunded is refunded

    @pytest.mark.parametrize("status", ["failed", "reversed"])
    def test_what_is_final(self, paystack: Paystack, sandbox: Sandbox, status: str) -> None:
        paid(sandbox, status=status)
        found = paystack.retrieve("ref-1")
        assert isinstance(found, Declined)
        assert found.code == status

    @pytest.mark.parametrize("status", ["abandoned", "ongoing", "pending", "processing", "queued"])
    def test_what_is_not(self, paystack: Paystack, sandbox: Sandbox, status: str) -> None:
        paid(sandbox, status=status)
        assert paystack.retrieve("ref-1") == Pending("ref-1")

    def test_what_it_does_not_know(self, paystack: Paystack) -> None:
        assert paystack.retrieve("ref-1") == NotFound()

    @pytest.mark.parametrize("fault", ["garbage", "empty", "http_400"])
    def test_what_tells_nothing_is_no_success(self, paystack: Paystack, sandbox: Sandbox, fault: str) -> None:
        paid(sandbox)
        sandbox.fault(fault, "retrieve")
        assert isinstance(paystack.retrieve("ref-1"), Unknown)

    @pytest.mark.parametrize(
        ("fault", "exit_code"),
        [
            ("dropped", Exit.UNREACHABLE),
            ("http_429", Exit.UNREACHABLE),
            ("http_401", Exit.MISCONFIGURED),
        ],
    )
    def test_who_fails_for_one_would_for_others(
        self, paystack: Paystack, sandbox: Sandbox, fault: str, exit_code: Exit
    ) -> None:
        sandbox.fault(fault, "retrieve", times=99)
        with pytest.raises(ScopeDownError) as down:
            paystack.retrieve("ref-1")
        assert down.value.exit_code == exit_code


class TestLists:
    def test_what_was_paid_in_a_half_open_window(self, paystack: Paystack, sandbox: Sandbox) -> None:
        times = [NOW - timedelta(minutes=each) for each in (30, 20, 10)]
        for n, at in enumerate(times):
            paid(sandbox, f"ref-{n}", at=NOW - timedelta(days=2), captured_at=at)
        paid(sandbox, "undecided", status="abandoned")
        listed = [each.id for page in paystack.listed(times[0], times[2]) for each in page]
        assert sorted(listed) == ["ref-0", "ref-1"]

    def test_pages_follow_one_another(self, paystack: Paystack, sandbox: Sandbox) -> None:
        made = {paid(sandbox, f"ref-{n}") for n in range(205)}
        listed = [each.id for page in paystack.listed(NOW - timedelta(hours=2), NOW) for each in page]
        assert (len(listed), set(listed)) == (205, made)
        assert sandbox.requests()["list"]["requests"] == 5  # of fifty each, whatever is asked for

    @pytest.mark.parametrize("fault", ["dropped", "garbage", "empty", "http_401"])
    def test_a_list_that_fails_is_no_empty_one(
        self, paystack: Paystack, sandbox: Sandbox, fault: str
    ) -> None:
        sandbox.fault(fault, "list", times=99)
        with pytest.raises(ScopeDownError):
            list(paystack.listed(NOW - timedelta(hours=2), NOW))


class TestRefunds:
    def test_one_is_pending_and_found_by_its_key_until_it_is_done(
        self, paystack: Paystack, sandbox: Sandbox
    ) -> None:
        paid(sandbox)
        assert refund(paystack) == Pending("ref-1")
        assert look(paystack) == Pending("ref-1")
        sandbox.advance(120)
        assert look(paystack) == Succeeded("ref-1", amount=PRICE, live=False, reference=KEY)

    def test_one_that_fails(self, paystack: Paystack, sandbox: Sandbox) -> None:
        paid(sandbox, "fails")
        key = "x.refund.fails"
        paystack.send("refund", compose(Refund("fails", PRICE), key), key)
        sandbox.advance(120)
        found = paystack.look(Inquiry("refund", key, "fails", NOW))
        assert isinstance(found, Declined)

    def test_without_any_a_complete_list_proves_that(self, paystack: Paystack, sandbox: Sandbox) -> None:
        for n in range(105):
            paid(sandbox, f"ref-{n}")
            paystack.send("refund", compose(Refund(f"ref-{n}", PRICE), f"other-{n}"), "other")
        assert look(paystack) == NotListed()

    @pytest.mark.parametrize("fault", ["dropped", "garbage", "empty", "http_401", "http_429"])
    def test_a_look_up_that_fails_proves_nothing(
        self, paystack: Paystack, sandbox: Sandbox, fault: str
    ) -> None:
        sandbox.fault(fault, "list", times=99)
        assert isinstance(look(paystack), Unknown)

    @pytest.mark.parametrize("fault", ["dropped", "lost_answer", "http_500_before", "garbage", "empty"])
    def test_what_may_have_been_taken_up_is_sent_once(
        self, paystack: Paystack, sandbox: Sandbox, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "PATIENCE", timedelta(seconds=2))
        paid(sandbox)
        sandbox.fault(fault, "refund", times=99)
        assert isinstance(refund(paystack), Unknown)
        assert sandbox.requests()["refund"]["requests"] == 1

    @pytest.mark.parametrize(
        ("fault", "later"),
        [("http_401", False), ("http_403", False), ("http_429", True), ("http_400", False)],
    )
    def test_what_certainly_was_not_is_rejected(
        self, paystack: Paystack, sandbox: Sandbox, fault: str, *, later: bool
    ) -> None:
        paid(sandbox)
        sandbox.fault(fault, "refund", times=99)
        outcome = refund(paystack)
        assert isinstance(outcome, Rejected)
        assert outcome.later == later

    def test_what_is_given_back_already_is_taken_for_done(self, paystack: Paystack, sandbox: Sandbox) -> None:
        paid(sandbox, status="reversed")
        assert refund(paystack) == Succeeded("ref-1", amount=PRICE, live=False)

    def test_what_was_given_back_in_part_as_soon_as_it_was_paid_is_seen(
        self, paystack: Paystack, sandbox: Sandbox
    ) -> None:
        paid(sandbox, at=NOW)
        sandbox.dashboard.refund("paystack", "ref-1", 1000)
        outcome = refund(paystack)
        assert isinstance(outcome, Mismatched)
        assert outcome.code == "refunded_by_hand"

    def test_more_than_was_paid_is_rejected(self, paystack: Paystack, sandbox: Sandbox) -> None:
        paid(sandbox)
        assert isinstance(refund(paystack, amount=Money(10_001, "NGN")), Rejected)


def test_it_is_asked_for_nothing_but_refunds() -> None:
    with pytest.raises(UnrepresentableError):
        compose(Authorize(PRICE, "", "pm"), KEY)


def test_without_a_key_nothing_is_asked(sandbox: Sandbox) -> None:
    with pytest.raises(ScopeDownError) as down:
        account(settings(sandbox, paystack_secret_key=None))
    assert (down.value.exit_code, sandbox.requests()) == (Exit.MISCONFIGURED, {})
