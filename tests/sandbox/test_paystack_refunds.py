"""Paystack's refunds: asked for once each, decided a minute later, and what they make of the transaction."""

from datetime import timedelta
from typing import Any

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import TIMEOUT, ok
from tests.sandbox.merchant import REFUNDS, Merchant, data, paid, refused, soon
from tests.world import NOW

MORE = (400, "Refund amount cannot be more than transaction amount")
NOTHING = (400, "Transaction has been fully reversed")
UNKNOWN = (404, "Transaction not found")


class TestMaking:
    def test_it_answers_with_the_documented_object(self, paystack: Merchant, sandbox: Sandbox) -> None:
        found = paystack.transaction(paid(sandbox, "ref-1"))
        said = {"currency": "NGN", "merchant_note": "order 17", "customer_note": "sorry"}
        answer = ok(paystack.refund("ref-1", 4_000, **said))
        made = answer["data"]
        assert isinstance(made.pop("id"), int)
        assert soon(made.pop("created_at"), NOW)
        assert soon(made.pop("createdAt"), NOW)
        assert (answer["status"], answer["message"]) == (True, "Refund has been queued for processing")
        told = ("id", "domain", "reference", "amount", "currency", "paid_at", "channel")
        assert made == {
            **said,
            "transaction": {name: found[name] for name in told},
            "domain": "test",
            "status": "pending",
            "amount": 4_000,
            "channel": "card",
            "refunded_at": None,
        }

    def test_it_can_be_read(self, paystack: Merchant, sandbox: Sandbox) -> None:
        """With the number of its transaction instead of the whole."""
        made = data(paystack.refund(paid(sandbox), 4_000))
        answer = ok(paystack.get(f"{REFUNDS}/{made['id']}"))
        assert answer["message"] == "Refund retrieved"
        assert answer["data"] == {**made, "transaction": made["transaction"]["id"]}

    def test_notes_are_written_for_whoever_leaves_them_out(
        self, paystack: Merchant, sandbox: Sandbox
    ) -> None:
        made = data(paystack.refund(paid(sandbox, "ref-1")))
        assert made["customer_note"] == "Refund for transaction ref-1"
        assert made["merchant_note"].startswith(made["customer_note"])

    @pytest.mark.parametrize("amount", [4_000, "4000"])
    def test_an_amount_may_be_digits(self, paystack: Merchant, sandbox: Sandbox, amount: Any) -> None:
        assert data(paystack.refund(paid(sandbox), amount))["amount"] == 4_000

    def test_a_transaction_is_named_by_its_number_too(self, paystack: Merchant, sandbox: Sandbox) -> None:
        number = paystack.transaction(paid(sandbox, "ref-1"))["id"]
        for name in (number, str(number)):
            assert data(paystack.refund(name, 1))["transaction"]["reference"] == "ref-1"

    def test_without_an_amount_it_is_all_that_was_paid(self, paystack: Merchant, sandbox: Sandbox) -> None:
        """Not what is left of it: in part given back it cannot be given back so."""
        assert data(paystack.refund(paid(sandbox)))["amount"] == 10_000
        paystack.refunded(paid(sandbox, "ref-2"), 1)
        assert refused(paystack.refund("ref-2")) == MORE

    def test_the_same_request_twice_is_two_refunds(self, paystack: Merchant, sandbox: Sandbox) -> None:
        reference = paid(sandbox)
        paystack.session.headers["Idempotency-Key"] = "key-1"
        first, second = (paystack.refunded(reference, 4_000) for _ in range(2))
        assert first != second
        assert paystack.listed(REFUNDS) == [second, first]

    def test_of_more_than_is_left(self, paystack: Merchant, sandbox: Sandbox) -> None:
        """What is on its way is not left."""
        reference = paid(sandbox)
        assert refused(paystack.refund(reference, 10_001)) == MORE
        paystack.refunded(reference, 4_000)
        assert refused(paystack.refund(reference, 6_001)) == MORE
        paystack.refunded(reference, 6_000)
        assert refused(paystack.refund(reference, 1)) == NOTHING

    def test_of_what_was_taken_back(self, paystack: Merchant, sandbox: Sandbox) -> None:
        assert refused(paystack.refund(paid(sandbox, status="reversed"), 1)) == NOTHING

    @pytest.mark.parametrize("status", ["failed", "abandoned", "ongoing", "pending", "processing", "queued"])
    def test_of_what_has_not_succeeded(self, paystack: Merchant, sandbox: Sandbox, status: str) -> None:
        code, message = refused(paystack.refund(paid(sandbox, status=status), 1))
        assert (code, status in message) == (400, True)
        assert paystack.listed(REFUNDS) == []

    @pytest.mark.parametrize("name", ["ref-0", 17, "17"])
    def test_of_an_unknown_transaction(self, paystack: Merchant, name: Any) -> None:
        assert refused(paystack.refund(name, 1)) == UNKNOWN

    @pytest.mark.parametrize(
        "changed",
        [
            {"amount": 0},
            {"amount": -1},
            {"amount": "1.00"},
            {"amount": 1.0},
            {"amount": True},
            {"amount": ""},
            {"currency": "GHS"},
            {"currency": 566},
            {"merchant_note": 17},
            {"customer_note": ["sorry"]},
            {"transaction": None},
            {"transaction": True},
            {"reason": "bored"},
        ],
    )
    def test_what_makes_no_sense(self, paystack: Merchant, sandbox: Sandbox, changed: dict[str, Any]) -> None:
        document = {"transaction": paid(sandbox), "amount": 1, **changed}
        assert refused(paystack.post(REFUNDS, document))[0] == 400
        assert paystack.listed(REFUNDS) == []

    @pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"merchant_note": "\\ud800"}'])
    def test_what_is_no_json_object(self, paystack: Merchant, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        answer = paystack.session.post(paystack.url + REFUNDS, data=body, headers=headers, timeout=TIMEOUT)
        code, message = refused(answer)
        assert (code, "JSON" in message) == (400, True)

    def test_a_form_is_not_what_paystack_reads(self, paystack: Merchant, sandbox: Sandbox) -> None:
        form = {"transaction": paid(sandbox)}
        answer = paystack.session.post(paystack.url + REFUNDS, data=form, timeout=TIMEOUT)
        assert refused(answer) == (400, "The content type is application/json")


class TestDeciding:
    def test_a_minute_later_the_money_has_moved(self, paystack: Merchant, sandbox: Sandbox) -> None:
        refund = paystack.refunded(paid(sandbox, "ref-1"), 4_000, merchant_note="order 17")
        sandbox.advance(50)
        assert (paystack.state(refund), len(sandbox.ledger())) == ("pending", 1)
        sandbox.advance(600)
        found = data(paystack.get(f"{REFUNDS}/{refund}"))
        assert found["status"] == "processed"
        assert soon(found["refunded_at"], NOW + timedelta(seconds=60))
        effect = sandbox.ledger()[1]
        assert (effect.provider, effect.kind, effect.intent) == ("paystack", "refund", "ref-1")
        assert (effect.amount, effect.currency, effect.key) == (4_000, "NGN", None)
        assert effect.metadata == {"merchant_note": "order 17"}
        assert timedelta(seconds=60) <= effect.at - NOW < timedelta(seconds=120)

    def test_once_all_is_given_back_it_is_reversed(self, paystack: Merchant, sandbox: Sandbox) -> None:
        reference = paid(sandbox)
        paystack.refunded(reference, 4_000)
        sandbox.advance(61)
        assert paystack.transaction(reference)["status"] == "success"
        paystack.refunded(reference, 6_000)
        assert paystack.transaction(reference)["status"] == "success"
        sandbox.advance(61)
        assert paystack.transaction(reference)["status"] == "reversed"
        assert refused(paystack.refund(reference, 1)) == NOTHING
        assert sandbox.totals()["NGN"] == {"held": 0, "captured": 10_000, "released": 0, "refunded": 10_000}

    def test_one_that_fails_leaves_everything(self, paystack: Merchant, sandbox: Sandbox) -> None:
        reference = paid(sandbox)
        refund = paystack.refunded(reference, merchant_note="order 17 fails")
        assert paystack.state(refund) == "pending"
        assert refused(paystack.refund(reference, 1)) == NOTHING
        sandbox.advance(61)
        assert data(paystack.get(f"{REFUNDS}/{refund}"))["refunded_at"] is None
        assert (paystack.state(refund), paystack.transaction(reference)["status"]) == ("failed", "success")
        assert [each.kind for each in sandbox.ledger()] == ["charge"]
        assert data(paystack.refund(reference))["amount"] == 10_000


class TestListing:
    def test_the_newest_come_first(self, paystack: Merchant, sandbox: Sandbox) -> None:
        reference = paid(sandbox)
        made = [paystack.refunded(reference, 1) for _ in range(3)]
        page = ok(paystack.get(REFUNDS, perPage=2))
        assert (page["status"], page["message"]) == (True, "Refunds retrieved")
        assert [each["id"] for each in page["data"]] == [made[2], made[1]]
        assert page["data"][0] == data(paystack.get(f"{REFUNDS}/{made[2]}"))
        assert page["meta"] == {"total": 3, "skipped": 0, "perPage": 2, "page": 1, "pageCount": 2}
        assert paystack.listed(REFUNDS, perPage=2, page=2) == [made[0]]

    def test_of_one_transaction(self, paystack: Merchant, sandbox: Sandbox) -> None:
        """By its reference, or by its number."""
        mine, yours = paid(sandbox), paid(sandbox)
        made = [paystack.refunded(each, 1) for each in (mine, yours, mine)]
        assert paystack.listed(REFUNDS) == made[::-1]
        for name in (mine, paystack.transaction(mine)["id"]):
            assert paystack.listed(REFUNDS, transaction=name) == [made[2], made[0]]
        assert paystack.listed(REFUNDS, transaction="ref-0") == []

    def test_in_one_currency(self, paystack: Merchant, sandbox: Sandbox) -> None:
        naira = paystack.refunded(paid(sandbox), 1)
        cedis = paystack.refunded(sandbox.pay("paystack", 100, "GHS"), 1)
        assert paystack.listed(REFUNDS, currency="NGN") == [naira]
        assert paystack.listed(REFUNDS, currency="GHS") == [cedis]

    def test_by_time(self, paystack: Merchant, sandbox: Sandbox) -> None:
        reference = paid(sandbox)
        early = paystack.refunded(reference, 1)
        sandbox.advance(3600)
        late = paystack.refunded(reference, 1)
        half_past = "2026-03-02T12:30:00.000Z"
        assert paystack.listed(REFUNDS, **{"from": half_past}) == [late]
        assert paystack.listed(REFUNDS, to=half_past) == [early]

    @pytest.mark.parametrize("name", ["status", "reference"])
    def test_by_nothing_else(self, paystack: Merchant, name: str) -> None:
        assert refused(paystack.get(REFUNDS, **{name: "x"})) == (400, f'"{name}" is not allowed')

    @pytest.mark.parametrize("name", ["17", "x"])
    def test_an_unknown_one(self, paystack: Merchant, name: str) -> None:
        assert refused(paystack.get(f"{REFUNDS}/{name}")) == (404, "Refund not found")
