"""What becomes of an order where the provider, or a person there, tells something else than was asked for."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from jobctl import journal
from jobctl.errors import Exit
from jobctl.job import Ask
from jobctl.money import Money
from jobctl.providers.protocol import REFERENCE, Refund
from jobctl.sandbox import SECRET_KEY, YOOKASSA_SECRET_KEY
from jobctl.steps.journalling import LONGEST_KEY, Entry
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders, sessions
from tests.payments import AUTHORIZER, PROCESSOR, SETTLER, Market
from tests.servers import HookServer, Reply
from tests.world import ahead, command

BOTH = pytest.mark.parametrize("provider", ["stripe", "yookassa"])
FAR = {"starts_at": ahead(hours=40), "ends_at": ahead(hours=41)}


def held(market: Market, attendance: str = "all_present") -> tuple[int, str]:
    """Add an order with a hold, of a session that is over; return it and its payment's number."""
    order = market.held(market.past_session(attendance))
    return order, str(market.of(orders, order).payment_id)


def waits(market: Market, job: str, order: int, code: str) -> None:
    """See that a person has the order now, and that nothing more is asked about it, or said of it."""
    (finding,) = market.world.rows(findings)
    assert (finding.kind, finding.subject, finding.subject_id) == ("money mismatch", "order", order)
    operation = market.operations(order)[-1]
    assert (operation.status, operation.code) == ("mismatched", code)
    asked = market.sandbox.requests()
    for _ in range(3):
        market.pass_time(hours=25)
        for each in (job, SETTLER):
            done = market.run(each)
            assert (done.exit_code, done.document["errors"]) == (Exit.DONE, 0)
    assert market.sandbox.requests() == asked
    assert len(market.world.rows(findings)) == 1


