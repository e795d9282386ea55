"""A hold or charge of which the provider has something else is not asked for anew until a person says so."""

from collections.abc import Callable

import pytest

from jobctl.errors import Exit
from jobctl.sandbox import SECRET_KEY, YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID, Sandbox
from jobctl.tables.findings import findings
from jobctl.tables.sessions import orders
from tests.payments import AUTHORIZER, Market
from tests.subscribers import Club
from tests.world import NOW, Done, World, command

pytestmark = pytest.mark.usefixtures("environment")
CHARGER, PROCESSOR = "autopayments", "session-payment-processor"
Reach = Callable[[Sandbox], None]


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Reach:
    """Give the way to have the command line ask a sandbox."""

    def reach(sandbox: Sandbox) -> None:
        for name, value in given(sandbox).items():
            monkeypatch.setenv(name, value)

    return reach


def given(sandbox: Sandbox) -> dict[str, str]:
    return {
        "STRIPE_API_BASE": sandbox.url,
        "STRIPE_SECRET_KEY": SECRET_KEY,
        "YOOKASSA_API_BASE": sandbox.url,
        "YOOKASSA_SHOP_ID": YOOKASSA_SHOP_ID,
        "YOOKASSA_SECRET_KEY": YOOKASSA_SECRET_KEY,
    }


def resolve(world: World, *options: str, code: Exit = Exit.DONE) -> Done:
    """Resolve the newest finding, and leave the rows as they are."""
    found = world.rows(findings)[-1]
    done = command("findings", "resolve", str(found.id), "--reason", "seen", *options)
    assert done.exit_code == code
    return done


@pytest.mark.parametrize("provider", ["stripe", "yookassa"])
def test_an_order_is_not_held_for_twice(market: Market, provider: str, reached: Reach) -> None:
    market.provider = provider
    order = market.order()
    market.sandbox.fault("other_amount", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.ITEMS_FAILED
    (hold,) = market.sandbox.ledger()
    reached(market.sandbox)
    resolve(market.world, "--nothing-there", code=Exit.USAGE)
    assert "--nothing-there" in resolve(market.world).out
    assert market.run(AUTHORIZER, dry_run=True).document["counts"] == {"failed": 1}
    for _ in range(2):
        assert market.run(AUTHORIZER).exit_code == Exit.ITEMS_FAILED
    assert market.sandbox.ledger() == [hold]
    market.sandbox.dashboard.cancel(provider, hold.intent)
    resolve(market.world, "--nothing-there")
    assert market.run(AUTHORIZER).counts == {"held": 1}
    assert market.status(order) == "authorized"
    market.agree()


def test_a_period_is_not_charged_twice(club: Club, reached: Reach) -> None:
    made = club.member()
    club.sandbox.fault("other_amount", "charge")
    assert club.run(CHARGER).exit_code == Exit.ITEMS_FAILED
    (charge,) = club.sandbox.ledger()
    reached(club.sandbox)
    resolve(club.world, "--nothing-there", code=Exit.USAGE)
    resolve(club.world)
    for _ in range(2):
        club.pass_time(hours=2)
        assert club.run(CHARGER).exit_code == Exit.ITEMS_FAILED
    assert club.sandbox.ledger() == [charge]
    club.sandbox.dashboard.refund(club.provider, charge.intent)
    resolve(club.world, "--nothing-there")
    assert club.run(CHARGER).counts == {"renewed": 1}
    assert [each.kind for each in club.sandbox.ledger()] == ["charge", "refund", "charge"]
    assert club.of(made).ended_at > club.now


def test_what_is_given_back_in_part_stands(club: Club, reached: Reach) -> None:
    club.member()
    club.sandbox.fault("other_amount", "charge")
    club.run(CHARGER)
    (charge,) = club.sandbox.ledger()
    reached(club.sandbox)
    club.sandbox.dashboard.refund(club.provider, charge.intent, 10_000)
    resolve(club.world, "--nothing-there", code=Exit.USAGE)
    club.sandbox.fault("http_500_before", "retrieve", times=99)
    resolve(club.world, "--nothing-there", code=Exit.UNREACHABLE)
    club.sandbox.clear_faults()
    assert {each.status for each in club.world.rows(findings)} == {"open"}
    club.sandbox.dashboard.refund(club.provider, charge.intent, 40_000)
    resolve(club.world, "--nothing-there")


def test_a_renewal_of_another_hold_is_its_own(market: Market) -> None:
    """Nothing but the same hold is kept back: the next one has another number."""
    first, second = market.order(), market.order()
    market.sandbox.fault("other_amount", "authorize", contains=f"order-{first}.")
    assert market.run(AUTHORIZER).counts["held"] == 1
    resolve(market.world)
    third = market.order()
    assert market.run(AUTHORIZER).counts["held"] == 1
    assert [market.status(each) for each in (first, second, third)] == [
        "not_started",
        "authorized",
        "authorized",
    ]


def test_of_a_capture_it_is_refused(market: Market, reached: Reach) -> None:
    """A capture is asked for again anyway, and found again."""
    order = market.held(market.past_session())
    market.sandbox.dashboard.cancel("stripe", market.of(orders, order).payment_id)
    assert market.run(PROCESSOR).exit_code == Exit.ITEMS_FAILED
    reached(market.sandbox)
    resolve(market.world, "--nothing-there", code=Exit.USAGE)


@pytest.mark.parametrize("key", ["sk_test_another", "", "sk_live_x"])
def test_of_another_account_it_is_refused(
    market: Market, reached: Reach, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    market.order()
    market.sandbox.fault("other_amount", "authorize")
    market.run(AUTHORIZER)
    reached(market.sandbox)
    monkeypatch.setenv("STRIPE_SECRET_KEY", key)
    (found,) = market.world.rows(findings)
    done = command("findings", "resolve", str(found.id), "--reason", "x", "--nothing-there")
    assert done.exit_code in (Exit.USAGE, Exit.MISCONFIGURED)
    assert market.world.rows(findings) == [found]


def test_of_another_finding_it_is_refused(world: World) -> None:
    given = {"kind": "orphan payment", "once_key": "orphan payment.x", "reason": "x", "facts": {}}
    made = world.add(findings, {**given, "found_at": NOW})
    done = command("findings", "resolve", str(made), "--reason", "x", "--nothing-there")
    assert done.exit_code == Exit.USAGE
    assert world.rows(findings)[0].status == "open"
