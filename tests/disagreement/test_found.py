"""What the world that disagrees has found, each as short as it gets."""

from jobctl.errors import Exit
from jobctl.sandbox import OTHER_SECRET_KEY, OTHER_YOOKASSA_SECRET_KEY, OTHER_YOOKASSA_SHOP_ID
from jobctl.tables.sessions import orders, sessions
from tests.payments import AUTHORIZER, SETTLER, Market
from tests.subscribers import Club

PENDING, SUCCESSFUL = "matching-pending-payments", "matching-successful-payments"
OTHERS = {
    "stripe": {"stripe_secret_key": OTHER_SECRET_KEY},
    "yookassa": {
        "yookassa_shop_id": OTHER_YOOKASSA_SHOP_ID,
        "yookassa_secret_key": OTHER_YOOKASSA_SECRET_KEY,
    },
}


def test_another_accounts_list_moves_no_watermark(club: Club) -> None:
    """A payment that nobody told of is found once the right key is back, however quiet the hours were."""
    user = club.buyer()
    assert club.run(SUCCESSFUL).exit_code == Exit.DONE
    club.pay(user)
    club.pass_time(hours=25)
    was = club.world.settings
    club.world.configure(**OTHERS[club.provider])
    club.run(SUCCESSFUL)
    club.world.settings = was
    club.pass_time(minutes=10)
    club.run(SUCCESSFUL)
    assert len(club.subscriptions_of(user)) == 1


def test_what_seemed_absent_at_another_account_is_given_up_in_the_end(market: Market) -> None:
    """Its horizon has passed, and nobody can look any more: no run complains of it for ever."""
    market.provider = "yookassa"
    order = market.order()
    was = market.world.settings
    market.world.configure(**OTHERS["yookassa"])
    market.sandbox.fault("dropped", "authorize")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    market.world.change(sessions, market.of(orders, order).session_id, status="cancelled")
    for _ in range(2):
        market.pass_time(minutes=20)
        market.run(SETTLER)
    (operation,) = market.operations(order)
    assert (operation.status, operation.look_until is None) == ("rejected", False)
    market.world.settings = was
    market.pass_time(hours=25)
    assert market.run(SETTLER).exit_code == Exit.DONE
    (operation,) = market.operations(order)
    assert (operation.status, operation.look_until) == ("rejected", None)
    assert market.run(SETTLER).exit_code == Exit.DONE
