"""Paystack's transactions: how customers pay them, what verifying one says, and how they are listed."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import ok
from tests.sandbox.merchant import TRANSACTIONS, Merchant, data, paid, refused, soon
from tests.world import NOW

HOUR = timedelta(hours=1)
NOT_YET = ["failed", "abandoned", "ongoing", "pending", "processing", "queued"]


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def spaced(sandbox: Sandbox, count: int) -> list[str]:
    """Let one be paid in each of the last minutes; return the references, oldest first."""
    return [
        paid(sandbox, f"ref-{n}", at=NOW - n * timedelta(minutes=1), status="pending")
        for n in reversed(range(count))
    ]


class TestPaying:
    def test_a_success_is_verified_by_its_reference(self, paystack: Merchant, sandbox: Sandbox) -> None:
        at, captured = NOW - 3 * HOUR, NOW - HOUR
        paid(sandbox, "ref-1", metadata={"order": "17"}, at=at, captured_at=captured)
        answer = ok(paystack.verify("ref-1"))
        number = answer["data"].pop("id")
        assert isinstance(number, int)
        assert answer == {
            "status": True,
            "message": "Verification successful",
            "data": {
                "domain": "test",
                "status": "success",
                "reference": "ref-1",
                "amount": 10_000,
                "currency": "NGN",
                "gateway_response": "Successful",
                "paid_at": "2026-03-02T11:00:00.000Z",
                "created_at": "2026-03-02T09:00:00.000Z",
                "channel": "card",
                "metadata": {"order": "17"},
            },
        }

    def test_it_is_one_effect(self, sandbox: Sandbox) -> None:
        paid(sandbox, "ref-1", metadata={"order": "17"}, at=NOW - 3 * HOUR, captured_at=NOW - HOUR)
        (effect,) = sandbox.ledger()
        assert (effect.provider, effect.kind, effect.intent) == ("paystack", "charge", "ref-1")
        assert (effect.amount, effect.currency, effect.key) == (10_000, "NGN", None)
        assert (effect.metadata, effect.at) == ({"order": "17"}, NOW - HOUR)

    def test_without_a_reference_it_has_one_of_its_own(self, paystack: Merchant, sandbox: Sandbox) -> None:
        first, second = paid(sandbox), paid(sandbox)
        assert first != second
        found = paystack.transaction(first)
        assert (found["reference"], found["metadata"]) == (first, None)
        assert soon(found["created_at"], NOW)
        assert found["paid_at"] == found["created_at"]

    @pytest.mark.parametrize("status", NOT_YET)
    def test_what_has_not_succeeded_has_moved_nothing(
        self, paystack: Merchant, sandbox: Sandbox, status: str
    ) -> None:
        found = paystack.transaction(paid(sandbox, status=status))
        assert (found["status"], found["paid_at"]) == (status, None)
        assert sandbox.ledger() == []

    @pytest.mark.parametrize("status", NOT_YET)
    def test_said_again_it_succeeds(self, paystack: Merchant, sandbox: Sandbox, status: str) -> None:
        """As the transaction it was, paid when it is said to be."""
        number = paystack.transaction(paid(sandbox, "ref-1", status=status))["id"]
        sandbox.advance(3600)
        assert paid(sandbox, "ref-1", at=NOW + HOUR / 4, captured_at=NOW + HOUR / 2) == "ref-1"
        found = paystack.transaction("ref-1")
        assert (found["id"], found["status"]) == (number, "success")
        assert soon(found["created_at"], NOW)
        assert found["paid_at"] == "2026-03-02T12:30:00.000Z"
        assert [each.at for each in sandbox.ledger()] == [NOW + HOUR / 2]
        assert paystack.listed() == ["ref-1"]

    def test_a_success_may_be_taken_back(self, paystack: Merchant, sandbox: Sandbox) -> None:
        """By a bank, say: no refund of ours, and no effect."""
        paid(sandbox, "ref-1")
        paid_at = paystack.transaction("ref-1")["paid_at"]
        sandbox.advance(60)
        paid(sandbox, "ref-1", status="reversed")
        found = paystack.transaction("ref-1")
        assert (found["status"], found["paid_at"]) == ("reversed", paid_at)
        assert [each.kind for each in sandbox.ledger()] == ["charge"]

    @pytest.mark.parametrize("status", ["success", "failed", "pending"])
    @pytest.mark.parametrize("was", ["success", "reversed"])
    def test_it_becomes_nothing_else(
        self, paystack: Merchant, sandbox: Sandbox, was: str, status: str
    ) -> None:
        paid(sandbox, "ref-1", status=was)
        before = sandbox.ledger()
        with pytest.raises(ValueError, match=f"ref-1 is {was}"):
            paid(sandbox, "ref-1", status=status)
        assert paystack.transaction("ref-1")["status"] == was
        assert sandbox.ledger() == before

    @pytest.mark.parametrize(
        "changed",
        [
            {"amount": 10_001},
            {"currency": "GHS"},
            {"at": NOW - 2 * HOUR, "captured_at": NOW - 2 * HOUR},
            {"status": "paid"},
        ],
    )
    def test_what_a_known_reference_cannot_be(
        self, paystack: Merchant, sandbox: Sandbox, changed: dict[str, Any]
    ) -> None:
        paid(sandbox, "ref-1", status="pending", at=NOW - HOUR)
        with pytest.raises(ValueError, match=r".+"):
            sandbox.pay(
                **{"provider": "paystack", "amount": 10_000, "currency": "NGN", **changed}, reference="ref-1"
            )
        assert paystack.transaction("ref-1")["status"] == "pending"

    @pytest.mark.parametrize(
        "wrong",
        [{"status": "paid"}, {"status": 1}, {"reference": ""}, {"reference": 17}, {"currency": "RUB"}],
    )
    def test_what_makes_no_sense(self, sandbox: Sandbox, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r".+"):
            sandbox.pay(**{"provider": "paystack", "amount": 100, "currency": "NGN", **wrong})
        assert sandbox.ledger() == []

    @pytest.mark.parametrize(("provider", "currency"), [("stripe", "usd"), ("yookassa", "RUB")])
    @pytest.mark.parametrize("chosen", [{"reference": "ref-1"}, {"status": "success"}])
    def test_nobody_else_takes_a_reference_or_a_status(
        self, sandbox: Sandbox, provider: str, currency: str, chosen: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match=r"this provider"):
            sandbox.pay(provider, 1000, currency, **chosen)
        assert sandbox.ledger() == []


class TestVerifying:
    def test_an_unknown_reference(self, paystack: Merchant) -> None:
        answer = paystack.verify("ref-0")
        assert refused(answer) == (400, "Transaction reference not found.")
        assert answer.json()["code"] == "transaction_not_found"

    def test_a_number_is_no_reference(self, paystack: Merchant, sandbox: Sandbox) -> None:
        number = paystack.transaction(paid(sandbox))["id"]
        assert paystack.verify(str(number)).status_code == 400

    def test_a_reference_is_decoded(self, paystack: Merchant, sandbox: Sandbox) -> None:
        paid(sandbox, "a/b=c d")
        assert paystack.transaction("a%2Fb%3Dc%20d")["reference"] == "a/b=c d"


class TestListing:
    def test_the_newest_come_first(self, paystack: Merchant, sandbox: Sandbox) -> None:
        """By when they were begun, and those of one instant by when they came."""
        older = spaced(sandbox, 3)
        between = [paid(sandbox, each, at=NOW - timedelta(seconds=90)) for each in ("same-1", "same-2")]
        answer = ok(paystack.get(TRANSACTIONS))
        assert (answer["status"], answer["message"]) == (True, "Transactions retrieved")
        listed = [each["reference"] for each in answer["data"]]
        assert listed == [older[2], older[1], *between[::-1], older[0]]
        assert answer["data"][0] == paystack.transaction(older[2])

    def test_page_by_page(self, paystack: Merchant, sandbox: Sandbox) -> None:
        made = spaced(sandbox, 5)[::-1]
        pages = [ok(paystack.get(TRANSACTIONS, perPage=2, page=n)) for n in (1, 2, 3, 4)]
        assert [[each["reference"] for each in page["data"]] for page in pages] == [
            made[:2],
            made[2:4],
            made[4:],
            [],
        ]
        same = {"total": 5, "perPage": 2, "pageCount": 3}
        skipped = [{**same, "skipped": 2 * n, "page": n + 1} for n in range(4)]
        assert [page["meta"] for page in pages] == skipped

    def test_nothing_is_a_list_too(self, paystack: Merchant) -> None:
        answer = ok(paystack.get(TRANSACTIONS))
        assert answer["data"] == []
        assert answer["meta"] == {"total": 0, "skipped": 0, "perPage": 50, "page": 1, "pageCount": 0}

    def test_by_the_time_of_creation_both_ends_included(self, paystack: Merchant, sandbox: Sandbox) -> None:
        first, second, third = spaced(sandbox, 3)
        at = stamp(NOW - timedelta(minutes=1))
        assert paystack.listed(**{"from": at}) == [third, second]
        assert paystack.listed(to=at) == [second, first]
        assert paystack.listed(**{"from": at, "to": at}) == [second]
        assert paystack.listed(**{"from": "2026-03-02T15:00:00+03:00"}) == [third]

    def test_a_day_is_its_beginning(self, paystack: Merchant, sandbox: Sandbox) -> None:
        made = paid(sandbox)
        assert paystack.listed(**{"from": "2026-03-02"}) == [made]
        assert paystack.listed(to="2026-03-02") == []

    def test_when_it_was_paid_does_not_count(self, paystack: Merchant, sandbox: Sandbox) -> None:
        paid(sandbox, at=NOW - 3 * HOUR, captured_at=NOW - HOUR)
        assert paystack.listed(**{"from": stamp(NOW - 2 * HOUR)}) == []

    def test_what_it_says_of_its_time_finds_it(self, paystack: Merchant, sandbox: Sandbox) -> None:
        found = paystack.transaction(paid(sandbox))
        both = {"from": found["created_at"], "to": found["created_at"]}
        assert paystack.listed(**both) == [found["reference"]]

    def test_by_status(self, paystack: Merchant, sandbox: Sandbox) -> None:
        made = {each: paid(sandbox, status=each) for each in ("success", "reversed", *NOT_YET)}
        listed = {status: paystack.listed(status=status) for status in made}
        assert listed == {status: [reference] for status, reference in made.items()}
        assert data(paystack.get(TRANSACTIONS, status="failed", page=2)) == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("perPage", "0"),
            ("perPage", "many"),
            ("page", "0"),
            ("page", "-1"),
            ("page", ""),
            ("status", "paid"),
            ("from", "yesterday"),
            ("to", ""),
            ("per_page", "0"),
            ("next", "course"),
            ("next", "dW5kZWZpbmVkOjE="),
            ("transaction", "ref-1"),
        ],
    )
    def test_what_makes_no_sense(self, paystack: Merchant, name: str, value: str) -> None:
        status, message = refused(paystack.get(TRANSACTIONS, **{name: value}))
        assert status == 400
        assert name in message
