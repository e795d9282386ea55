"""Faults: what the client sees, what happens all the same, and what is stored under the key."""

from collections.abc import Callable

import pytest
import requests

from jobctl.sandbox import Sandbox
from tests.sandbox.client import INTENTS, REFUNDS, Client, error, ok, until
from tests.world import NOW

BROKEN = requests.ConnectionError
REPLAYED = "Idempotent-Replayed"


class TestKinds:
    def test_lost_answer(self, stripe: Client, sandbox: Sandbox) -> None:
        """The effect happened, and its key knows."""
        sandbox.fault("lost_answer", "authorize")
        with pytest.raises(BROKEN):
            stripe.hold("key-1")
        assert len(sandbox.ledger()) == 1
        again = stripe.hold("key-1")
        assert (again.status_code, again.headers[REPLAYED]) == (200, "true")
        assert len(sandbox.ledger()) == 1

    def test_a_replay_can_be_lost_too(self, stripe: Client, sandbox: Sandbox) -> None:
        ok(stripe.hold("key-1"))
        sandbox.fault("lost_answer", "authorize")
        with pytest.raises(BROKEN):
            stripe.hold("key-1")
        assert len(sandbox.ledger()) == 1

    def test_dropped(self, stripe: Client, sandbox: Sandbox) -> None:
        sandbox.fault("dropped", "authorize")
        with pytest.raises(BROKEN):
            stripe.hold("key-1")
        assert sandbox.ledger() == []
        assert REPLAYED not in stripe.hold("key-1").headers

    def test_delay(self, stripe: Client, sandbox: Sandbox) -> None:
        """Whoever gives up waiting has not undone it."""
        sandbox.fault("delay", "authorize", seconds=600)
        stripe.timeout = (30, 0.2)
        with pytest.raises(requests.ReadTimeout):
            stripe.hold()
        assert sandbox.ledger() == []
        sandbox.clear_faults()
        until(sandbox.ledger)
        assert [each.kind for each in sandbox.ledger()] == ["hold"]

    @pytest.mark.parametrize(
        ("status", "code"), [(401, None), (403, None), (409, "idempotency_key_in_use"), (429, "rate_limit")]
    )
    def test_turned_away(self, stripe: Client, sandbox: Sandbox, status: int, code: str | None) -> None:
        sandbox.fault(f"http_{status}", "authorize")
        refused = stripe.hold("key-1")
        assert (refused.status_code, error(refused).get("code")) == (status, code)
        assert sandbox.ledger() == []
        ok(stripe.hold("key-1"))

    def test_rate_limited_says_until_when(self, stripe: Client, sandbox: Sandbox) -> None:
        sandbox.fault("http_429", seconds=3)
        assert stripe.hold().headers["Retry-After"] == "3"

    def test_http_500_before(self, stripe: Client, sandbox: Sandbox) -> None:
        """There is no effect, nor will there be one under this key: the 500 is its answer."""
        sandbox.fault("http_500_before", "authorize")
        first, second = stripe.hold("key-1"), stripe.hold("key-1")
        assert (first.status_code, error(first)["type"]) == (500, "api_error")
        assert (second.status_code, second.headers[REPLAYED]) == (500, "true")
        assert sandbox.ledger() == []
        ok(stripe.hold("key-2"))

    def test_http_500_after(self, stripe: Client, sandbox: Sandbox) -> None:
        """The effect is there to be found, and the key will never tell."""
        sandbox.fault("http_500_after", "authorize")
        first, second = stripe.hold("key-1"), stripe.hold("key-1")
        assert (first.status_code, second.status_code, second.headers[REPLAYED]) == (500, 500, "true")
        assert len(sandbox.ledger()) == 1
        (found,) = ok(stripe.get(INTENTS))["data"]
        assert found["status"] == "requires_capture"

    @pytest.mark.parametrize(("fault", "body"), [("garbage", None), ("empty", {})])
    def test_answers_that_say_nothing(
        self, stripe: Client, sandbox: Sandbox, fault: str, body: dict[str, str] | None
    ) -> None:
        sandbox.fault(fault, "authorize")
        answer = stripe.hold("key-1")
        assert answer.status_code == 200
        if body is None:
            with pytest.raises(requests.JSONDecodeError):
                answer.json()
        else:
            assert answer.json() == body
        assert len(sandbox.ledger()) == 1
        assert ok(stripe.hold("key-1"))["status"] == "requires_capture"


