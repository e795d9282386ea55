"""YooKassa's charges, holds, captures, cancellations and refunds: answers, state, ledger."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from jobctl.sandbox import YOOKASSA_SHOP_ID, Sandbox
from tests.sandbox.client import ok
from tests.sandbox.shop import CHARGE, PAYMENTS, REFUNDS, Shop, refused, rub
from tests.world import NOW

WEEK = timedelta(days=7)
INVALID = (400, "invalid_request", None)


def effects(sandbox: Sandbox) -> list[tuple[str, str, int, str]]:
    return [(each.kind, each.intent, each.amount, each.currency) for each in sandbox.ledger()]


def soon(text: str, at: datetime) -> bool:
    """Whether a time is of this instant, in YooKassa's format, give or take what a slow machine needs."""
    found = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
    assert text.endswith("Z")
    assert len(text) == len("2026-11-21T00:00:00.000Z")
    return timedelta(milliseconds=-1) <= found - at < timedelta(minutes=1)


class TestCharge:
    def test_it_answers_with_the_documented_object(self, shop: Shop) -> None:
        payment = ok(shop.charge(description="a session", metadata={"order": "é 12"}))
        UUID(payment["id"])
        expected = {
            "status": "succeeded",
            "paid": True,
            "amount": rub("450.00"),
            "income_amount": rub("434.25"),
            "refunded_amount": rub("0.00"),
            "refundable": True,
            "test": True,
            "description": "a session",
            "metadata": {"order": "é 12"},
        }
        assert {name: payment[name] for name in expected} == expected
        assert payment["recipient"]["account_id"] == YOOKASSA_SHOP_ID
        method = {name: payment["payment_method"][name] for name in ("id", "type", "saved")}
        assert method == {"id": "pm_yk_ok", "type": "bank_card", "saved": True}
        assert soon(payment["created_at"], NOW)
        assert soon(payment["captured_at"], NOW)
        assert not payment.keys() & {"expires_at", "cancellation_details"}
        assert shop.payment(payment["id"]) == payment

    def test_it_is_one_effect(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = ok(shop.charge("key-1", metadata={"operation": "op-7"}))["id"]
        (effect,) = sandbox.ledger()
        said = (effect.provider, effect.kind, effect.intent, effect.amount, effect.currency)
        assert said == ("yookassa", "charge", payment, 45_000, "RUB")
        assert (effect.metadata, effect.key) == ({"operation": "op-7"}, "key-1")
        assert NOW <= effect.at < NOW + timedelta(minutes=1)

    def test_each_provider_is_told_apart(self, shop: Shop, sandbox: Sandbox) -> None:
        """YooKassa's currencies are in capitals, Stripe's are not."""
        shop.charged()
        sandbox.pay("stripe", 500, "rub")
        assert [each.provider for each in sandbox.ledger()] == ["yookassa", "stripe"]
        assert sandbox.totals().keys() == {"RUB", "rub"}


class TestDecline:
    @pytest.mark.parametrize(
        ("reason", "party"),
        [
            ("insufficient_funds", "payment_network"),
            ("issuer_unavailable", "payment_network"),
            ("internal_timeout", "yoo_money"),
            ("payment_method_limit_exceeded", "payment_network"),
            ("general_decline", "payment_network"),
            ("card_expired", "payment_network"),
            ("invalid_card_number", "payment_network"),
            ("invalid_csc", "payment_network"),
            ("payment_method_restricted", "payment_network"),
            ("call_issuer", "payment_network"),
            ("permission_revoked", "yoo_money"),
            ("fraud_suspected", "yoo_money"),
            ("country_forbidden", "yoo_money"),
        ],
    )
    @pytest.mark.parametrize("capture", [True, False])
    def test_it_is_a_200(
        self, shop: Shop, sandbox: Sandbox, reason: str, party: str, *, capture: bool
    ) -> None:
        payment = ok(shop.charge(payment_method_id=f"pm_yk_{reason}", capture=capture))
        assert (payment["status"], payment["paid"], payment["refundable"]) == ("canceled", False, False)
        assert payment["cancellation_details"] == {"party": party, "reason": reason}
        assert not payment.keys() & {"captured_at", "expires_at", "income_amount"}
        assert sandbox.ledger() == []


class TestPending:
    def test_it_succeeds_later(self, shop: Shop, sandbox: Sandbox) -> None:
        """As of the time at which it was decided, by the key of its own request."""
        payment = ok(shop.charge("key-1", payment_method_id="pm_yk_pending_succeeds"))
        assert (payment["status"], payment["paid"]) == ("pending", False)
        assert "captured_at" not in payment
        sandbox.advance(200)
        assert (shop.payment(payment["id"])["status"], sandbox.ledger()) == ("pending", [])
        sandbox.advance(3600)
        found = shop.payment(payment["id"])
        assert found["status"] == "succeeded"
        assert soon(found["captured_at"], NOW + timedelta(minutes=5))
        (effect,) = sandbox.ledger()
        assert (effect.kind, effect.key) == ("charge", "key-1")

    def test_a_hold_is_held_later(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.held(payment_method_id="pm_yk_pending_succeeds")
        sandbox.advance(301)
        assert soon(shop.payment(payment)["expires_at"], NOW + timedelta(minutes=5) + WEEK)
        assert effects(sandbox) == [("hold", payment, 45_000, "RUB")]

    def test_it_is_canceled_later(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.charged(payment_method_id="pm_yk_pending_canceled")
        sandbox.advance(301)
        assert shop.payment(payment)["cancellation_details"]["reason"] == "general_decline"
        assert sandbox.ledger() == []

    def test_meanwhile_it_can_neither_be_captured_nor_canceled(self, shop: Shop) -> None:
        payment = shop.held(payment_method_id="pm_yk_pending_succeeds")
        assert refused(shop.capture(payment)) == refused(shop.cancel(payment)) == INVALID


class TestHold:
    @pytest.mark.parametrize("given", [{"capture": False}, {}])
    def test_it_waits_for_its_capture(self, shop: Shop, sandbox: Sandbox, given: dict[str, Any]) -> None:
        """By default too: whoever forgets capture has held, and not charged."""
        ordered = {name: CHARGE[name] for name in ("amount", "payment_method_id")}
        payment = ok(shop.post(PAYMENTS, None, {**ordered, **given}))
        assert (payment["status"], payment["paid"]) == ("waiting_for_capture", True)
        assert payment["refundable"] is False
        assert soon(payment["expires_at"], NOW + WEEK)
        assert "captured_at" not in payment
        assert effects(sandbox) == [("hold", payment["id"], 45_000, "RUB")]

    def test_captured(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.held()
        captured = ok(shop.capture(payment, "key-c"))
        assert (captured["status"], captured["amount"]) == ("succeeded", rub("450.00"))
        assert soon(captured["captured_at"], NOW)
        assert "expires_at" not in captured
        assert effects(sandbox)[1:] == [("capture", payment, 45_000, "RUB")]
        assert sandbox.ledger()[1].key == "key-c"

    def test_of_less(self, shop: Shop, sandbox: Sandbox) -> None:
        """The payment's amount is then what was captured."""
        payment = shop.held()
        assert ok(shop.capture(payment, amount=rub("300.05")))["amount"] == rub("300.05")
        assert effects(sandbox)[1:] == [("capture", payment, 30_005, "RUB")]
        assert sandbox.totals()["RUB"]["captured"] == 30_005

    def test_of_more_is_refused(self, shop: Shop) -> None:
        payment = shop.held()
        assert refused(shop.capture(payment, amount=rub("450.01"))) == (*INVALID[:2], "amount.value")
        assert shop.payment(payment)["status"] == "waiting_for_capture"

    def test_released(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.held()
        canceled = ok(shop.cancel(payment, "key-r"))
        assert (canceled["status"], canceled["paid"]) == ("canceled", False)
        by_us = {"party": "merchant", "reason": "canceled_by_merchant"}
        assert canceled["cancellation_details"] == by_us
        assert effects(sandbox)[1:] == [("release", payment, 45_000, "RUB")]
        sandbox.advance(WEEK.total_seconds() + 1)
        assert len(sandbox.ledger()) == 2

    @pytest.mark.parametrize("done", ["charged", "captured", "canceled"])
    def test_only_once(self, shop: Shop, sandbox: Sandbox, done: str) -> None:
        payment = shop.charged() if done == "charged" else shop.held()
        if done != "charged":
            ok(shop.capture(payment) if done == "captured" else shop.cancel(payment))
        before = sandbox.ledger()
        assert refused(shop.capture(payment)) == refused(shop.cancel(payment)) == INVALID
        assert sandbox.ledger() == before

    def test_after_seven_days_it_is_canceled(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = ok(shop.hold(metadata={"operation": "op-7"}))
        sandbox.advance(WEEK.total_seconds() + 86_400)
        found = shop.payment(payment["id"])
        assert (found["status"], found["paid"]) == ("canceled", False)
        assert found["cancellation_details"] == {"party": "yoo_money", "reason": "expired_on_capture"}
        effect = sandbox.ledger()[1]
        assert (effect.kind, effect.amount, effect.key) == ("expiry", 45_000, None)
        assert (effect.at, effect.metadata) == (
            datetime.fromisoformat(payment["expires_at"]),
            {"operation": "op-7"},
        )
        assert refused(shop.capture(payment["id"])) == INVALID

    def test_until_then_it_can_be_captured(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.held()
        sandbox.set_clock(NOW + WEEK - timedelta(minutes=1))
        ok(shop.capture(payment))
        sandbox.advance(3600)
        assert [each.kind for each in sandbox.ledger()] == ["hold", "capture"]


class TestRefund:
    def test_in_parts(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = ok(shop.charge(metadata={"order": "17"}))["id"]
        made = ok(shop.refund(payment, "100.00", "key-r", description="half", metadata={"why": "late"}))
        assert soon(made.pop("created_at"), NOW)
        assert made == {
            "id": made["id"],
            "payment_id": payment,
            "status": "succeeded",
            "amount": rub("100.00"),
            "description": "half",
            "metadata": {"why": "late"},
        }
        found = shop.payment(payment)
        assert (found["refunded_amount"], found["refundable"]) == (rub("100.00"), True)
        ok(shop.refund(payment, "350.00"))
        found = shop.payment(payment)
        assert (found["status"], found["refunded_amount"]) == ("succeeded", rub("450.00"))
        assert found["refundable"] is False
        assert effects(sandbox)[1:] == [
            ("refund", payment, 10_000, "RUB"),
            ("refund", payment, 35_000, "RUB"),
        ]
        effect = sandbox.ledger()[1]
        assert (effect.key, effect.metadata) == ("key-r", {"why": "late"})

    def test_of_more_than_is_left(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.held()
        ok(shop.capture(payment, amount=rub("300.00")))
        assert refused(shop.refund(payment, "300.01")) == (*INVALID[:2], "amount.value")
        ok(shop.refund(payment, "300.00"))
        assert refused(shop.refund(payment, "0.01")) == (*INVALID[:2], "payment_id")
        assert len(sandbox.ledger()) == 3

    def test_of_what_was_not_captured(self, shop: Shop) -> None:
        assert refused(shop.refund(shop.held(), "1.00")) == (*INVALID[:2], "payment_id")

    def test_it_can_be_read(self, shop: Shop) -> None:
        made = ok(shop.refund(shop.charged(), "1.00"))
        assert ok(shop.get(f"{REFUNDS}/{made['id']}")) == made


class TestPaidByACustomerAlone:
    def test_it_is_found_in_the_list(self, shop: Shop, sandbox: Sandbox) -> None:
        """Made before the window and captured inside it, with the metadata, and with no key of ours."""
        at, captured = NOW - timedelta(hours=3), NOW - timedelta(hours=1)
        name = sandbox.pay("yookassa", 45_050, "RUB", {"order": "17"}, at=at, captured_at=captured)
        (found,) = ok(shop.get(PAYMENTS, status="succeeded"))["items"]
        assert (found["id"], found["amount"], found["metadata"]) == (name, rub("450.50"), {"order": "17"})
        assert found["created_at"] == "2026-03-02T09:00:00.000Z"
        assert found["captured_at"] == "2026-03-02T11:00:00.000Z"
        assert found["payment_method"]["saved"] is False
        (effect,) = sandbox.ledger()
        assert (effect.kind, effect.intent, effect.amount, effect.key) == ("charge", name, 45_050, None)
        assert effect.at == captured

    def test_now_unless_told_otherwise(self, shop: Shop, sandbox: Sandbox) -> None:
        found = shop.payment(sandbox.pay("yookassa", 100, "RUB"))
        assert soon(found["created_at"], NOW)
        assert (found["captured_at"], found["metadata"]) == (found["created_at"], {})

    def test_it_can_be_given_back(self, shop: Shop, sandbox: Sandbox) -> None:
        ok(shop.refund(sandbox.pay("yookassa", 100, "RUB"), "1.00"))
        assert sandbox.totals()["RUB"] == {"held": 0, "captured": 100, "released": 0, "refunded": 100}

    def test_in_another_account(self, shop: Shop, sandbox: Sandbox) -> None:
        name = sandbox.pay("yookassa", 100, "RUB", account="42:test_other")
        assert shop.listed() == []
        with Shop(sandbox.url, ("42", "test_other")) as other:
            assert other.listed() == [name]
