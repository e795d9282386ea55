"""Who is let in at Paystack, and its bad days: without a key, what is sent again is done again."""

from collections.abc import Callable

import pytest
import requests

from jobctl.sandbox import Sandbox
from tests.sandbox.client import TIMEOUT
from tests.sandbox.merchant import REFUNDS, TRANSACTIONS, Merchant, data, paid, refused

BROKEN = requests.ConnectionError


class TestKeys:
    @pytest.mark.parametrize(
        "header", [None, "", "Bearer", "Bearer sk_live_1", "Bearer pk_test_1", "Basic sk_test_1", "sk_test_1"]
    )
    def test_without_one_nobody_is_let_in(self, sandbox: Sandbox, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        for path in (TRANSACTIONS, REFUNDS):
            answer = requests.get(sandbox.url + path, headers=headers, timeout=TIMEOUT)
            assert refused(answer) == (401, "Invalid key")

    def test_one_may_be_forbidden(self, sandbox: Sandbox) -> None:
        with Merchant(sandbox.url, "sk_test_forbidden") as reader:
            assert refused(reader.get(TRANSACTIONS))[0] == 403
        with (
            Sandbox(forbidden=["sk_test_reader"]) as another,
            Merchant(another.url, "sk_test_reader") as reader,
        ):
            assert refused(reader.refund("ref-1"))[0] == 403

    def test_each_is_an_account_of_its_own(self, paystack: Merchant, sandbox: Sandbox) -> None:
        paid(sandbox, "ref-1")
        refund = paystack.refunded("ref-1", 1)
        paid(sandbox, "ref-2", account="sk_test_other")
        with Merchant(sandbox.url, "sk_test_other") as other:
            assert (paystack.listed(), other.listed()) == (["ref-1"], ["ref-2"])
            assert other.verify("ref-1").status_code == 400
            assert other.refund("ref-1").status_code == 404
            assert other.get(f"{REFUNDS}/{refund}").status_code == 404

    @pytest.mark.parametrize("account", ["sk_live_1", "sk_test_forbidden"])
    def test_nobody_pays_into_what_is_no_account(self, sandbox: Sandbox, account: str) -> None:
        with pytest.raises(ValueError, match="key"):
            paid(sandbox, account=account)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", TRANSACTIONS),
        ("GET", f"{TRANSACTIONS}s"),
        ("GET", f"{TRANSACTIONS}/verify"),
        ("GET", f"{TRANSACTIONS}/verify/a/b"),
        ("POST", f"{REFUNDS}/1"),
        ("DELETE", REFUNDS),
    ],
)
def test_where_nothing_is(paystack: Merchant, sandbox: Sandbox, method: str, path: str) -> None:
    answer = paystack.session.request(method, paystack.url + path, timeout=TIMEOUT)
    assert refused(answer) == (404, f"There is no {method} {path}")
    assert list(sandbox.requests()) == ["other"]


CALLS: dict[str, list[Callable[[Merchant], requests.Response]]] = {
    "refund": [lambda paystack: paystack.refund("ref-1", 1)],
    "retrieve": [lambda paystack: paystack.verify("ref-1"), lambda paystack: paystack.get(f"{REFUNDS}/1")],
    "list": [lambda paystack: paystack.get(TRANSACTIONS), lambda paystack: paystack.get(REFUNDS)],
}


class TestFaults:
    @pytest.mark.parametrize("call", CALLS)
    def test_only_the_named_call(self, paystack: Merchant, sandbox: Sandbox, call: str) -> None:
        paid(sandbox, "ref-1")
        sandbox.fault("http_403", call, times=100)
        struck = [name for name, made in CALLS.items() for each in made if each(paystack).status_code == 403]
        assert struck == [call] * len(CALLS[call])

    @pytest.mark.parametrize("status", [400, 401, 403, 409, 429])
    def test_turned_away(self, paystack: Merchant, sandbox: Sandbox, status: int) -> None:
        reference = paid(sandbox)
        sandbox.fault(f"http_{status}", "refund")
        assert refused(paystack.refund(reference))[0] == status
        assert paystack.listed(REFUNDS) == []

    def test_rate_limited_says_for_how_many_seconds(self, paystack: Merchant, sandbox: Sandbox) -> None:
        sandbox.fault("http_429", seconds=17)
        assert paystack.get(TRANSACTIONS).headers["Retry-After"] == "17"

    @pytest.mark.parametrize(("fault", "had"), [("http_500_before", 0), ("http_500_after", 1)])
    def test_a_server_error(self, paystack: Merchant, sandbox: Sandbox, fault: str, had: int) -> None:
        reference = paid(sandbox)
        sandbox.fault(fault, "refund")
        assert refused(paystack.refund(reference, 4_000)) == (500, "An error occurred")
        assert len(paystack.listed(REFUNDS)) == had
        paystack.refunded(reference, 4_000)
        assert len(paystack.listed(REFUNDS)) == had + 1

    @pytest.mark.parametrize(("fault", "had"), [("lost_answer", 1), ("dropped", 0)])
    def test_no_answer(self, paystack: Merchant, sandbox: Sandbox, fault: str, had: int) -> None:
        reference = paid(sandbox)
        sandbox.fault(fault, "refund")
        with pytest.raises(BROKEN):
            paystack.refund(reference, 4_000)
        assert len(paystack.listed(REFUNDS, transaction=reference)) == had

    def test_a_late_one_comes_as_of_its_own_time(self, paystack: Merchant, sandbox: Sandbox) -> None:
        reference = paid(sandbox)
        sandbox.fault("late", "refund", seconds=3600)
        with pytest.raises(BROKEN):
            paystack.refund(reference, 4_000)
        assert paystack.listed(REFUNDS) == []
        sandbox.advance(3601)
        assert [each["status"] for each in data(paystack.get(REFUNDS))] == ["pending"]
        sandbox.advance(60)
        assert [each.amount for each in sandbox.ledger()] == [10_000, 4_000]

    @pytest.mark.parametrize(
        "said", [{"transaction": "ref-17"}, {"merchant_note": "ref-17"}, {"customer_note": "ref-17"}]
    )
    def test_what_it_names_singles_a_refund_out(
        self, paystack: Merchant, sandbox: Sandbox, said: dict[str, str]
    ) -> None:
        paid(sandbox, "ref-17")
        paid(sandbox, "ref-18")
        sandbox.fault("http_403", contains="ref-17")
        paystack.refunded("ref-18", 1)
        assert paystack.post(REFUNDS, {"transaction": "ref-18", "amount": 1, **said}).status_code == 403

    def test_so_does_the_reference_in_a_path(self, paystack: Merchant, sandbox: Sandbox) -> None:
        for each in ("ref-17", "ref-18"):
            paid(sandbox, each)
        sandbox.fault("http_403", contains="ref-17")
        assert paystack.transaction("ref-18")
        assert paystack.verify("ref-17").status_code == 403
