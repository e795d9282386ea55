"""What becomes of operations that a fault left open, by settle-operations and the jobs themselves."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from jobctl.errors import Exit
from jobctl.locks import Locks
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.sessions import orders, sessions
from tests import postgres
from tests.payments import AUTHORIZER, CANCELLER, PROCESSOR, SETTLER, Market
from tests.world import ahead, command

MARGIN = timedelta(hours=1)
Scene = tuple[list[int], str, str]  # orders, the job that works on them, and the status they end with


def to_authorize(market: Market) -> Scene:
    return [market.order() for _ in range(2)], AUTHORIZER, "authorized"


def to_capture(market: Market) -> Scene:
    return [market.held(market.past_session()) for _ in range(2)], PROCESSOR, "captured"


def to_release(market: Market) -> Scene:
    return [market.held(market.past_session("none_showed")) for _ in range(2)], PROCESSOR, "released"


def to_charge(market: Market) -> Scene:
    return [market.order(market.past_session()) for _ in range(2)], PROCESSOR, "captured"


def to_refund(market: Market) -> Scene:
    """Have sessions cancelled while nobody knows yet whether they were paid."""
    ids, _, end = to_capture(market)
    market.sandbox.fault("lost_answer", "capture", times=2)
    assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME
    for each in ids:
        market.world.change(sessions, market.of(orders, each).session_id, status="cancelled")
    market.pass_time(minutes=5)
    return ids, SETTLER, end


SCENES: dict[str, Callable[[Market], Scene]] = {
    "authorize": to_authorize,
    "capture": to_capture,
    "release": to_release,
    "charge": to_charge,
    "refund": to_refund,
}
# What the first run exits with: whether something is unknown, refused by the account, or only put off.
FAULTS = {
    "dropped": Exit.UNKNOWN_OUTCOME,
    "late": Exit.UNKNOWN_OUTCOME,
    "delay": Exit.UNKNOWN_OUTCOME,
    "lost_answer": Exit.UNKNOWN_OUTCOME,
    "garbage": Exit.UNKNOWN_OUTCOME,
    "empty": Exit.UNKNOWN_OUTCOME,
    "http_409": Exit.UNKNOWN_OUTCOME,
    "http_500_before": Exit.UNKNOWN_OUTCOME,
    "http_500_after": Exit.UNKNOWN_OUTCOME,
    "http_401": Exit.MISCONFIGURED,
    "http_403": Exit.MISCONFIGURED,
    "http_429": Exit.UNREACHABLE,
}


# On both databases with a fault after which nobody knows and one after which all do: they differ in no more.
EACH = [
    pytest.param(
        provider,
        fault,
        call,
        marks=() if fault in ("lost_answer", "http_429") else pytest.mark.only("sqlite"),
    )
    for provider in ("stripe", "yookassa")
    for fault in FAULTS
    for call in SCENES
]


@pytest.mark.parametrize(("provider", "fault", "call"), EACH)
def test_ledger_and_database_agree_after_any_fault(
    market: Market, provider: str, fault: str, call: str
) -> None:
    """Nothing is held or taken twice, nothing is stuck; the exit code tells while something is unknown."""
    market.provider = provider
    ids, job, end = SCENES[call](market)
    market.sandbox.fault(fault, call, times=99, seconds=600 if fault == "delay" else None)
    seconds = timedelta(seconds=0.2 if fault == "delay" else 5)
    market.world.configure(stripe_timeout=seconds, yookassa_timeout=seconds)
    assert market.run(job).exit_code == FAULTS[fault]
    market.sandbox.clear_faults()
    market.world.configure(stripe_timeout=timedelta(seconds=5), yookassa_timeout=timedelta(seconds=5))
    codes = []
    for minutes in (1, 4, 5, 60, 5):  # what a list lacks is looked for twice, and a refund then asked anew
        market.pass_time(minutes=minutes)
        codes += [market.run(SETTLER).exit_code, market.run(job).exit_code]
    assert codes[-2:] == [Exit.DONE, Exit.DONE]
    assert [market.status(each) for each in ids] == [end, end]
    refunded = [market.of(orders, each).refunded_at is not None for each in ids]
    assert refunded == [call == "refund"] * 2
    market.agree()


REFUSALS = ("http_400", "http_401", "http_403", "http_429", "not_reached")
REFUSED = [
    *(("stripe", refusal, call) for refusal in REFUSALS for call in SCENES),
    *(("yookassa", refusal, call) for refusal in REFUSALS[::2] for call in ("authorize", "refund")),
]


@pytest.mark.parametrize(
    ("provider", "refusal", "call"),
    [
        pytest.param(*each, marks=() if each[1] == "http_403" else pytest.mark.only("sqlite"))
        for each in REFUSED
    ],
)
def test_a_repeat_that_is_refused_says_nothing_of_the_first(
    market: Market, provider: str, refusal: str, call: str
) -> None:
    """An outage that loses answers at first, and then refuses requests, must not have anything paid twice."""
    market.provider = provider
    ids, job, end = SCENES[call](market)
    market.sandbox.fault("lost_answer", call, times=99)
    assert market.run(job).exit_code == Exit.UNKNOWN_OUTCOME
    market.sandbox.clear_faults()
    if refusal == "not_reached":
        nowhere = "http://127.0.0.1:9"
        market.world.configure(stripe_api_base=nowhere, yookassa_api_base=nowhere)
    else:
        market.sandbox.fault(refusal, times=99, seconds=3600)
    for _ in range(2):
        market.pass_time(minutes=10)
        assert market.run(SETTLER).exit_code != Exit.DONE
        assert {each.settled_at for each in market.operations() if each.kind == call} == {None}
    market.sandbox.clear_faults()
    market.world.configure(stripe_api_base=market.sandbox.url, yookassa_api_base=market.sandbox.url)
    for _ in range(3):
        market.pass_time(hours=1)
        codes = [market.run(SETTLER).exit_code, market.run(job).exit_code]
    assert codes == [Exit.DONE, Exit.DONE]
    assert [market.status(each) for each in ids] == [end, end]
    market.agree()


def test_before_its_answer_is_overdue_nobody_asks(market: Market) -> None:
    order = market.order()
    market.sandbox.fault("lost_answer", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    assert market.world.last_run().outcome == "outcomes unknown"
    before = market.sandbox.requests()
    market.pass_time(seconds=30)
    assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
    assert market.run(AUTHORIZER).exit_code == Exit.DONE  # which had nothing to do with it
    assert market.sandbox.requests() == before
    assert market.status(order) == "not_started"


def test_as_long_as_it_is_unknown_the_list_of_jobs_says_so(
    market: Market,
    environment: None,  # noqa: ARG001 (a fixture)
) -> None:
    """A run that could do nothing about it leaves no record of its own."""
    lost(market)
    market.pass_time(seconds=1)
    assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
    found = {each["job"]: each["outcome"] for each in command("jobs", "--json").document}
    assert found[SETTLER] == "outcomes unknown"
    market.pass_time(minutes=5)
    assert [market.run(job).exit_code for job in (SETTLER, AUTHORIZER)] == [Exit.DONE] * 2
    found = {each["job"]: each["outcome"] for each in command("jobs", "--json").document}
    assert (found[AUTHORIZER], found[SETTLER]) == ("nothing was due", "done")


def lost(market: Market) -> int:
    """Add an order whose hold was placed, and whose answer got lost."""
    order = market.order()
    market.sandbox.fault("lost_answer", "authorize", contains=f"order-{order}.")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    return order


def unsent(market: Market) -> int:
    """Add an order whose hold was written down, as by a run that had to stop then."""
    order = market.order()
    market.sandbox.fault("http_429", "authorize", seconds=3600)
    market.run(AUTHORIZER)
    market.sandbox.clear_faults()
    (operation,) = market.operations(order)
    nothing: dict[str, Any] = dict.fromkeys(("first_sent_at", "answer_by", "settled_at", "code", "reason"))
    market.world.change(money_operations, operation.id, status="started", concluded_at=None, **nothing)
    return order


def test_a_dry_run_shows_what_was_never_sent_as_it_will_be(market: Market) -> None:
    order = unsent(market)
    (operation,) = market.operations(order)
    (shown,) = market.run(SETTLER, dry_run=True).document["rows"]
    assert (shown["row_id"], shown["outcome"]) == (operation.id, "would be sent")
    asked = operation.request
    told = {"kind": "authorize", "key": operation.key, "provider": "stripe"}
    told |= {"request": f"POST {asked['path']}", "fields": dict(asked["fields"])}
    assert shown["request"] == told
    assert market.run(SETTLER).counts == {"held": 1}


def test_a_dry_run_asks_nobody_and_shows_what_the_run_asks(market: Market) -> None:
    order = lost(market)
    market.pass_time(minutes=5)
    before, asked = market.world.everything(), market.sandbox.requests()
    (shown,) = market.run(SETTLER, dry_run=True).document["rows"]
    assert (market.world.everything(), market.sandbox.requests()) == (before, asked)
    (operation,) = market.operations(order)
    assert (shown["row_id"], shown["outcome"]) == (operation.id, "would ask the provider")
    assert shown["request"]["key"] == operation.key
    assert market.run(SETTLER).counts == {"held": 1}


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [1, 2, 3]), ({"since": ahead(seconds=20)}, [2, 3]), ({"limit": 2}, [1, 2]), ({"only": 3}, [3])],
    ids=str,
)
def test_a_dry_run_is_bounded_as_the_run_is(
    market: Market, options: dict[str, Any], expected: list[int]
) -> None:
    lost(market)
    market.pass_time(seconds=30)
    lost(market)
    lost(market)
    market.pass_time(minutes=10)
    shown = market.run(SETTLER, dry_run=True, **options).document["rows"]
    market.run(SETTLER, **options)
    assert [each["row_id"] for each in shown] == expected
    assert [each.id for each in market.operations() if each.settled_at] == expected


def test_since_and_limit_bound_what_is_settled(market: Market) -> None:
    first = lost(market)
    market.pass_time(seconds=30)
    others = [lost(market), lost(market)]
    market.pass_time(minutes=10)
    assert market.run(SETTLER, since=ahead(seconds=20), limit=1).counts == {"held": 1}
    assert [market.status(each) for each in (first, *others)] == ["not_started", "authorized", "not_started"]
    assert market.run(SETTLER).counts == {"held": 2}
    market.agree()


def test_another_account_is_not_asked_about_what_it_never_did(market: Market) -> None:
    order = lost(market)
    market.pass_time(minutes=5)
    market.world.configure(stripe_account="another")
    before = market.sandbox.requests()
    assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
    assert (market.sandbox.requests(), market.status(order)) == (before, "not_started")


def test_what_was_asked_of_another_account_is_a_persons_in_the_end(market: Market) -> None:
    """It stays unknown, and is settled as ever once that account can be asked again."""
    order = lost(market)
    market.world.configure(stripe_account="another")
    market.pass_time(hours=23)
    assert market.run(SETTLER).document["findings"] == 0
    market.pass_time(hours=2)
    before = market.sandbox.requests()
    (shown,) = market.run(SETTLER, dry_run=True).document["rows"]
    assert shown["outcome"] == "put back"
    for told in (1, 0, 0):
        done = market.run(SETTLER)
        assert (done.exit_code, done.document["findings"]) == (Exit.UNKNOWN_OUTCOME, told)
    (finding,) = market.world.rows(findings)
    assert (finding.kind, finding.status) == ("money at another account", "open")
    assert market.sandbox.requests() == before
    market.world.configure(stripe_account=None)
    assert market.run(SETTLER).counts == {"held": 1}
    (finding,) = market.world.rows(findings)
    assert (finding.status, market.status(order)) == ("resolved", "authorized")
    market.agree()


@pytest.mark.only("postgresql")
def test_a_finding_that_somebody_has_in_hand_is_resolved_all_the_same(market: Market) -> None:
    """There is no second time: what it was about is settled."""
    lost(market)
    market.world.configure(stripe_account="another")
    market.pass_time(hours=25)
    assert market.run(SETTLER).document["findings"] == 1
    market.world.configure(stripe_account=None)
    with ThreadPoolExecutor(1) as pool, market.world.engine.connect() as person:
        person.execute(select(findings.c.id).with_for_update())
        run = pool.submit(market.run, SETTLER)
        postgres.await_waiting(str(market.world.settings.database_url), 1)
        person.rollback()
        assert run.result(30).counts == {"held": 1}
    assert [each.status for each in market.world.rows(findings)] == ["resolved"]


def test_a_dry_run_shows_what_a_dead_run_left_and_not_what_a_live_one_has(
    market: Market, locks: Locks
) -> None:
    ids = [market.order() for _ in range(2)]
    market.sandbox.fault("lost_answer", "authorize", times=2)
    market.run(AUTHORIZER)
    market.pass_time(minutes=10)
    locks.hold_run(900)
    for order, run in zip(ids, (900, 901), strict=True):
        (operation,) = market.operations(order)
        market.world.change(money_operations, operation.id, claimed_by=run)
    (shown,) = market.run(SETTLER, dry_run=True).document["rows"]
    assert shown["row_id"] == market.operations(ids[1])[0].id


def test_of_many_whose_outcome_is_unknown_five_are_named(market: Market) -> None:
    for _ in range(7):
        market.order()
    market.sandbox.fault("lost_answer", "authorize", times=7)
    (complaint,) = market.run(AUTHORIZER).document["complaints"]
    assert (complaint.count(" of order "), "(7: " in complaint) == (5, True)


def test_however_many_a_live_run_has_they_hide_none_of_nobody(market: Market, locks: Locks) -> None:
    locks.hold_run(900)
    order = lost(market)
    (left,) = market.operations(order)
    theirs = left._asdict() | {"claimed_by": 900}
    numbers = range(1, 1001)
    many = [theirs | {"id": -n, "key": f"x.{n}", "subject_id": -n} for n in numbers]
    with market.world.engine.begin() as connection:
        connection.execute(money_operations.insert(), many)
    done = market.run(SETTLER)
    assert done.exit_code == Exit.UNKNOWN_OUTCOME
    assert f"(1: {left.id} of order {order})" in done.document["complaints"][0]


def test_a_limit_is_of_new_rows_alone(market: Market) -> None:
    """What an earlier run left open is recovered beside them."""
    lost(market)
    market.pass_time(minutes=10)
    market.order()
    assert market.run(AUTHORIZER, limit=1, concurrency=1).counts == {"held": 2}


def test_what_never_went_out_is_asked_of_the_account_that_there_is_now(market: Market) -> None:
    """Nothing was sent, so that nothing is lost with the account that it was written down for."""
    order = unsent(market)
    market.world.configure(stripe_account="another")
    assert market.run(SETTLER).counts == {"put back": 1}
    assert market.run(AUTHORIZER).counts == {"held": 1}
    assert [(each.account, each.status) for each in market.operations(order)] == [
        ("test", "rejected"),
        ("another", "succeeded"),
    ]


@pytest.mark.parametrize("attendance", ["all_present", "none_showed"])
def test_another_account_is_not_asked_for_the_money_that_one_holds(market: Market, attendance: str) -> None:
    order = market.held(market.past_session(attendance))
    market.world.configure(stripe_account="another")
    before = market.sandbox.requests()
    (shown,) = market.run(PROCESSOR, dry_run=True).document["rows"]
    done = market.run(PROCESSOR)
    assert (done.exit_code, done.counts, shown["outcome"]) == (Exit.ITEMS_FAILED, {"failed": 1}, "failed")
    assert [(each.row_id, each.error) for each in market.world.errors()] == [
        (order, shown["request"]["reason"])
    ]
    assert market.sandbox.requests() == before
    market.world.configure(stripe_account=None)
    assert market.run(PROCESSOR).exit_code == Exit.DONE
    market.agree()


def test_a_hold_of_another_account_is_renewed_and_its_release_waits_for_that_account(market: Market) -> None:
    """What undoes something is open work until it is done, whatever the settings have at the time."""
    order = market.held()
    old = market.of(orders, order).payment_id
    market.world.change(orders, order, hold_ends_at=ahead(hours=1))
    market.world.configure(stripe_account="another")
    done = market.run(AUTHORIZER)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"held anew": 1})
    row = market.of(orders, order)
    assert (row.holds, row.payment_account, row.payment_id != old) == (2, "another", True)
    (release,) = market.unsettled()
    assert (release.kind, release.account, release.payment_id) == ("release", "test", old)
    done = market.run(SETTLER)
    assert (done.exit_code, done.document["findings"]) == (Exit.MISCONFIGURED, 1)
    assert market.run(SETTLER).exit_code == Exit.DONE  # it has been told, and waits
    assert "release" not in market.sandbox.requests()
    market.world.configure(stripe_account=None)
    assert market.run(SETTLER).counts == {"released": 1}
    (finding,) = market.world.rows(findings)
    assert finding.status == "resolved"
    market.world.change(orders, order, payment_account="test")
    market.agree()


def test_a_key_that_is_too_old_is_not_sent_again(market: Market) -> None:
    """After a day the provider would take it for a new request."""
    order = lost(market)
    market.pass_time(hours=25)
    assert market.run(SETTLER).counts == {"held": 1}
    assert market.sandbox.requests()["authorize"]["requests"] == 1
    assert market.status(order) == "authorized"
    market.agree()


def test_what_never_reached_the_provider_is_asked_anew(market: Market) -> None:
    order = market.order()
    market.sandbox.fault("dropped", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    market.pass_time(hours=25)
    assert market.run(SETTLER).counts == {"unknown": 1}  # one list that lacks it is no proof
    market.pass_time(minutes=6)
    assert market.run(SETTLER).counts == {"rejected": 1}
    again = {"starts_at": market.now + MARGIN, "ends_at": market.now + 2 * MARGIN}
    market.world.change(sessions, market.of(orders, order).session_id, **again)
    assert market.run(AUTHORIZER).counts == {"held": 1}
    assert [each.attempt for each in market.operations(order)] == [1, 2]
    market.agree()


def test_intervals_grow_while_the_provider_cannot_tell(market: Market) -> None:
    lost(market)
    market.pass_time(hours=25)
    market.sandbox.fault("dropped", times=99)
    asked = []
    for _ in range(30):
        market.pass_time(minutes=2)
        assert market.run(SETTLER).exit_code == Exit.UNKNOWN_OUTCOME
        asked.append(market.operations()[0].asked)
    assert 2 <= asked[-1] <= 6
    market.sandbox.clear_faults()
    market.pass_time(hours=2)
    assert market.run(SETTLER).exit_code == Exit.DONE
    market.agree()


def test_why_says_when_it_is_asked_about(market: Market, environment: None) -> None:  # noqa: ARG001 (a fixture)
    lost(market)
    (explained,) = command("why", SETTLER, "1", "--json").document
    held = {each["condition"]: each["holds"] for each in explained["conditions"]}
    unsettled = "its outcome is not settled, or it seemed absent and may still turn up"
    assert held == {unsettled: True, "no answer to it is to be waited for": True}


@pytest.mark.parametrize("job", [AUTHORIZER, PROCESSOR, CANCELLER])
def test_why_says_what_was_asked_of_the_provider_for_an_order(
    market: Market,
    environment: None,  # noqa: ARG001 (a fixture)
    job: str,
) -> None:
    """An open operation keeps every job away, so each of them names it."""
    order, other = lost(market), market.order()
    assert market.run(AUTHORIZER).exit_code == Exit.DONE
    told = command("why", job, str(order), "--json").document
    (operation,) = market.operations(order)
    names = ("id", "kind", "cycle", "status", "settled_at")
    for each in told:
        assert [tuple(found.get(name) for name in names) for found in each["operations"]] == [
            (operation.id, "authorize", "hold-1", "unknown", None)
        ]
    assert f"jobctl why settle-operations {operation.id}" in command("why", job, str(order)).out
    (held,) = command("why", AUTHORIZER, str(other), "--json").document[0]["operations"]
    assert (held["status"], held["payment_id"]) == ("succeeded", market.of(orders, other).payment_id)
    assert "pm_card_visa" not in str(told)


def test_a_success_that_the_order_cannot_follow_is_kept_and_settled_later(market: Market) -> None:
    """The fact is recorded, a person is told, the others go on, and nothing is asked for again."""
    bad, good = market.order(), market.order()
    market.world.refuse(orders, "id", bad)
    done = market.run(AUTHORIZER)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"held": 1, "failed": 1})
    (operation,) = market.operations(bad)
    assert (operation.status, operation.settled_at, operation.claimed_by) == ("succeeded", None, None)
    assert (market.status(bad), market.status(good)) == ("not_started", "authorized")
    assert {each.row_id for each in market.world.errors()} == {bad}
    market.world.allow(orders)
    assert market.run(SETTLER).counts == {"held": 1}
    assert market.sandbox.requests()["authorize"]["requests"] == 2
    market.agree()