class TestByHand:
    @BOTH
    def test_a_part_that_was_captured_by_hand_is_no_capture(self, market: Market, provider: str) -> None:
        market.provider = provider
        order, payment = held(market)
        market.sandbox.dashboard.capture(provider, payment, 1000)
        done = market.run(PROCESSOR)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"mismatched": 1})
        assert market.status(order) == "authorized"
        (operation,) = [each for each in market.operations(order) if each.kind == "capture"]
        assert (operation.amount_minor, operation.answered_minor) == (4500, 1000)
        assert "session-receipt" not in {template for template, *_ in market.told()}
        waits(market, PROCESSOR, order, "other_amount")

    @pytest.mark.parametrize(
        ("provider", "reason"),
        [
            ("stripe", "requested_by_customer"),
            ("stripe", "fraudulent"),
            ("stripe", "duplicate"),
            ("yookassa", "canceled_by_merchant"),
        ],
    )
    def test_a_hold_that_a_person_cancelled_is_never_charged(
        self, market: Market, provider: str, reason: str
    ) -> None:
        market.provider = provider
        order, payment = held(market)
        market.sandbox.dashboard.cancel(provider, payment, reason)
        assert market.run(PROCESSOR).exit_code == Exit.ITEMS_FAILED
        assert "charge" not in market.sandbox.requests()
        waits(market, PROCESSOR, order, "cancelled_by_hand")

    @BOTH
    def test_one_that_lapsed_is_charged_in_one(self, market: Market, provider: str) -> None:
        market.provider = provider
        order, payment = held(market)
        market.sandbox.dashboard.lapse(provider, payment)
        assert market.run(PROCESSOR).exit_code == Exit.DONE
        assert market.status(order) == "captured"
        market.agree()

    @BOTH
    def test_what_was_captured_in_full_by_hand_is_captured(self, market: Market, provider: str) -> None:
        market.provider = provider
        order, payment = held(market)
        market.sandbox.dashboard.capture(provider, payment)
        assert market.run(PROCESSOR).exit_code == Exit.DONE
        assert market.status(order) == "captured"
        market.agree()

    @BOTH
    @pytest.mark.parametrize("given_back", [None, 1000])
    def test_what_was_captured_and_given_back_by_hand_is_no_capture(
        self, market: Market, provider: str, given_back: int | None
    ) -> None:
        market.provider = provider
        order, payment = held(market)
        market.sandbox.dashboard.capture(provider, payment)
        market.sandbox.dashboard.refund(provider, payment, given_back)
        done = market.run(PROCESSOR)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"mismatched": 1})
        assert market.status(order) == "authorized"
        assert "session-receipt" not in {template for template, *_ in market.told()}
        (operation,) = [each for each in market.operations(order) if each.kind == "capture"]
        assert operation.answered_minor == (given_back or 4500)
        waits(market, PROCESSOR, order, "refunded_by_hand")

    @BOTH
    def test_a_capture_that_was_given_back_before_its_answer_was_known_is_none(
        self, market: Market, provider: str
    ) -> None:
        market.provider = provider
        order, payment = held(market)
        market.sandbox.fault("lost_answer", "capture", probability=1)
        assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME
        market.sandbox.clear_faults()
        market.sandbox.dashboard.refund(provider, payment)
        market.pass_time(hours=25)
        assert market.run(SETTLER).counts == {"mismatched": 1}
        assert "session-receipt" not in {template for template, *_ in market.told()}
        waits(market, PROCESSOR, order, "refunded_by_hand")

    @BOTH
    def test_a_hold_that_is_released_already_is_released(self, market: Market, provider: str) -> None:
        market.provider = provider
        order, payment = held(market, "none_showed")
        market.sandbox.dashboard.cancel(provider, payment)
        done = market.run(PROCESSOR)
        assert (done.exit_code, done.counts) == (Exit.DONE, {"released": 1})
        assert market.status(order) == "released"

    @BOTH
    def test_one_that_was_captured_by_hand_cannot_be_released(self, market: Market, provider: str) -> None:
        market.provider = provider
        order, payment = held(market, "none_showed")
        market.sandbox.dashboard.capture(provider, payment)
        assert market.run(PROCESSOR).exit_code == Exit.ITEMS_FAILED
        waits(market, PROCESSOR, order, "captured_by_hand")

    @BOTH
    def test_what_was_captured_in_part_before_our_request_came_is_a_persons(
        self, market: Market, provider: str
    ) -> None:
        market.provider = provider
        order, payment = held(market)
        market.sandbox.fault("dropped", "capture")
        assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME
        market.sandbox.dashboard.capture(provider, payment, 1000)
        market.pass_time(minutes=10)
        assert market.run(SETTLER).exit_code == Exit.ITEMS_FAILED
        waits(market, PROCESSOR, order, "other_amount")

    @BOTH
    @pytest.mark.parametrize("part", [None, 1000])
    def test_the_old_hold_that_was_captured_by_hand_is_not_released(
        self, market: Market, provider: str, part: int | None
    ) -> None:
        """The order goes by the new one; of the old one a person is told, once."""
        market.provider = provider
        order = market.held(market.session())
        old = str(market.of(orders, order).payment_id)
        market.world.change(orders, order, hold_ends_at=ahead(hours=30))
        market.sandbox.dashboard.capture(provider, old, part)
        assert market.run(AUTHORIZER).exit_code == Exit.ITEMS_FAILED
        waits(market, AUTHORIZER, order, "captured_by_hand")

    @BOTH
    def test_what_was_given_back_by_hand_already_is_given_back(self, market: Market, provider: str) -> None:
        market.provider = provider
        order = unwanted(market)
        market.sandbox.dashboard.refund(provider, str(market.of(orders, order).payment_id))
        assert market.run(SETTLER).exit_code == Exit.DONE
        assert market.of(orders, order).refunded_at is not None
        assert market.run(SETTLER).counts == {}
        market.agree()

    @BOTH
    def test_what_was_given_back_in_part_is_a_persons(self, market: Market, provider: str) -> None:
        market.provider = provider
        order = unwanted(market)
        market.sandbox.dashboard.refund(provider, str(market.of(orders, order).payment_id), 1000)
        assert market.run(SETTLER).exit_code == Exit.ITEMS_FAILED
        waits(market, PROCESSOR, order, "refunded_by_hand")

    def test_once_a_person_has_decided_it_goes_on(
        self,
        market: Market,
        environment: None,
    ) -> None:
        order, payment = held(market)
        market.sandbox.dashboard.capture("stripe", payment, 1000)
        market.run(PROCESSOR)
        explained, *_ = command("why", PROCESSOR, str(order), "--json").document
        (condition,) = [each for each in explained["conditions"] if "waits for a person" in each["condition"]]
        assert condition["holds"] is False
        market.world.change(orders, order, amount_minor=1000)
        (finding,) = market.world.rows(findings)
        assert command("findings", "resolve", str(finding.id), "--reason", "10 were agreed").exit_code == 0
        assert market.run(PROCESSOR).counts == {"captured": 1}
        assert market.status(order) == "captured"


