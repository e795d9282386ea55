"""The dashboards: what a person does by hand at a provider, of which no request of ours knows."""

from typing import Any

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import Client, ok, said
from tests.sandbox.merchant import Merchant, paid
from tests.sandbox.shop import Shop, rub
from tests.sandbox.test_control import control


def effects(sandbox: Sandbox) -> list[tuple[str, int, str | None]]:
    return [(each.kind, each.amount, each.key) for each in sandbox.ledger()]


class TestStripe:
    @pytest.mark.parametrize(
        "reason", ["requested_by_customer", "fraudulent", "duplicate", "abandoned", "void_invoice", None]
    )
    def test_a_hold_is_cancelled(self, stripe: Client, sandbox: Sandbox, reason: str | None) -> None:
        intent = stripe.held()
        assert sandbox.dashboard.cancel("stripe", intent, reason) == intent
        found = stripe.intent(intent)
        assert found["status"] == "canceled"
        assert found["cancellation_reason"] == (reason or "requested_by_customer")
        assert effects(sandbox) == [("hold", 1000, None), ("release", 1000, None)]
        assert said(stripe.capture(intent))[1] == "payment_intent_unexpected_state"

    @pytest.mark.parametrize(("amount", "received"), [(400, 400), (None, 1000)])
    def test_a_hold_is_captured(
        self, stripe: Client, sandbox: Sandbox, amount: int | None, received: int
    ) -> None:
        intent = stripe.held()
        sandbox.dashboard.capture("stripe", intent, amount)
        found = stripe.intent(intent)
        assert (found["status"], found["amount"], found["amount_received"]) == ("succeeded", 1000, received)
        assert effects(sandbox)[1:] == [("capture", received, None)]

    @pytest.mark.parametrize(("amount", "left"), [(400, 600), (None, 0)])
    def test_a_payment_is_given_back(
        self, stripe: Client, sandbox: Sandbox, amount: int | None, left: int
    ) -> None:
        intent = stripe.charged()
        refund = sandbox.dashboard.refund("stripe", intent, amount, "fraudulent")
        (listed,) = ok(stripe.get("/v1/refunds"))["data"]
        assert (listed["id"], listed["reason"]) == (refund, "fraudulent")
        assert stripe.intent(intent)["latest_charge"]["amount_refunded"] == 1000 - left
        assert stripe.refund(intent).status_code == (200 if left else 400)

    @pytest.mark.parametrize(
        ("capture", "status"), [("manual", "requires_capture"), ("automatic", "succeeded")]
    )
    @pytest.mark.parametrize("method", ["pm_card_chargeDeclined", "pm_card_authenticationRequired"])
    def test_the_customer_completes_what_was_declined(
        self, stripe: Client, sandbox: Sandbox, capture: str, status: str, method: str
    ) -> None:
        """As the intent that it was, with the metadata that it had, and with no request of ours."""
        refused = stripe.hold(payment_method=method, capture_method=capture, **{"metadata[order]": "17"})
        intent = refused.json()["error"]["payment_intent"]["id"]
        sandbox.advance(3600)
        assert sandbox.dashboard.complete("stripe", intent, "pm_card_mastercard") == intent
        found = stripe.intent(intent)
        assert (found["status"], found["last_payment_error"]) == (status, None)
        assert found["latest_charge"]["created"] >= found["created"] + 3600
        (effect,) = sandbox.ledger()
        assert (effect.intent, effect.key, effect.metadata) == (intent, None, {"order": "17"})

    def test_and_authenticates_where_that_is_asked(self, stripe: Client, sandbox: Sandbox) -> None:
        method = "pm_card_authenticationRequired"
        intent = ok(stripe.post("/v1/payment_intents", amount="1000", currency="usd", payment_method=method))
        sandbox.dashboard.complete("stripe", intent["id"], method)
        assert stripe.intent(intent["id"])["status"] == "succeeded"

    def test_a_completion_may_be_declined_again(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.hold(payment_method="pm_card_chargeDeclined").json()["error"]["payment_intent"]["id"]
        with pytest.raises(ValueError, match="insufficient"):
            sandbox.dashboard.complete("stripe", intent, "pm_card_chargeDeclinedInsufficientFunds")
        assert stripe.intent(intent)["status"] == "requires_payment_method"
        assert sandbox.ledger() == []

    def test_a_hold_lapses_before_its_time(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.held()
        sandbox.dashboard.lapse("stripe", intent)
        found = stripe.intent(intent)
        assert (found["status"], found["cancellation_reason"]) == ("canceled", "automatic")
        sandbox.advance(30 * 86_400)
        assert effects(sandbox)[1:] == [("expiry", 1000, None)]


class TestYooKassa:
    @pytest.mark.parametrize(("reason", "party"), [(None, "merchant"), ("fraud_suspected", "yoo_money")])
    def test_a_hold_is_cancelled(self, shop: Shop, sandbox: Sandbox, reason: str | None, party: str) -> None:
        payment = shop.held()
        sandbox.dashboard.cancel("yookassa", payment, reason)
        found = shop.payment(payment)
        details = {"party": party, "reason": reason or "canceled_by_merchant"}
        assert (found["status"], found["cancellation_details"]) == ("canceled", details)
        assert effects(sandbox)[1:] == [("release", 45_000, None)]

    def test_a_hold_is_captured_in_part(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.held()
        sandbox.dashboard.capture("yookassa", payment, 10_000)
        found = shop.payment(payment)
        assert (found["status"], found["amount"]) == ("succeeded", rub("100.00"))
        assert effects(sandbox)[1:] == [("capture", 10_000, None)]

    @pytest.mark.parametrize(("amount", "value"), [(10_000, "100.00"), (None, "450.00")])
    def test_a_payment_is_given_back(
        self, shop: Shop, sandbox: Sandbox, amount: int | None, value: str
    ) -> None:
        payment = shop.charged()
        refund = sandbox.dashboard.refund("yookassa", payment, amount)
        found = ok(shop.get(f"/v3/refunds/{refund}"))
        assert (found["payment_id"], found["amount"]) == (payment, rub(value))
        assert shop.payment(payment)["refunded_amount"] == rub(value)

    @pytest.mark.parametrize(
        ("made", "reason", "kinds"),
        [
            ({"capture": False}, "expired_on_capture", ["hold", "expiry"]),
            ({"payment_method_id": "pm_yk_pending_succeeds"}, "expired_on_confirmation", []),
        ],
    )
    def test_it_lapses_before_its_time(
        self, shop: Shop, sandbox: Sandbox, made: dict[str, Any], reason: str, kinds: list[str]
    ) -> None:
        payment = shop.charged(**made)
        sandbox.dashboard.lapse("yookassa", payment)
        details = {"party": "yoo_money", "reason": reason}
        sandbox.advance(30 * 86_400)
        found = shop.payment(payment)
        assert (found["status"], found["cancellation_details"]) == ("canceled", details)
        assert [each.kind for each in sandbox.ledger()] == kinds

    def test_what_is_pending_is_completed_once(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.charged(payment_method_id="pm_yk_pending_canceled")
        sandbox.dashboard.complete("yookassa", payment)
        sandbox.advance(3600)
        assert shop.payment(payment)["status"] == "succeeded"
        assert [each.kind for each in sandbox.ledger()] == ["charge"]


class TestPaystack:
    @pytest.mark.parametrize(("amount", "back"), [(4_000, 4_000), (None, 10_000)])
    def test_a_transaction_is_given_back(
        self, paystack: Merchant, sandbox: Sandbox, amount: int | None, back: int
    ) -> None:
        refund = sandbox.dashboard.refund("paystack", paid(sandbox, "ref-1"), amount)
        assert paystack.state(int(refund)) == "pending"
        sandbox.advance(61)
        assert effects(sandbox)[1:] == [("refund", back, None)]

    def test_one_is_reversed(self, paystack: Merchant, sandbox: Sandbox) -> None:
        assert sandbox.dashboard.reverse("paystack", paid(sandbox, "ref-1")) == "ref-1"
        assert paystack.transaction("ref-1")["status"] == "reversed"
        assert paystack.refund("ref-1").status_code == 400

    @pytest.mark.parametrize("status", ["abandoned", "failed", "pending"])
    def test_one_is_completed(self, paystack: Merchant, sandbox: Sandbox, status: str) -> None:
        sandbox.dashboard.complete("paystack", paid(sandbox, "ref-1", status=status))
        assert paystack.transaction("ref-1")["status"] == "success"
        assert effects(sandbox) == [("charge", 10_000, None)]


def test_over_http_it_is_the_same(stripe: Client, sandbox: Sandbox) -> None:
    intent = stripe.held()
    wanted = {"provider": "stripe", "payment": intent, "reason": "fraudulent"}
    assert ok(control(sandbox, "POST", "dashboard/cancel", wanted)) == {"id": intent}
    assert stripe.intent(intent)["cancellation_reason"] == "fraudulent"


def test_in_another_account_by_its_key(sandbox: Sandbox) -> None:
    with Client(sandbox.url, "sk_test_other") as other:
        intent = other.held()
        with pytest.raises(ValueError, match=intent):
            sandbox.dashboard.capture("stripe", intent)
        sandbox.dashboard.capture("stripe", intent, account="sk_test_other")
        assert other.intent(intent)["status"] == "succeeded"


@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        ("cancel", {"payment": "pi_0"}),
        ("cancel", {"reason": "bored"}),
        ("capture", {"amount": 1001}),
        ("capture", {"amount": 0}),
        ("capture", {"amount": "1"}),
        ("refund", {}),
        ("refund", {"reason": "bored"}),
        ("complete", {}),
        ("complete", {"method": "pm_card_nobody"}),
        ("reverse", {}),
        ("lapse", {"payment": 17}),
        ("lapse", {"provider": "paystack"}),
        ("lapse", {"provider": "flutterwave"}),
        ("lapse", {"provider": "wallet"}),
        ("lapse", {"of": "course"}),
    ],
)
def test_what_makes_no_sense_is_refused(
    stripe: Client, sandbox: Sandbox, act: str, wanted: dict[str, Any]
) -> None:
    held = stripe.held()
    document = {"provider": "stripe", "payment": held, **wanted}
    refused = control(sandbox, "POST", f"dashboard/{act}", document)
    assert (refused.status_code, list(refused.json())) == (400, ["error"])
    assert [each.kind for each in sandbox.ledger()] == ["hold"]


@pytest.mark.parametrize("act", ["complete", "lapse", "refund", "reverse", "cancel"])
def test_what_is_over_stays_so(shop: Shop, sandbox: Sandbox, act: str) -> None:
    canceled = shop.charged(payment_method_id="pm_yk_card_expired")
    reversed_ = paid(sandbox, status="reversed")
    for provider, payment in (("yookassa", canceled), ("paystack", reversed_)):
        with pytest.raises(ValueError, match=r".+"):
            getattr(sandbox.dashboard, act)(provider, payment)
    assert sandbox.ledger() == []
