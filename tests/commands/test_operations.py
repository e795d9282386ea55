"""`jobctl operations list`: what was asked of providers, newest first, all or those of interest."""

import pytest

from jobctl.errors import Exit
from tests.payments import AUTHORIZER, Market
from tests.world import command

NOBODY = "pm_card_visa\x1b[2J\nrm -rf"


@pytest.fixture
def asked(market: Market, environment: None) -> tuple[Market, int, int]:  # noqa: ARG001 (a fixture)
    """Have one order held, and one of which nobody knows."""
    held, unknown = market.order(), market.order()
    market.sandbox.fault("lost_answer", "authorize", contains=f"order-{unknown}.")
    assert market.run(AUTHORIZER).exit_code == Exit.UNKNOWN_OUTCOME
    return market, held, unknown


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["unknown", "succeeded"]),
        (("--limit", "1"), ["unknown"]),
        (("--open",), ["unknown"]),
        (("--subject", "order-1"), ["succeeded"]),
        (("--subject", "order-2"), ["unknown"]),
        (("--subject", "order-1", "--open"), []),
        (("--subject", "subscription-1"), []),
    ],
    ids=str,
)
def test_it_lists_what_is_asked_for(
    asked: tuple[Market, int, int], options: tuple[str, ...], expected: list[str]
) -> None:
    done = command("operations", "list", "--json", *options)
    assert (done.exit_code, [each["status"] for each in done.document]) == (Exit.DONE, expected)
    assert command("operations", "list", *options).exit_code == Exit.DONE
    del asked


def test_a_line_has_what_an_operator_asks_for(asked: tuple[Market, int, int]) -> None:
    market, order, _ = asked
    _, held = command("operations", "list", "--json").document
    (operation,) = market.operations(order)
    assert held["id"] == operation.id
    assert held["subject"] == f"order-{order}"
    assert (held["kind"], held["cycle"], held["amount_minor"], held["currency"]) == (
        "authorize",
        "hold-1",
        4500,
        "USD",
    )
    assert held["payment_id"] == operation.payment_id


@pytest.mark.parametrize("written", ["17", "order", "order-0", "order-x", "Order-1", "order-1x", ""])
def test_a_subject_that_is_none_is_refused(asked: tuple[Market, int, int], written: str) -> None:
    del asked
    done = command("operations", "list", "--subject", written)
    assert (done.exit_code, done.out) == (Exit.USAGE, "")


def test_what_others_wrote_is_one_line_without_control_characters(
    market: Market,
    environment: None,  # noqa: ARG001 (a fixture)
) -> None:
    order = market.order(card=NOBODY)
    shown = market.run(AUTHORIZER, dry_run=True)
    market.run(AUTHORIZER)
    for text in (shown.out, command("why", AUTHORIZER, str(order)).out, command("runs", "show", "1").out):
        assert "\x1b" not in text
        assert "\nrm" not in text