ODD = {
    "other_id": "other_payment",
    "other_amount": "other_amount",
    "other_currency": "other_currency",
    "other_mode": "other_mode",
    "other_reference": "other_reference",
}


class TestAnswersAboutSomethingElse:
    @BOTH
    @pytest.mark.parametrize("fault", [each for each in ODD if each != "other_id"])
    def test_no_hold_is_believed(self, market: Market, provider: str, fault: str) -> None:
        market.provider = provider
        order = market.order()
        market.sandbox.fault(fault, "authorize")
        done = market.run(AUTHORIZER)
        assert (done.exit_code, market.status(order)) == (Exit.ITEMS_FAILED, "not_started")
        waits(market, AUTHORIZER, order, ODD[fault])

    @BOTH
    @pytest.mark.parametrize(
        "fault", [*(each for each in ODD if each != "other_reference"), "other_received"]
    )
    def test_no_capture_is_believed(self, market: Market, provider: str, fault: str) -> None:
        market.provider = provider
        order, payment = held(market)
        market.sandbox.fault(fault, "capture")
        done = market.run(PROCESSOR)
        assert (done.exit_code, market.status(order)) == (Exit.ITEMS_FAILED, "authorized")
        assert market.of(orders, order).payment_id == payment
        waits(market, PROCESSOR, order, ODD.get(fault, "other_amount"))

    @BOTH
    @pytest.mark.parametrize("fault", [each for each in ODD if each != "other_id"])
    def test_no_charge_is_believed(self, market: Market, provider: str, fault: str) -> None:
        market.provider = provider
        order = market.order(market.past_session())
        market.sandbox.fault(fault, "charge")
        done = market.run(PROCESSOR)
        assert (done.exit_code, market.status(order)) == (Exit.ITEMS_FAILED, "not_started")
        waits(market, PROCESSOR, order, ODD[fault])

    @BOTH
    @pytest.mark.parametrize("call", ["authorize", "charge"])
    def test_what_bears_no_reference_is_believed_once_it_is_found_by_it(
        self, market: Market, provider: str, call: str
    ) -> None:
        market.provider = provider
        order = market.order() if call == "authorize" else market.order(market.past_session())
        job, end = (AUTHORIZER, "authorized") if call == "authorize" else (PROCESSOR, "captured")
        market.sandbox.fault("no_metadata", call)
        assert market.run(job).exit_code == Exit.UNKNOWN_OUTCOME
        (operation,) = market.operations(order)
        assert (operation.status, operation.code, operation.payment_id) == ("unknown", "unproved", None)
        assert market.status(order) == "not_started"
        market.pass_time(minutes=10)
        assert market.run(SETTLER).exit_code == Exit.DONE
        assert market.status(order) == end
        market.agree()

    @BOTH
    @pytest.mark.parametrize("fault", ["other_id", "other_mode"])
    def test_no_release_is_believed(self, market: Market, provider: str, fault: str) -> None:
        market.provider = provider
        order, _ = held(market, "none_showed")
        market.sandbox.fault(fault, "release")
        done = market.run(PROCESSOR)
        assert (done.exit_code, market.status(order)) == (Exit.ITEMS_FAILED, "authorized")
        waits(market, PROCESSOR, order, ODD[fault])

    @BOTH
    @pytest.mark.parametrize("fault", ["other_amount", "other_currency", "other_payment"])
    def test_no_refund_is_believed(self, market: Market, provider: str, fault: str) -> None:
        market.provider = provider
        order = unwanted(market)
        market.sandbox.fault(fault, "refund")
        assert market.run(SETTLER).exit_code == Exit.ITEMS_FAILED
        assert market.of(orders, order).refunded_at is None
        waits(market, PROCESSOR, order, fault)

    @BOTH
    @pytest.mark.parametrize(
        "fault", ["text_nul", "text_surrogate", "text_control", "text_long", "text_object"]
    )
    @pytest.mark.parametrize("card", ["fine", "declines"])
    def test_hostile_text_stops_nobody(self, market: Market, provider: str, fault: str, card: str) -> None:
        """What can be read is stored, what cannot is asked about; other orders are held in the same run."""
        market.provider = provider
        declining = {
            "stripe": "pm_card_visa_chargeDeclinedInsufficientFunds",
            "yookassa": "pm_yk_insufficient_funds",
        }
        bad, good = market.order(), market.order()
        if card == "declines":
            method = market.of(orders, bad).payment_method_id
            market.change_method(method, provider_method=declining[provider])
        market.sandbox.fault(fault, "authorize", contains=f"order-{bad}.")
        assert market.run(AUTHORIZER).exit_code in (Exit.DONE, Exit.ITEMS_FAILED, Exit.UNKNOWN_OUTCOME)
        assert market.status(good) == "authorized"
        for _ in range(3):
            market.pass_time(minutes=10)
            assert market.run(SETTLER).exit_code in (Exit.DONE, Exit.ITEMS_FAILED)
        assert market.status(bad) in ("authorized", "authorization_failed")
        assert market.unsettled() == []


