"""Each rule holds where the jobs ran, and names the one row that breaks it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobctl import invariants
from jobctl.errors import Exit
from jobctl.invariants.every import RULES
from jobctl.invariants.rule import Rule
from jobctl.sandbox import Sandbox
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import ledger_postings, wallet_transactions, wallets
from jobctl.tables.notifications import notifications, users
from jobctl.tables.sessions import orders
from jobctl.tables.subscriptions import payments, plans, subscriptions
from tests.bazaar import Bazaar
from tests.conftest import Worlds
from tests.invariants.breakers import (
    BREAKERS,
    Breaker,
    a_currency_changed_while_it_is_held,
    a_hold_for_who_was_deleted,
    an_amount_changed_while_it_was_captured,
    capture_of,
    held,
    refund_of,
    unverified,
)
from tests.invariants.lived import Lived, live
from tests.subscribers import Club
from tests.world import NOW, World, ago, ahead, command

pytestmark = pytest.mark.usefixtures("environment")
BROKEN = [(rule, each) for rule in RULES for each in BREAKERS[rule.name]]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Lived]]:
    """Give the way to a database in which the jobs ran, which is made once for each kind."""
    with ExitStack() as stack:
        made: dict[str, Lived] = {}

        def of_kind(kind: str, worlds: Worlds) -> Lived:
            if kind not in made:
                world = stack.enter_context(worlds(tmp_path_factory.mktemp(kind)))
                with Sandbox() as sandbox:
                    made[kind] = live(world, sandbox)
                world.engine.dispose()
            return made[kind]

        yield of_kind


@pytest.fixture
def world(grown: Callable[..., Lived], kind: str, worlds: Worlds) -> Iterator[World]:
    with worlds(like=grown(kind, worlds).world) as made:
        yield made


@pytest.fixture
def lived(grown: Callable[..., Lived], kind: str, worlds: Worlds, world: World) -> Iterator[Lived]:
    with Sandbox() as sandbox:
        yield replace(grown(kind, worlds), club=Club(world, plan=1, sandbox=sandbox))


def checked(*names: str) -> dict[str, list[dict[str, Any]]]:
    """Return the broken rows of each rule."""
    done = command("invariants", "--json", *names)
    rules = done.document["rules"]
    assert [each["holds"] for each in rules] == [not each["rows"] for each in rules]
    assert done.exit_code == (Exit.INVARIANT_BROKEN if done.document["broken"] else Exit.DONE)
    return {each["name"]: each["rows"] for each in rules}


def test_every_file_of_a_rule_is_listed_once() -> None:
    (folder,) = invariants.__path__
    files = {each.stem for each in Path(folder).glob("*.py") if "RULE = " in each.read_text()}
    assert sorted(rule.name for rule in RULES) == sorted(each.replace("_", "-") for each in files)


def test_every_rule_has_facts_that_break_it() -> None:
    assert set(BREAKERS) == {rule.name for rule in RULES}


def test_every_rule_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "invariants.md").read_text()
    for rule in RULES:
        assert f"| `{rule.name}` | {rule.sentence.rstrip('.')} |" in page


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_shows_the_row_and_nothing_personal(rule: Rule) -> None:
    columns = rule.broken.selected_columns
    assert columns[0].name == "id"
    assert {each.table for each in columns[0].base_columns} == {rule.table}
    personal = {each.name for each in rule.table.c if each.info.get("personal")}
    assert not personal & {each.name for each in columns}


def test_all_hold_on_an_empty_database() -> None:
    assert not any(checked().values())


def test_all_hold_where_the_jobs_ran(lived: Lived) -> None:
    before = lived.world.everything()
    assert checked() == {rule.name: [] for rule in RULES}
    assert lived.world.everything() == before


@pytest.mark.parametrize(("rule", "breaker"), BROKEN, ids=lambda each: getattr(each, "__name__", None))
def test_the_row_that_breaks_it_is_named(lived: Lived, rule: Rule, breaker: Breaker) -> None:
    row_id = breaker(lived)
    (row,) = checked(rule.name)[rule.name]
    assert (row["table"], row["id"]) == (rule.table.name, row_id)
    assert command("invariants").exit_code == Exit.INVARIANT_BROKEN


# ── what is in order all the same ────────────────────────────────────────────────────────────────


def an_order_that_a_person_settled(lived: Lived) -> None:
    lived.change(orders, lived.authorized, payment_status="captured", captured_at=None)


def a_second_capture_that_is_given_back(lived: Lived) -> None:
    second = lived.operation()
    lived.operation(kind="refund", status="pending", settled_at=None, follows=second)


def a_capture_that_its_order_has_not_followed_yet(lived: Lived) -> None:
    lived.operation(settled_at=None)


def a_capture_that_nobody_wanted(lived: Lived) -> None:
    # It was captured as its session was cancelled.
    lived.operation(kind="refund", follows=capture_of(lived))
    lived.change(orders, lived.captured, refunded_at=NOW)


def an_operation_whose_outcome_is_unknown(lived: Lived) -> None:
    lived.operation(status="unknown", settled_at=None, payment_id=None)


def a_payment_that_was_given_back(lived: Lived) -> None:
    lived.paid(subscription_id=None, refunded_at=NOW)


def a_payment_that_is_being_given_back(lived: Lived) -> None:
    charge = {"subject": "subscription", "subject_id": lived.member, "provider": "yookassa"}
    lived.operation(**charge, kind="charge", key="late", payment_id="later")
    lived.operation(**charge, kind="refund", status="pending", settled_at=None, payment_id="later")
    lived.paid(reference="late", period_start=NOW)


def a_charge_that_the_application_heard_of_first(lived: Lived) -> None:
    charge = {"subject": "subscription", "subject_id": lived.member, "provider": "yookassa"}
    lived.operation(**charge, kind="charge", key="late", status="started", settled_at=None, payment_id=None)
    lived.paid(reference="late", period_start=NOW)


def a_charge_that_its_subscription_has_not_followed_yet(lived: Lived) -> None:
    charge = {"subject": "subscription", "subject_id": lived.member, "provider": "yookassa"}
    lived.operation(**charge, kind="charge", key="late", settled_at=None, payment_id="later")
    lived.paid(reference="late", period_start=NOW)


def a_payment_for_a_cancelled_subscription(lived: Lived) -> None:
    lived.change(subscriptions, lived.member, status="cancelled", cancelled_at=NOW)
    lived.paid()


def a_payment_that_was_found_not_to_be_applied(lived: Lived) -> None:
    found = lived.of(findings).facts["payment"]
    lived.change(payments, lived.of(payments, provider_payment_id=found).id, subscription_id=None)


def an_order_changed_after_it_was_given_back(lived: Lived) -> None:
    lived.operation(kind="refund", follows=capture_of(lived))
    lived.change(orders, lived.captured, refunded_at=NOW, amount_minor=1)


def a_person_who_is_gone_since(lived: Lived) -> None:
    for each in (lived.club.of(lived.member).user_id, lived.of(orders, id=lived.authorized).customer_id):
        lived.change(users, each, deleted_at=NOW)


def a_capture_of_what_was_held_for_who_is_gone_since(lived: Lived) -> None:
    row = lived.of(orders, id=lived.captured)
    lived.change(users, row.customer_id, deleted_at=NOW)
    again = {"status": "unknown", "settled_at": None, "payment_id": row.payment_id}
    lived.operation(**again, created_at=ahead(minutes=11))


def a_renewal_that_was_given_back_to_who_had_cancelled(lived: Lived) -> None:
    (renewal,) = lived.club.renewals(lived.member)
    charge = lived.of(money_operations, key=renewal.reference)
    back = {name: getattr(charge, name) for name in ("subject", "subject_id", "payment_id", "provider")}
    money = {"amount_minor": charge.amount_minor, "currency": charge.currency}
    lived.operation(kind="refund", follows=charge.id, **back, **money)
    lived.change(subscriptions, lived.member, cancelled_at=ago(days=1))


def one_that_is_not_to_be_renewed(lived: Lived) -> None:
    lived.change(subscriptions, lived.member, next_charge_at=None, cancelled_at=NOW)


def one_whose_last_charge_was_declined(lived: Lived) -> None:
    declined = {"status": "cancelled", "cancelled_at": NOW, "failure": "permission_revoked"}
    lived.paid(**declined, paid_at=None, period_start=lived.club.of(lived.member).ended_at)
    lived.change(subscriptions, lived.member, next_charge_at=None)


def one_without_a_saved_method(lived: Lived) -> None:
    (renewal,) = lived.club.renewals(lived.member)
    lived.change(payments, renewal.id, provider_method=None)
    lived.change(subscriptions, lived.member, next_charge_at=None)


def a_release_in_another_currency(lived: Lived) -> None:
    asked = Bazaar(lived.world, lived.club.sandbox)
    released = asked.paid(currency="GHS")
    asked.wallet(asked.asked(asked.moved(released).request_id).creator_id, currency="GHS")
    asked.wallet(None, currency="GHS")
    assert lived.world.run("escrow-release").counts == {"released": 1}


@pytest.mark.parametrize(
    ("breaker", "what"),
    [(an_amount_changed_while_it_was_captured, "taken"), (a_currency_changed_while_it_is_held, "held")],
)
def test_what_an_order_is_not_of_is_told(lived: Lived, breaker: Breaker, what: str) -> None:
    breaker(lived)
    (row,) = checked("orders-are-of-what-was-taken")["orders-are-of-what-was-taken"]
    assert row["what"] == what


@pytest.mark.parametrize("undoing", ["release", "refund"])
def test_what_is_undone_was_asked_of_anybody(lived: Lived, undoing: str) -> None:
    held = a_hold_for_who_was_deleted(lived)
    payment = lived.world.one(money_operations, held).payment_id
    open_one = {"status": "started", "settled_at": None, "amount_minor": None, "currency": None}
    lived.operation(kind=undoing, subject_id=lived.authorized, payment_id=payment, **open_one)
    assert checked("money-is-asked-of-who-owes-it") == {"money-is-asked-of-who-owes-it": []}


def test_a_wallet_may_be_empty(lived: Lived) -> None:
    lived.change(wallets, lived.wallet, balance_minor=0)
    assert checked("no-negative-balance") == {"no-negative-balance": []}


def test_an_order_that_is_not_captured_any_more_needs_no_operation(lived: Lived) -> None:
    lived.change(orders, lived.captured, payment_status="released", payment_id="another")
    assert checked("captured-orders-have-one-operation") == {"captured-orders-have-one-operation": []}


def test_what_was_taken_for_something_else_is_no_orders(lived: Lived) -> None:
    """Be it of the same number, and by the same payment."""
    for order, kind in ((lived.authorized, "authorize"), (lived.captured, "charge")):
        payment = lived.world.one(orders, order).payment_id
        other = {"subject": "subscription", "subject_id": order, "payment_id": payment}
        lived.operation(kind=kind, **other, amount_minor=1, currency="EUR", cycle=f"other-{kind}")
    assert checked("orders-are-of-what-was-taken") == {"orders-are-of-what-was-taken": []}


def test_a_refund_is_held_against_its_own_payment(lived: Lived) -> None:
    """Whose number another may have at another provider."""
    paid = lived.world.one(wallet_transactions, lived.escrowed)
    of = {"subject": "transaction", "subject_id": lived.released, "payment_id": paid.reference}
    lived.operation(kind="refund", **of, provider="stripe", amount_minor=1, currency="USD")
    assert checked("refunds-are-of-what-was-paid") == {"refunds-are-of-what-was-paid": []}


def test_an_entry_is_held_against_its_own_posting(lived: Lived) -> None:
    """Beside which another, of the same payment, may be in another currency."""
    other = {"wallet_transaction_id": lived.released, "kind": "payout", "currency": "USD"}
    lived.world.add(ledger_postings, {**other, "created_at": NOW})
    assert checked("entries-in-currency") == {"entries-in-currency": []}


def test_of_two_postings_of_a_kind_the_one_that_is_wrong_is_named(lived: Lived) -> None:
    first = lived.of(ledger_postings).id
    a_release_in_another_currency(lived)
    lived.force(
        "UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE line = 1 "
        f"AND wallet_transaction_id = {lived.released}"
    )
    assert [each["id"] for each in checked("postings-balance")["postings-balance"]] == [first]


def a_message_cancelled_while_it_was_claimed(lived: Lived) -> None:
    lived.change(notifications, lived.message, status="cancelled", settled_at=None, claimed_by=1)


def another_paid_last(lived: Lived) -> None:
    (renewal,) = lived.club.renewals(lived.member)
    lived.change(payments, renewal.id, user_id=lived.world.user())


def what_was_paid_last_was_given_back(lived: Lived) -> None:
    (renewal,) = lived.club.renewals(lived.member)
    lived.change(payments, renewal.id, refunded_at=NOW)


def its_plan_is_sold_no_more(lived: Lived) -> None:
    lived.change(plans, lived.club.of(lived.member).plan_id, active=False)


def its_plan_is_renewed_no_more(lived: Lived) -> None:
    lived.change(plans, lived.club.of(lived.member).plan_id, recurring=False)


def it_has_expired(lived: Lived) -> None:
    lived.change(subscriptions, lived.member, status="expired")


@pytest.mark.parametrize(
    "reason",
    [
        another_paid_last,
        what_was_paid_last_was_given_back,
        its_plan_is_sold_no_more,
        its_plan_is_renewed_no_more,
        it_has_expired,
    ],
)
def test_what_is_charged_no_more_need_not_say_when(lived: Lived, reason: Callable[[Lived], None]) -> None:
    reason(lived)
    lived.change(subscriptions, lived.member, next_charge_at=None)
    assert checked("recurring-subscriptions-say-when") == {"recurring-subscriptions-say-when": []}


def a_payment_in_escrow_whose_refund_came_to_nothing(lived: Lived) -> None:
    refund_of(lived, held(lived), status="declined")


def a_second_payment_that_is_being_given_back(lived: Lived) -> None:
    request = lived.world.one(wallet_transactions, lived.released).request_id
    lived.change(wallet_transactions, held(lived), request_id=request, escrow_status="void")
    refund_of(lived, lived.escrowed, status="pending", settled_at=None)


def a_payout(lived: Lived) -> None:
    lived.change(wallet_transactions, held(lived), request_id=None, escrow_status=None)


def a_payment_that_its_provider_tells_nothing_of(lived: Lived) -> None:
    unverified(lived, "payment unverified")


def a_payment_of_which_something_else_was_told(lived: Lived) -> None:
    unverified(lived)


@pytest.mark.parametrize(
    "fact",
    [
        a_payment_in_escrow_whose_refund_came_to_nothing,
        a_second_payment_that_is_being_given_back,
        a_payout,
        a_payment_that_its_provider_tells_nothing_of,
        a_payment_of_which_something_else_was_told,
        an_order_that_a_person_settled,
        a_second_capture_that_is_given_back,
        a_capture_that_its_order_has_not_followed_yet,
        a_capture_that_nobody_wanted,
        an_operation_whose_outcome_is_unknown,
        a_payment_that_was_given_back,
        a_payment_that_is_being_given_back,
        a_charge_that_the_application_heard_of_first,
        a_charge_that_its_subscription_has_not_followed_yet,
        a_payment_for_a_cancelled_subscription,
        a_payment_that_was_found_not_to_be_applied,
        an_order_changed_after_it_was_given_back,
        a_person_who_is_gone_since,
        a_capture_of_what_was_held_for_who_is_gone_since,
        a_renewal_that_was_given_back_to_who_had_cancelled,
        one_that_is_not_to_be_renewed,
        one_whose_last_charge_was_declined,
        one_without_a_saved_method,
        a_release_in_another_currency,
        a_message_cancelled_while_it_was_claimed,
    ],
)
def test_what_may_be_so_breaks_nothing(lived: Lived, fact: Callable[[Lived], None]) -> None:
    fact(lived)
    assert not any(checked().values())
