"""Listing intents: newest first, in pages, between two instants."""

from datetime import datetime, timedelta

from jobctl.sandbox import Sandbox
from tests.sandbox.client import INTENTS, Client, ok, said
from tests.world import NOW


def spaced(stripe: Client, sandbox: Sandbox, count: int) -> list[str]:
    """Hold once a minute from NOW on; return the intents, oldest first."""
    made = []
    for n in range(count):
        sandbox.set_clock(NOW + timedelta(minutes=n))
        made.append(stripe.held())
    return made


def stamp(at: datetime) -> str:
    return str(int(at.timestamp()))


def listed(stripe: Client, **parameters: str) -> list[str]:
    return [each["id"] for each in ok(stripe.get(INTENTS, **parameters))["data"]]


def test_the_newest_come_first(stripe: Client) -> None:
    """Those of the same second too."""
    made = [stripe.held() for _ in range(5)]
    assert listed(stripe) == made[::-1]


def test_page_by_page(stripe: Client) -> None:
    made = [stripe.held() for _ in range(5)]
    pages, after = [], dict[str, str]()
    while True:
        page = ok(stripe.get(INTENTS, limit="2", **after))
        pages.append([each["id"] for each in page["data"]])
        if not page["has_more"]:
            break
        after = {"starting_after": pages[-1][-1]}
    assert pages == [[made[4], made[3]], [made[2], made[1]], [made[0]]]


def test_a_last_page_that_is_full_has_no_more(stripe: Client) -> None:
    made = [stripe.held() for _ in range(2)]
    page = ok(stripe.get(INTENTS, limit="2"))
    assert (len(page["data"]), page["has_more"]) == (len(made), False)


def test_ten_unless_told_otherwise(stripe: Client) -> None:
    for _ in range(11):
        stripe.held()
    page = ok(stripe.get(INTENTS))
    assert (len(page["data"]), page["has_more"]) == (10, True)
    assert len(listed(stripe, limit="100")) == 11


def test_the_limit_is_from_1_to_100(stripe: Client) -> None:
    for limit in ("0", "101", "many"):
        assert said(stripe.get(INTENTS, limit=limit)) == (400, "parameter_invalid_integer", "limit")


def test_between_two_instants(stripe: Client, sandbox: Sandbox) -> None:
    first, second, third = spaced(stripe, sandbox, 3)
    at = stamp(NOW + timedelta(minutes=1))
    assert listed(stripe, **{"created[gte]": at}) == [third, second]
    assert listed(stripe, **{"created[gt]": at}) == [third]
    assert listed(stripe, **{"created[lt]": at}) == [first]
    assert listed(stripe, **{"created[lte]": at}) == [second, first]
    assert listed(stripe, **{"created[gte]": at, "created[lt]": at}) == []
    both = {"created[gte]": stamp(NOW), "created[lt]": stamp(NOW + timedelta(minutes=2))}
    assert listed(stripe, **both) == [second, first]
    assert listed(stripe, starting_after=second, **both) == [first]


def test_of_one_customer(stripe: Client) -> None:
    mine = stripe.held(customer="cus_mine")
    stripe.held(customer="cus_yours")
    assert listed(stripe, customer="cus_mine") == [mine]


def test_with_their_charges(stripe: Client) -> None:
    stripe.held()
    (found,) = ok(stripe.get(INTENTS, **{"expand[0]": "data.latest_charge"}))["data"]
    assert found["latest_charge"]["payment_method_details"]["card"]["capture_before"] > found["created"]


def test_what_is_no_filter_is_refused(stripe: Client) -> None:
    assert said(stripe.get(INTENTS, status="succeeded")) == (400, "parameter_unknown", "status")
    assert said(stripe.get(INTENTS, **{"created[since]": "1"})) == (
        400,
        "parameter_unknown",
        "created[since]",
    )