class TestRefusalsAboutSomethingElse:
    """A decline, or a delay, that is about another payment leaves open what became of ours."""

    @pytest.mark.parametrize("fault", ["other_reference", "other_mode"])
    def test_no_decline_is_believed(self, market: Market, fault: str) -> None:
        market.provider = "yookassa"
        order = market.order(card="pm_yk_insufficient_funds")
        market.sandbox.fault(fault, "authorize")
        done = market.run(AUTHORIZER)
        assert (done.exit_code, market.status(order)) == (Exit.ITEMS_FAILED, "not_started")
        waits(market, AUTHORIZER, order, ODD[fault])

    @pytest.mark.parametrize("fault", ["other_reference", "other_mode"])
    def test_no_delay_is_believed(self, market: Market, fault: str) -> None:
        market.provider = "yookassa"
        order = market.order(market.past_session(), card="pm_yk_pending_succeeds")
        market.sandbox.fault(fault, "charge")
        done = market.run(PROCESSOR)
        assert (done.exit_code, market.status(order)) == (Exit.ITEMS_FAILED, "not_started")
        waits(market, PROCESSOR, order, ODD[fault])

    @pytest.mark.parametrize("told", [{"metadata": {"jobctl_key": "another"}}, {"livemode": True}])
    def test_a_decline_cancels_no_payment_of_another(self, market: Market, told: dict[str, Any]) -> None:
        held = market.held()
        order = market.order()
        refused(market, order, {"id": market.of(orders, held).payment_id} | told)
        assert market.status(order) == "not_started"
        assert [each.kind for each in market.sandbox.ledger()] == ["hold"]
        waits(market, AUTHORIZER, order, "other_mode" if "livemode" in told else "other_reference")

    def test_nor_one_that_may_be_anybodys(self, market: Market) -> None:
        held = market.held()
        order = market.order()
        refused(market, order, {"id": market.of(orders, held).payment_id})
        assert market.status(order) == "authorization_failed"
        assert [each.kind for each in market.sandbox.ledger()] == ["hold"]


class TestSecrets:
    @BOTH
    def test_what_a_provider_echoes_of_them_is_kept_and_shown_nowhere(
        self, market: Market, provider: str
    ) -> None:
        market.provider = provider
        order = market.order(currency="RUB")
        secret = {"stripe": SECRET_KEY, "yookassa": YOOKASSA_SECRET_KEY}[provider]
        said = f"no such key: {secret}"
        told = {"error": {"type": "invalid_request_error", "message": said}, "description": said}
        with HookServer() as server:
            server.default = Reply(400, {"Content-Type": "application/json"}, json.dumps(told).encode())
            address: Any = {f"{provider}_api_base": server.url}
            market.world.configure(**address)
            done = market.run(AUTHORIZER)
        assert market.kinds(order) == [("authorize", "rejected")]
        kept = {name: rows for name, rows in market.world.everything().items() if rows}
        assert "no such key: [secret]" in repr(kept)
        assert secret not in repr((kept, done))


