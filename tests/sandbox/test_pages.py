"""Lists at their worst: short pages, late entries, pages that mislead whoever follows them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import INTENTS, Client, ok
from tests.sandbox.merchant import TRANSACTIONS, Merchant, paid
from tests.sandbox.shop import PAYMENTS, Shop
from tests.sandbox.test_control import control


@dataclass
class Side:
    """One provider, and how its payments are made, listed and looked up."""

    name: str
    make: Callable[[], str]
    page: Callable[..., Any]  # the first one, or that after another
    ids: Callable[[Any], list[str]]
    more: Callable[[Any], dict[str, Any]]  # what asks for the next page; nothing: there is none
    retrieve: Callable[[str], int]


def of_stripe(client: Client) -> Side:
    def more(page: Any) -> dict[str, Any]:
        return {"starting_after": page["data"][-1]["id"]} if page["has_more"] else {}

    return Side(
        "stripe",
        client.charged,
        lambda **after: ok(client.get(INTENTS, limit="100", **after)),
        lambda page: [each["id"] for each in page["data"]],
        more,
        lambda name: client.get(f"{INTENTS}/{name}").status_code,
    )


def of_yookassa(shop: Shop) -> Side:
    def more(page: Any) -> dict[str, Any]:
        return {"cursor": page["next_cursor"]} if "next_cursor" in page else {}

    return Side(
        "yookassa",
        shop.charged,
        lambda **after: ok(shop.get(PAYMENTS, limit="100", **after)),
        lambda page: [each["id"] for each in page["items"]],
        more,
        lambda name: shop.get(f"{PAYMENTS}/{name}").status_code,
    )


def of_paystack(sandbox: Sandbox, paystack: Merchant) -> Side:
    def more(page: Any) -> dict[str, Any]:
        meta = page["meta"]
        return {"page": meta["page"] + 1} if meta["page"] < meta["pageCount"] else {}

    return Side(
        "paystack",
        lambda: paid(sandbox),
        lambda **after: ok(paystack.get(TRANSACTIONS, perPage=100, **after)),
        lambda page: [each["reference"] for each in page["data"]],
        more,
        lambda name: paystack.verify(name).status_code,
    )


@pytest.fixture(params=["stripe", "yookassa", "paystack"])
def side(
    request: pytest.FixtureRequest, sandbox: Sandbox, stripe: Client, shop: Shop, paystack: Merchant
) -> Iterator[Side]:
    if request.param == "stripe":
        yield of_stripe(stripe)
    elif request.param == "yookassa":
        yield of_yookassa(shop)
    else:
        yield of_paystack(sandbox, paystack)


def followed(side: Side) -> list[list[str]]:
    pages = [side.page()]
    while after := side.more(pages[-1]):
        pages.append(side.page(**after))
    return [side.ids(page) for page in pages]


def test_a_page_may_be_shorter_than_asked_for(side: Side, sandbox: Sandbox) -> None:
    made = [side.make() for _ in range(5)][::-1]
    sandbox.conditions(side.name, most=2)
    assert followed(side) == [made[:2], made[2:4], made[4:]]


def test_lists_may_lag(side: Side, sandbox: Sandbox) -> None:
    """An object that is asked for by its id is there at once."""
    before = side.make()
    sandbox.advance(600)
    sandbox.conditions(side.name, lag=120)
    made = side.make()
    assert (followed(side), side.retrieve(made)) == ([[before]], 200)
    sandbox.advance(121)
    assert followed(side) == [[made, before]]


def test_so_may_refunds_and_events(stripe: Client, shop: Shop, paystack: Merchant, sandbox: Sandbox) -> None:
    for each in ("stripe", "yookassa", "paystack"):
        sandbox.conditions(each, lag=120)
    ok(stripe.refund(stripe.charged()))
    ok(shop.refund(shop.charged(), "1.00"))
    paystack.refunded(paid(sandbox))

    def listed() -> list[int]:
        lists = [stripe.get(path) for path in ("/v1/refunds", "/v1/events")]
        lists += [shop.get("/v3/refunds"), paystack.get("/refund")]
        return [len(ok(each).get("data", ok(each).get("items"))) for each in lists]

    assert listed() == [0, 0, 0, 0]
    sandbox.advance(121)
    assert listed() == [1, 2, 1, 1]


def test_others_are_not_concerned(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.conditions("yookassa", lag=120, most=1)
    made = [stripe.charged() for _ in range(2)]
    assert [each["id"] for each in ok(stripe.get(INTENTS))["data"]] == made[::-1]


def test_conditions_over_http(sandbox: Sandbox) -> None:
    said = ok(control(sandbox, "POST", "conditions", {"provider": "stripe", "lag": 120}))
    assert (said["lag"], said["most"]) == (120, None)
    said = ok(control(sandbox, "POST", "conditions", {"provider": "stripe", "most": 3}))
    assert (said["lag"], said["most"]) == (120, 3)
    sandbox.reset()
    assert sandbox.conditions("stripe").lag == 0


@pytest.mark.parametrize("wrong", [{"lag": -1}, {"lag": "soon"}, {"most": 0}, {"most": 1.5}, {"mood": "bad"}])
def test_conditions_that_make_no_sense(sandbox: Sandbox, wrong: dict[str, Any]) -> None:
    refused = control(sandbox, "POST", "conditions", {"provider": "stripe", **wrong})
    assert (refused.status_code, list(refused.json())) == (400, ["error"])


def test_a_page_that_repeats_does_so_until_it_is_told_otherwise(side: Side, sandbox: Sandbox) -> None:
    """What follows it is the same again, and says that there is more."""
    made = [side.make() for _ in range(3)][::-1]
    sandbox.conditions(side.name, most=2)
    sandbox.fault("page_repeats")
    page = side.page()
    for _ in range(4):
        assert side.ids(page) == made[:2]
        again = side.page(**side.more(page))
        assert again == page
        page = again
    sandbox.clear_faults()
    assert followed(side) == [made[:2], made[2:]]


def test_so_does_the_only_page(side: Side, sandbox: Sandbox) -> None:
    side.make()
    sandbox.fault("page_repeats")
    assert side.more(side.page())


def test_one_by_cursor_repeats_too(paystack: Merchant, sandbox: Sandbox) -> None:
    paid(sandbox)
    sandbox.fault("page_repeats")
    cursor = ok(paystack.get(TRANSACTIONS, use_cursor="true"))["meta"]["next"]
    assert ok(paystack.get(TRANSACTIONS, next=cursor))["meta"]["next"] == cursor


@pytest.mark.parametrize("fault", ["page_without_meta", "page_failed"])
def test_a_page_that_does_not_say_whether_there_is_more(side: Side, sandbox: Sandbox, fault: str) -> None:
    side.make()
    whole = side.page()
    sandbox.fault(fault, times=3)
    side.retrieve("no-page")  # of which it is no fault
    page = side.page()
    lost = {"stripe": {"has_more"}, "paystack": {"meta"}, "yookassa": {"items"}}[side.name]
    if fault == "page_without_meta":
        assert whole.keys() - page.keys() == lost
    else:
        assert not any(page[name] for name in ("data", "items", "has_more", "status") if name in page)


def test_paystack_says_that_a_page_failed(paystack: Merchant, sandbox: Sandbox) -> None:
    sandbox.fault("page_failed")
    answer = paystack.get(TRANSACTIONS)
    assert (answer.status_code, answer.json()["status"], answer.json()["data"]) == (200, False, [])


def test_a_page_in_another_order(side: Side, sandbox: Sandbox) -> None:
    made = [side.make() for _ in range(3)]
    sandbox.fault("page_reordered")
    assert side.ids(side.page()) == made
    assert side.ids(side.page()) == made[::-1]


def test_a_refusal_is_no_page(stripe: Client, sandbox: Sandbox) -> None:
    sandbox.fault("page_repeats")
    assert stripe.get(INTENTS, limit="0").status_code == 400
    assert "data" in ok(stripe.get(INTENTS))
