"""Listing YooKassa's payments and refunds: newest first, in pages, between two instants."""

from datetime import datetime, timedelta

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import ok
from tests.sandbox.shop import PAYMENTS, REFUNDS, Shop, refused, rub
from tests.world import NOW


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def spaced(sandbox: Sandbox, count: int) -> list[str]:
    """Let one be paid in each of the last minutes; return the payments, oldest first."""
    ends = [NOW - timedelta(minutes=n) for n in reversed(range(count))]
    return [sandbox.pay("yookassa", 100, "RUB", at=at) for at in ends]


def test_the_newest_come_first(shop: Shop) -> None:
    """Those of the same millisecond too."""
    made = [shop.charged() for _ in range(5)]
    page = ok(shop.get(PAYMENTS))
    assert (page["type"], [each["id"] for each in page["items"]]) == ("list", made[::-1])
    assert page["items"][0] == shop.payment(made[4])


def test_one_of_the_past_has_its_place_among_them(shop: Shop, sandbox: Sandbox) -> None:
    oldest, newest = spaced(sandbox, 2)
    between = sandbox.pay("yookassa", 100, "RUB", at=NOW - timedelta(seconds=30))
    assert shop.listed() == [newest, between, oldest]


def test_page_by_page(shop: Shop) -> None:
    made = [shop.charged() for _ in range(5)]
    pages, cursor = [], dict[str, str]()
    while True:
        page = ok(shop.get(PAYMENTS, limit="2", **cursor))
        pages.append([each["id"] for each in page["items"]])
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
        shop.charged()  # what is new meanwhile moves nothing
    assert pages == [[made[4], made[3]], [made[2], made[1]], [made[0]]]


def test_a_last_page_that_is_full_has_no_cursor(shop: Shop) -> None:
    for _ in range(2):
        shop.charged()
    page = ok(shop.get(PAYMENTS, limit="2"))
    assert (len(page["items"]), "next_cursor" in page) == (2, False)


def test_ten_unless_told_otherwise(shop: Shop) -> None:
    for _ in range(11):
        shop.charged()
    page = ok(shop.get(PAYMENTS))
    assert (len(page["items"]), "next_cursor" in page) == (10, True)
    assert len(shop.listed(limit="100")) == 11


def test_by_the_time_of_creation(shop: Shop, sandbox: Sandbox) -> None:
    first, second, third = spaced(sandbox, 3)
    at = stamp(NOW - timedelta(minutes=1))
    assert shop.listed(**{"created_at.gte": at}) == [third, second]
    assert shop.listed(**{"created_at.gt": at}) == [third]
    assert shop.listed(**{"created_at.lt": at}) == [first]
    assert shop.listed(**{"created_at.lte": at}) == [second, first]
    assert shop.listed(**{"created_at.gte": at, "created_at.lt": at}) == []


def test_by_the_time_of_capture(shop: Shop, sandbox: Sandbox) -> None:
    """One that was made before the window is found by when it was captured, and only so."""
    early = sandbox.pay(
        "yookassa", 100, "RUB", at=NOW - timedelta(days=2), captured_at=NOW - timedelta(hours=1)
    )
    shop.held()
    at = stamp(NOW - timedelta(hours=1))
    assert shop.listed(**{"captured_at.gte": at, "captured_at.lt": stamp(NOW)}) == [early]
    assert shop.listed(**{"captured_at.gt": at}) == []
    assert shop.listed(**{"captured_at.lte": at}) == [early]
    assert early not in shop.listed(**{"created_at.gte": at})


def test_what_it_says_of_its_time_finds_it(shop: Shop) -> None:
    found = ok(shop.charge())
    for name in ("created_at", "captured_at"):
        at = found[name]
        assert shop.listed(**{f"{name}.gte": at, f"{name}.lte": at}) == [found["id"]]
        assert shop.listed(**{f"{name}.gt": at}) == shop.listed(**{f"{name}.lt": at}) == []


def test_an_instant_may_be_of_another_offset(shop: Shop) -> None:
    made = shop.charged()
    assert shop.listed(**{"created_at.gte": "2026-03-02T15:00:00+03:00"}) == [made]
    assert shop.listed(**{"created_at.gte": "2026-03-02T15:00:00-03:00"}) == []


def test_by_status(shop: Shop) -> None:
    made = {
        "succeeded": shop.charged(),
        "waiting_for_capture": shop.held(),
        "canceled": shop.charged(payment_method_id="pm_yk_card_expired"),
        "pending": shop.charged(payment_method_id="pm_yk_pending_succeeds"),
    }
    assert {status: shop.listed(status=status) for status in made} == {
        status: [payment] for status, payment in made.items()
    }


def test_three_years_back(shop: Shop, sandbox: Sandbox) -> None:
    shop.charged()
    sandbox.advance(3 * 366 * 86_400)
    assert shop.listed() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "many"),
        ("cursor", "37a5c87d-3984-51e8-a7f3-8de646d39ec1"),
        ("status", "paid"),
        ("created_at.gte", "yesterday"),
        ("created_at.gte", "2026-03-02T12:00:00"),
        ("captured_at.since", "2026-03-02T12:00:00Z"),
        ("starting_after", "x"),
    ],
)
def test_what_makes_no_sense(shop: Shop, name: str, value: str) -> None:
    assert refused(shop.get(PAYMENTS, **{name: value})) == (400, "invalid_request", name)


def test_a_cursor_goes_on_with_its_own_list_only(shop: Shop, sandbox: Sandbox) -> None:
    spaced(sandbox, 3)
    since = {"created_at.gte": stamp(NOW - timedelta(hours=1))}
    cursor = ok(shop.get(PAYMENTS, limit="1", **since))["next_cursor"]
    assert len(shop.listed(cursor=cursor, limit="2", **since)) == 2
    assert refused(shop.get(PAYMENTS, cursor=cursor)) == (400, "invalid_request", "cursor")


class TestRefunds:
    def test_of_one_payment(self, shop: Shop) -> None:
        mine, yours = shop.charged(), shop.charged()
        made = [ok(shop.refund(each, "1.00"))["id"] for each in (mine, yours, mine)]
        assert shop.listed(REFUNDS) == made[::-1]
        assert shop.listed(REFUNDS, payment_id=mine) == [made[2], made[0]]
        page = ok(shop.get(REFUNDS, payment_id=mine, limit="1"))
        rest = ok(shop.get(REFUNDS, payment_id=mine, limit="1", cursor=page["next_cursor"]))
        assert [each["id"] for each in rest["items"]] == [made[0]]
        assert (rest["items"][0]["amount"], "next_cursor" in rest) == (rub("1.00"), False)

    def test_by_time(self, shop: Shop, sandbox: Sandbox) -> None:
        payment = shop.charged()
        ok(shop.refund(payment, "1.00"))
        sandbox.advance(3600)
        later = ok(shop.refund(payment, "1.00"))["id"]
        since = {"created_at.gte": stamp(NOW + timedelta(minutes=30))}
        assert shop.listed(REFUNDS, **since) == [later]