class TestAnswersThatContradictThemselves:
    @pytest.mark.parametrize("ends", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-03-09T00:00:00"])
    def test_an_end_that_nobody_could_write_down_is_none(self, market: Market, ends: str) -> None:
        """The hold is there, whatever is told of its end."""
        market.provider = "yookassa"
        order = market.order(currency="RUB")
        hold = {"id": "h-1", "status": "waiting_for_capture", "paid": True, "test": True, "expires_at": ends}
        told: dict[str, Any] = {**hold, "amount": {"value": "45.00", "currency": "RUB"}}
        with HookServer() as server:
            server.default = Reply(500)
            market.world.configure(yookassa_api_base=server.url)
            assert market.run(AUTHORIZER).counts == {"unknown": 1}
            told["metadata"] = {REFERENCE: market.operations(order)[0].key}
            server.default = Reply(200, {"Content-Type": "application/json"}, json.dumps(told).encode())
            market.pass_time(minutes=10)
            assert market.run(SETTLER).counts == {"held": 1}
        assert (market.status(order), market.of(orders, order).hold_ends_at) == ("authorized", None)

    def test_one_of_two_lengths_may_follow_an_effect(self, market: Market) -> None:
        """Nothing frees the order for a new key: the request did arrive."""
        order = market.order()
        with HookServer() as server:
            server.default = Reply(200, {"Content-Length": "7"}, b"{}")  # and its own
            market.world.configure(stripe_api_base=server.url)
            assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
            assert len(server.requests) == 1
        assert market.kinds(order) == [("authorize", "unknown")]


def refused(market: Market, order: int, intent: dict[str, Any]) -> None:
    """Have Stripe decline a hold, and name that intent with it."""
    told = {"status": "requires_payment_method", **intent}
    error = {"type": "card_error", "code": "card_declined", "payment_intent": told}
    answer = Reply(402, {"Content-Type": "application/json"}, json.dumps({"error": error}).encode())
    with HookServer() as server:
        server.default = answer
        market.world.configure(stripe_api_base=server.url)
        market.run(AUTHORIZER, only=order)
    market.world.configure(stripe_api_base=market.sandbox.url)
    market.pass_time(minutes=10)
    market.run(SETTLER)


def unwanted(market: Market) -> int:
    """Have an order captured, of which nobody knows yet, and its session cancelled meanwhile."""
    order, _ = held(market)
    market.sandbox.fault("lost_answer", "capture")
    market.run(PROCESSOR)
    market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
    market.pass_time(minutes=5)
    return order


class TestCompensations:
    @BOTH
    def test_a_refund_that_is_refused_is_repeated_until_it_is_done(
        self, market: Market, provider: str
    ) -> None:
        """For a day as any passing refusal, then daily, and a finding is open until the money is back."""
        market.provider = provider
        order = unwanted(market)
        market.sandbox.fault("refused", "refund", times=1000)
        for _ in range(60):
            market.run(SETTLER)
            market.pass_time(minutes=30)
        assert market.of(orders, order).refunded_at is None
        assert [each.kind for each in market.world.rows(findings)] == ["refund refused"]
        (pending,) = market.unsettled()
        assert (pending.kind, pending.first_sent_at) == ("refund", None)
        market.sandbox.clear_faults()
        market.pass_time(days=1)
        assert market.run(SETTLER).counts == {"refunded": 1}
        (finding,) = market.world.rows(findings)
        assert (finding.status, market.of(orders, order).refunded_at is not None) == ("resolved", True)
        market.agree()

    def test_one_that_fails_after_it_was_taken_on_is_repeated(self, market: Market) -> None:
        order = unwanted(market)
        market.sandbox.conditions("stripe", refund_first="pending", refund_then="failed", refund_after=60)
        market.run(SETTLER)
        market.pass_time(minutes=5)
        market.run(SETTLER)
        market.sandbox.conditions("stripe", refund_first="succeeded", refund_then=None)
        for _ in range(3):
            market.pass_time(minutes=10)
            market.run(SETTLER)
        assert market.of(orders, order).refunded_at is not None
        market.agree()

    @pytest.mark.parametrize("fault", ["http_429", "http_500_before"])
    def test_a_charge_in_place_of_a_hold_that_lapsed_may_be_put_off(self, market: Market, fault: str) -> None:
        """Neither that order nor the others are harmed, and it is charged once."""
        order, payment = held(market)
        others = [held(market)[0] for _ in range(3)]
        market.sandbox.dashboard.lapse("stripe", payment)
        market.sandbox.fault(fault, "charge")
        assert market.run(PROCESSOR).exit_code in (Exit.UNREACHABLE, Exit.UNKNOWN_OUTCOME)
        assert {market.status(each) for each in others} == {"captured"}
        for _ in range(6):
            market.pass_time(minutes=15)
            market.run(SETTLER)
            market.run(PROCESSOR)
        assert market.status(order) == "captured"
        market.agree()

    def test_it_is_not_charged_once_its_session_is_cancelled(self, market: Market) -> None:
        order, payment = held(market)
        market.sandbox.dashboard.lapse("stripe", payment)
        market.sandbox.fault("http_429", "charge")
        market.run(PROCESSOR)
        market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
        for _ in range(4):
            market.pass_time(minutes=30)
            market.run(SETTLER)
            market.run(PROCESSOR)
        assert [each.kind for each in market.sandbox.ledger() if each.kind == "charge"] == []
        assert market.status(order) == "released"

    def test_a_declined_payment_cannot_be_completed_behind_our_back(self, market: Market) -> None:
        order = market.order(card="pm_card_visa_chargeDeclinedInsufficientFunds")
        assert market.run(AUTHORIZER).counts == {"declined": 1}
        (decline, release) = market.operations(order)
        assert (release.kind, release.status, release.follows) == ("release", "succeeded", decline.id)
        with pytest.raises(ValueError, match=str(decline.payment_id)):
            market.sandbox.dashboard.complete("stripe", str(decline.payment_id), "pm_card_visa")

    @pytest.mark.parametrize(
        "card", ["pm_card_visa_chargeDeclinedInsufficientFunds", "pm_card_authenticationRequired"]
    )
    def test_nor_one_that_was_to_be_charged_in_one(self, market: Market, card: str) -> None:
        order = market.order(market.past_session(), card)
        market.run(PROCESSOR)
        (decline, release) = market.operations(order)
        assert (release.kind, release.status, release.follows) == ("release", "succeeded", decline.id)
        with pytest.raises(ValueError, match=str(decline.payment_id)):
            market.sandbox.dashboard.complete("stripe", str(decline.payment_id), "pm_card_visa")


class TestAbsences:
    def after_500(self, market: Market, lag: float) -> int:
        """Have a hold placed, answered by a 500, and not listed for so many seconds."""
        market.sandbox.conditions("stripe", lag=lag)
        order = market.order()
        market.sandbox.fault("http_500_after", "authorize")
        assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
        return order

    def work(self, market: Market, times: int, **span: float) -> None:
        for _ in range(times):
            market.pass_time(**span)
            market.run(SETTLER)
            market.run(AUTHORIZER)

    def test_a_list_that_lags_is_not_believed_the_first_time(self, market: Market) -> None:
        order = self.after_500(market, lag=300)
        self.work(market, 6, minutes=3)
        assert market.status(order) == "authorized"
        assert [each.kind for each in market.sandbox.ledger()] == ["hold"]
        market.agree()

    def test_what_turns_up_later_still_is_undone(self, market: Market) -> None:
        session = market.session(starts_at=ahead(hours=40), ends_at=ahead(hours=41))
        market.sandbox.conditions("stripe", lag=3600 * 2)
        order = market.order(session)
        market.sandbox.fault("http_500_after", "authorize")
        market.run(AUTHORIZER)
        self.work(market, 6, minutes=5)
        assert market.status(order) == "authorized"
        assert [each.kind for each in market.sandbox.ledger()] == ["hold", "hold"]
        self.work(market, 10, hours=1)
        assert [each.kind for each in market.sandbox.ledger()] == ["hold", "hold", "release"]
        market.agree()

    def test_a_dry_run_shows_what_is_looked_for_again(self, market: Market) -> None:
        order = market.order(market.session(starts_at=ahead(hours=40), ends_at=ahead(hours=41)))
        market.sandbox.fault("http_500_before", "authorize")
        market.run(AUTHORIZER)
        self.work(market, 3, minutes=6)
        market.pass_time(hours=2)
        (shown,) = market.run(SETTLER, dry_run=True).document["rows"]
        operation = market.operations(order)[0]
        assert (shown["row_id"], shown["outcome"]) == (operation.id, "would ask the provider")
        assert market.run(SETTLER).counts == {"looked for again": 1}

    def test_it_is_looked_for_until_the_horizon_and_no_longer(self, market: Market) -> None:
        order = market.order(market.session(starts_at=ahead(hours=40), ends_at=ahead(hours=41)))
        market.sandbox.fault("http_500_before", "authorize")
        market.run(AUTHORIZER)
        self.work(market, 60, minutes=30)
        operation = market.operations(order)[0]
        assert (operation.status, operation.look_until, operation.answer_by) == ("rejected", None, None)
        assert market.status(order) == "authorized"

    def test_yookassa_is_asked_again_with_the_same_key(self, market: Market) -> None:
        """Its rule is to repeat until the answer is no 500; its list may lack what took effect."""
        market.provider = "yookassa"
        market.sandbox.conditions("yookassa", lag=3600 * 24)
        order = market.order()
        market.sandbox.fault("http_500_lost", "authorize", times=3)
        assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
        self.work(market, 8, minutes=5)
        assert market.status(order) == "authorized"
        assert [each.attempt for each in market.operations(order)] == [1]
        market.agree()

    @BOTH
    def test_a_clock_that_is_behind_hides_nothing(self, market: Market, provider: str) -> None:
        market.provider = provider
        market.sandbox.conditions(provider, skew=-660)
        order = market.order()
        market.sandbox.fault("lost_answer", "authorize")
        assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
        market.pass_time(hours=24)  # its key is too old to be sent again
        starts = {"starts_at": market.now + timedelta(hours=1), "ends_at": market.now + timedelta(hours=2)}
        market.world.change(sessions, market.of(orders, order).session_id, **starts)
        self.work(market, 4, minutes=6)
        assert [each.kind for each in market.sandbox.ledger()] == ["hold"]
        assert market.status(order) == "authorized"


def entry(subject_id: int, cycle: str, attempt: int) -> Entry:
    ask = Ask(cycle, "stripe", Refund("pi_1", Money(1, "USD")))
    return Entry(ask, "subscription", subject_id, "test", "abcdefgh", attempt)


def test_every_key_fits() -> None:
    """One that would be too long is told by its digest; those that fitted stay as they were."""
    assert entry(7, "2026-03-02", 1).key == "abcdefgh.refund.subscription-7.2026-03-02.1"
    long = {entry(2**63 - 1, f"2026-03-02-again-{n}", attempt).key for n in (1, 2) for attempt in (1, 2)}
    assert len(long) == 4
    assert {len(each) for each in long} == {LONGEST_KEY}
    assert all(each.startswith("abcdefgh.refund.") for each in long)


class TestKeysThatAreKnown:
    @BOTH
    def test_what_the_journal_lost_is_not_held_again(self, market: Market, provider: str) -> None:
        """As after a restored backup, with another amount than it was held for."""
        market.provider = provider
        order = market.order(market.session(**FAR))
        market.run(AUTHORIZER)
        with market.world.engine.begin() as connection:
            connection.execute(delete(money_operations))
        lost = {"payment_status": "not_started", "holds": 0, "payment_id": None, "hold_ends_at": None}
        market.world.change(orders, order, amount_minor=5000, **lost)
        market.pass_time(minutes=2)
        assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
        for _ in range(6):
            market.pass_time(minutes=10)
            market.run(SETTLER)
            market.run(AUTHORIZER)
        assert [(each.kind, each.amount) for each in market.sandbox.ledger()] == [("hold", 4500)]
        waits(market, AUTHORIZER, order, "other_amount")


class TestTheRightPlace:
    @BOTH
    @pytest.mark.parametrize("fault", ["route_not_found", "html_404"])
    @pytest.mark.parametrize("attendance", ["all_present", "none_showed"])
    def test_what_a_gateway_lacks_tells_nothing_of_a_payment(
        self, market: Market, provider: str, fault: str, attendance: str
    ) -> None:
        market.provider = provider
        some = [held(market, attendance)[0] for _ in range(3)]
        market.sandbox.fault(fault, times=99)
        for _ in range(3):
            assert market.run(PROCESSOR).exit_code == Exit.MISCONFIGURED
            market.pass_time(minutes=30)
        assert market.world.rows(findings) == []
        market.sandbox.clear_faults()
        assert market.run(PROCESSOR).exit_code == Exit.DONE
        assert {market.status(each) for each in some} <= {"captured", "released"}
        market.agree()


class TestWhatCannotBeStored:
    def test_a_fact_is_kept_in_words_of_our_own(self, market: Market) -> None:
        """A rule of the application refuses the provider's; neither that order nor another is stuck."""
        bad, good = market.order(card="pm_card_visa_chargeDeclinedInsufficientFunds"), market.order()
        market.world.forbid(money_operations, "NEW.code = 'insufficient_funds'")
        done = market.run(AUTHORIZER)
        assert (done.exit_code, done.document["errors"]) == (Exit.ITEMS_FAILED, 1)
        assert market.status(good) == "authorized"
        (operation,) = market.operations(bad)
        assert (operation.status, operation.settled_at) == ("declined", None)
        market.pass_time(minutes=10)
        assert market.run(SETTLER).counts == {"declined": 1}
        assert market.status(bad) == "authorization_failed"
        assert market.unsettled() == []

    @BOTH
    @pytest.mark.parametrize(
        "fault", ["text_nul", "text_surrogate", "text_control", "text_long", "text_object"]
    )
    @pytest.mark.parametrize("call", ["capture", "refund", "release"])
    def test_hostile_text_leaves_nothing_open(
        self, market: Market, provider: str, fault: str, call: str
    ) -> None:
        market.provider = provider
        order = {
            "capture": lambda: held(market)[0],
            "refund": lambda: unwanted(market),
            "release": lambda: held(market, "none_showed")[0],
        }[call]()
        good, _ = held(market)
        market.sandbox.fault(fault, call)
        for _ in range(3):
            for job in (SETTLER, PROCESSOR):
                assert market.run(job).exit_code in (Exit.DONE, Exit.UNKNOWN_OUTCOME)
            market.pass_time(minutes=10)
        assert market.status(good) == "captured"
        end = {"capture": "captured", "refund": "captured", "release": "released"}[call]
        assert (market.status(order), market.unsettled()) == (end, [])
        market.agree()


class TestAPaymentThatItsProviderDoesNotHave:
    """Somebody put another number on the order, or the provider answered with one that is none of its own."""

    @BOTH
    @pytest.mark.parametrize("attendance", ["all_present", "none_showed"])
    def test_is_a_persons_where_others_of_the_account_are_there(
        self, market: Market, provider: str, attendance: str
    ) -> None:
        market.provider = provider
        sound, _ = held(market)
        order, _ = held(market, attendance)
        market.world.change(orders, order, payment_id="pi_of_nobody")
        done = market.run(PROCESSOR, concurrency=1)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"captured": 1, "mismatched": 1})
        assert market.status(sound) == "captured"
        waits(market, PROCESSOR, order, "no_payment")

    @BOTH
    def test_is_refused_for_a_while_where_the_key_may_be_wrong(self, market: Market, provider: str) -> None:
        market.provider = provider
        order, _ = held(market)
        market.world.change(orders, order, payment_id="pi_of_nobody")
        for attempt in range(1, journal.PATIENT):
            assert market.run(PROCESSOR).counts == {"rejected": 1}, attempt
            assert market.world.rows(findings) == []
        assert market.run(PROCESSOR).counts == {"mismatched": 1}
        waits(market, PROCESSOR, order, "no_payment")

    def test_many_are_the_keys_fault(self, market: Market) -> None:
        some = [held(market)[0] for _ in range(4)]
        numbers = {each: market.of(orders, each).payment_id for each in some}
        for each in some:
            market.world.change(orders, each, payment_id=f"pi_{each}_of_nobody")
        for _ in range(journal.PATIENT - 1):
            done = market.run(PROCESSOR)
            assert (done.exit_code, done.counts) == (Exit.MISCONFIGURED, {"rejected": 4})
            assert "is this the right key?" in done.err
        assert market.world.rows(findings) == []
        for each, number in numbers.items():
            market.world.change(orders, each, payment_id=number)
        assert market.run(PROCESSOR).counts == {"captured": 4}
        market.agree()

    @BOTH
    def test_one_whose_capture_was_lost_is_looked_for_until_the_horizon(
        self, market: Market, provider: str
    ) -> None:
        market.provider = provider
        order, _ = held(market)
        market.world.change(orders, order, payment_id="pi_of_nobody")
        market.sandbox.fault("garbage", "capture")
        assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME
        market.pass_time(minutes=10)
        assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
        market.pass_time(hours=25)
        done = market.run(SETTLER)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"mismatched": 1})
        waits(market, SETTLER, order, "no_payment")


def test_a_journal_that_takes_no_change_of_one_operation_ends_no_run(market: Market) -> None:
    good, bad = market.order(), market.order()
    market.world.forbid(money_operations, f"NEW.subject_id = {bad}")
    done = market.run(AUTHORIZER)
    (operation,) = market.operations(bad)
    assert done.exit_code == Exit.UNKNOWN_OUTCOME  # for all that the journal knows
    assert f"operation {operation.id} " in done.err
    assert (market.status(good), operation.status) == ("authorized", "started")


def test_what_has_no_effect_again_and_again_is_complained_of(market: Market) -> None:
    order, _ = held(market)
    for attempt in range(1, journal.PATIENT + 1):
        market.sandbox.fault("http_500_before", "capture", times=100)
        assert market.run(PROCESSOR, only=order).exit_code == Exit.UNKNOWN_OUTCOME
        market.sandbox.clear_faults()
        market.pass_time(minutes=10)
        done = market.run(SETTLER)
        expected = Exit.ITEMS_FAILED if attempt == journal.PATIENT else Exit.DONE
        assert (done.exit_code, done.counts) == (expected, {"rejected": 1}), attempt
    assert market.run(PROCESSOR).counts == {"captured": 1}
    market.agree()
