"""Orders that something is wrong with, in ten ways, among many that are sound.

Each way must cost its own orders alone: they are named, as errors of the run or as findings, and whatever
stands beside them is done in the same run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import select, text, update

from jobctl.tables.findings import findings
from jobctl.tables.frame import run_errors
from jobctl.tables.sessions import orders, sessions
from tests.payments import Market
from tests.world import Done

Poison = Callable[[Market, Sequence[int]], None]  # spoils these orders
LOCKED = "locked throughout"
LONG = 9000  # characters: more than a provider takes of any name
HOSTILE = ("text_nul", "text_surrogate", "text_control", "text_long", "text_object")


def of_another(market: Market, ids: Sequence[int]) -> None:
    for each in ids:
        market.of_another(each)


def customer_deleted(market: Market, ids: Sequence[int]) -> None:
    for each in ids:
        market.delete_customer(each)


def other_currency(market: Market, ids: Sequence[int]) -> None:
    """Let it be one that no provider lists."""
    for each in ids:
        market.world.change(orders, each, currency="KPW")


def amount_not_taken(market: Market, ids: Sequence[int]) -> None:
    """Stripe takes dinars of three decimals in tens alone."""
    for each in ids:
        market.world.change(orders, each, currency="KWD", amount_minor=4501)


def provider_unknown(market: Market, ids: Sequence[int]) -> None:
    for each in ids:
        market.change_method(market.of(orders, each).payment_method_id, provider="adyen")


def method_too_long(market: Market, ids: Sequence[int]) -> None:
    """Let the provider refuse it, in words that do harm."""
    for n, each in enumerate(ids):
        market.change_method(market.of(orders, each).payment_method_id, provider_method="pm_" + "x" * LONG)
        market.sandbox.fault(HOSTILE[n % len(HOSTILE)], contains=f"order-{each}.")


def order_refused(market: Market, ids: Sequence[int]) -> None:
    """Have a trigger of the application refuse what follows from an answer."""
    trigger(market, "orders", "UPDATE", f"NEW.id IN {listed(ids)}")


def journal_refused(market: Market, ids: Sequence[int]) -> None:
    trigger(market, "money_operations", "INSERT", f"NEW.subject_id IN {listed(ids)}")


def receipt_refused(market: Market, ids: Sequence[int]) -> None:
    customers = [market.of(orders, each).customer_id for each in ids]
    trigger(market, "notifications", "INSERT", f"NEW.user_id IN {listed(customers)}")


def answered(kind: str) -> Poison:
    """Let the provider answer about something else."""

    def spoil(market: Market, ids: Sequence[int]) -> None:
        for each in ids:
            market.sandbox.fault(kind, contains=f"order-{each}.")

    return spoil


def capture_refused(market: Market, ids: Sequence[int]) -> None:
    for each in ids:
        market.sandbox.fault("refused", "capture", contains=f"order-{each}.")


def cancelled_by_hand(market: Market, ids: Sequence[int]) -> None:
    for each in ids:
        market.sandbox.dashboard.cancel("stripe", payment_of(market, each), "fraudulent")


def captured_in_part(market: Market, ids: Sequence[int]) -> None:
    for each in ids:
        market.sandbox.dashboard.capture("stripe", payment_of(market, each), 1000)


def of_another_account(market: Market, ids: Sequence[int]) -> None:
    for each in ids:
        market.world.change(orders, each, payment_account="acct_of_nobody")


def payment_unknown(market: Market, ids: Sequence[int]) -> None:
    for each in ids:
        market.world.change(orders, each, payment_id=f"pi_of_nobody_{each}")


def locked(_market: Market, _ids: Sequence[int]) -> None:
    """Somebody has them locked for as long as they are lent."""


HOLDS: Mapping[str, Poison] = {
    "the card is another customer's": of_another,
    "the customer was deleted": customer_deleted,
    "a currency that nobody lists": other_currency,
    "an amount that cannot be taken": amount_not_taken,
    "an unknown provider": provider_unknown,
    "a method too long, refused in hostile words": method_too_long,
    "a trigger refuses the order": order_refused,
    "a trigger refuses the journal": journal_refused,
    "an answer of another amount": answered("other_amount"),
    LOCKED: locked,
}
CAPTURES: Mapping[str, Poison] = {
    "the capture is refused": capture_refused,
    "cancelled by hand": cancelled_by_hand,
    "captured in part by hand": captured_in_part,
    "of another account": of_another_account,
    "a payment that nobody knows": payment_unknown,
    "a trigger refuses the order": order_refused,
    "a trigger refuses the journal": journal_refused,
    "a trigger refuses the receipt": receipt_refused,
    "an answer of another amount": answered("other_amount"),
    LOCKED: locked,
}


@contextmanager
def spoilt(
    market: Market, ways: Mapping[str, Poison], ids: Sequence[int], each: int
) -> Iterator[dict[str, list[int]]]:
    """Spoil so many orders in each way, spread over all of them, and lend them by the way."""
    if not market.world.settings.database_url:  # no row can be locked there: something else goes wrong
        instead = {"an answer in another currency": answered("other_currency")}
        ways = {name: way for name, way in ways.items() if name != LOCKED} | instead
    step = len(ids) // (each * len(ways))
    chosen = ids[step // 2 :: step]
    found = {name: list(chosen[n :: len(ways)][:each]) for n, name in enumerate(ways)}
    for name, way in ways.items():
        way(market, found[name])
    if LOCKED not in found:
        yield found
        return
    with market.world.engine.connect() as connection:
        connection.execute(select(orders.c.id).where(orders.c.id.in_(found[LOCKED])).with_for_update())
        yield found


def named(market: Market, done: Done) -> set[int]:
    """Return the orders that a run names, by an error or an open finding."""
    run = done.document["run"]
    errors = [each for each in market.world.rows(run_errors) if each.run_id == run]
    found = [each for each in market.world.rows(findings) if (each.run_id, each.status) == (run, "open")]
    return {each.row_id for each in errors if each.table_name == "orders"} | {
        each.subject_id for each in found if each.subject == "order"
    }


def standing(market: Market, status: str) -> list[int]:
    """Return the orders that have come to that."""
    return [each.id for each in market.world.rows(orders) if each.payment_status == status]


def trigger(market: Market, table: str, verb: str, when: str) -> None:
    """Have a trigger of the application's refuse what that is true of."""
    name = f"refuse_{verb}_of_{table}".lower()
    begin = f"CREATE TRIGGER {name} BEFORE {verb} ON {table}"
    on_postgres = [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$",
        f"{begin} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {name}()",
    ]
    on_sqlite = [f"{begin} WHEN {when} BEGIN SELECT RAISE(ABORT, 'no'); END"]
    with market.world.engine.begin() as connection:
        for each in on_postgres if market.world.settings.database_url else on_sqlite:
            connection.execute(text(each))


def over(market: Market) -> None:
    """Let every session have taken place."""
    past = {"attendance": "all_present", "status": "ended", "ended_at": market.now}
    with market.world.engine.begin() as connection:
        connection.execute(update(sessions).values(**past))


def listed(ids: Sequence[int]) -> str:
    return f"({', '.join(map(str, ids))})"


def payment_of(market: Market, order: int) -> str:
    return str(market.of(orders, order).payment_id)