class TestLate:
    def test_it_arrives_later(self, stripe: Client, sandbox: Sandbox) -> None:
        """Until then there is nothing to be found; then its effect is as of its own arrival."""
        sandbox.fault("late", "authorize")
        with pytest.raises(BROKEN):
            stripe.hold("key-1")
        assert (sandbox.ledger(), ok(stripe.get(INTENTS))["data"]) == ([], [])
        (waiting,) = sandbox.pending()
        assert (waiting["call"], waiting["key"], waiting["path"]) == ("authorize", "key-1", INTENTS)
        sandbox.advance(30)
        assert sandbox.ledger() == []
        sandbox.advance(600)
        (effect,) = sandbox.ledger()
        assert 45 <= (effect.at - NOW).total_seconds() < 75
        assert sandbox.pending() == []
        (found,) = ok(stripe.get(INTENTS))["data"]
        assert (found["id"], found["created"]) == (effect.intent, int(effect.at.timestamp()))
        assert stripe.hold("key-1").headers[REPLAYED] == "true"

    def test_sent_again_meanwhile_it_comes_too_late(self, stripe: Client, sandbox: Sandbox) -> None:
        """The key is what keeps the two from being two holds."""
        sandbox.fault("late", "authorize", seconds=10)
        with pytest.raises(BROKEN):
            stripe.hold("key-1")
        ok(stripe.hold("key-1"))
        sandbox.advance(11)
        assert len(sandbox.ledger()) == 1

    def test_with_another_key_it_is_a_second_hold(self, stripe: Client, sandbox: Sandbox) -> None:
        sandbox.fault("late", "authorize", seconds=10)
        with pytest.raises(BROKEN):
            stripe.hold("key-1")
        ok(stripe.hold("key-2"))
        sandbox.advance(11)
        assert [each.key for each in sandbox.ledger()] == ["key-2", "key-1"]

    def test_what_can_no_longer_be_done_is_not(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.held()
        sandbox.fault("late", "capture", seconds=10)
        with pytest.raises(BROKEN):
            stripe.capture(intent)
        ok(stripe.cancel(intent))
        sandbox.advance(11)
        assert [each.kind for each in sandbox.ledger()] == ["hold", "release"]

    def test_before_an_expiry_it_comes_before_it(self, stripe: Client, sandbox: Sandbox) -> None:
        """However far the clock jumps, things happen in their order."""
        intent = stripe.held()
        sandbox.fault("late", "capture")
        with pytest.raises(BROKEN):
            stripe.capture(intent)
        sandbox.advance(30 * 86_400)
        assert [each.kind for each in sandbox.ledger()] == ["hold", "capture"]


CALLS: dict[str, Callable[[Client, str], requests.Response]] = {
    "authorize": lambda stripe, _: stripe.hold(),
    "charge": lambda stripe, _: stripe.charge(),
    "capture": lambda stripe, intent: stripe.capture(intent),
    "release": lambda stripe, intent: stripe.cancel(intent),
    "refund": lambda stripe, intent: stripe.refund(intent),
    "retrieve": lambda stripe, intent: stripe.get(f"{INTENTS}/{intent}"),
    "list": lambda stripe, _: stripe.get(INTENTS),
}


class TestWhichRequests:
    @pytest.mark.parametrize("call", CALLS)
    def test_only_the_named_call(self, stripe: Client, sandbox: Sandbox, call: str) -> None:
        intent = stripe.held()
        sandbox.fault("http_403", call, times=100)
        struck = [name for name, made in CALLS.items() if made(stripe, intent).status_code == 403]
        assert struck == [call]

    def test_any_call(self, stripe: Client, sandbox: Sandbox) -> None:
        intent = stripe.held()
        sandbox.fault("http_403", times=100)
        assert {made(stripe, intent).status_code for made in CALLS.values()} == {403}

    def test_refunds_are_listed_as_intents_are(self, stripe: Client, sandbox: Sandbox) -> None:
        sandbox.fault("http_403", "list")
        assert stripe.get(REFUNDS).status_code == 403

    def test_so_many_times(self, stripe: Client, sandbox: Sandbox) -> None:
        sandbox.fault("http_429", times=2)
        assert [stripe.hold().status_code for _ in range(4)] == [429, 429, 200, 200]

    def test_once_unless_told_otherwise(self, stripe: Client, sandbox: Sandbox) -> None:
        sandbox.fault("http_429")
        assert [stripe.hold().status_code for _ in range(3)] == [429, 200, 200]

    def test_by_chance_and_again_the_same_by_the_same_seed(self, stripe: Client, sandbox: Sandbox) -> None:
        def struck(seed: int) -> list[int]:
            sandbox.clear_faults()
            sandbox.fault("http_429", probability=0.5, seed=seed)
            return [stripe.get(INTENTS).status_code for _ in range(40)]

        first = struck(1)
        assert 5 < first.count(429) < 35
        assert struck(1) == first
        assert struck(2) != first

    @pytest.mark.parametrize(
        "marked", [{"key": "run-7-a"}, {"metadata[operation]": "run-7-a"}, {"metadata[x]": "a run-7"}]
    )
    def test_only_those_marked_so(self, stripe: Client, sandbox: Sandbox, marked: dict[str, str]) -> None:
        sandbox.fault("http_429", contains="run-7")
        assert stripe.hold("other", **{"metadata[operation]": "run-8"}).status_code == 200
        assert stripe.hold(**marked).status_code == 429

    def test_one_object(self, stripe: Client, sandbox: Sandbox) -> None:
        one, other = stripe.held(), stripe.held()
        sandbox.fault("http_429", contains=one)
        assert [stripe.capture(each).status_code for each in (other, one)] == [200, 429]

    def test_several_at_once(self, stripe: Client, sandbox: Sandbox) -> None:
        """Each strikes at its own point; of two at the same, the one that was switched on first."""
        sandbox.fault("http_500_after", "authorize")
        sandbox.fault("lost_answer", "authorize")
        with pytest.raises(BROKEN):
            stripe.hold("key-1")
        assert stripe.hold("key-1").status_code == 500
        assert len(sandbox.ledger()) == 1

    def test_switched_off(self, stripe: Client, sandbox: Sandbox) -> None:
        sandbox.fault("http_429", times=9)
        sandbox.clear_faults()
        ok(stripe.hold())

    @pytest.mark.parametrize(
        "wrong",
        [
            {"kind": "fire"},
            {"kind": "dropped", "call": "settle"},
            {"kind": "dropped", "times": 0},
            {"kind": "dropped", "probability": 1.5},
            {"kind": "late", "seconds": -1},
        ],
    )
    def test_what_does_not_exist_is_refused(self, sandbox: Sandbox, wrong: dict[str, str]) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 (its text is the caller's)
            sandbox.fault(**wrong)  # type: ignore[arg-type]
        assert sandbox.faults() == []
