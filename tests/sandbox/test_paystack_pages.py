"""Paystack's pages: by number or by cursor, and never more than fifty entries."""

import pytest

from jobctl.sandbox import Sandbox
from tests.sandbox.client import ok
from tests.sandbox.merchant import TRANSACTIONS, Merchant, paid
from tests.sandbox.test_paystack import spaced


@pytest.mark.parametrize("asked", [{}, {"perPage": 100}, {"per_page": 1000}])
def test_fifty_whatever_is_asked_for(paystack: Merchant, sandbox: Sandbox, asked: dict[str, int]) -> None:
    """Asked for more, it gives no more and doesn't complain."""
    made = spaced(sandbox, 51)[::-1]
    answer = ok(paystack.get(TRANSACTIONS, **asked))
    assert answer["meta"] == {"total": 51, "skipped": 0, "perPage": 50, "page": 1, "pageCount": 2}
    assert [each["reference"] for each in answer["data"]] == made[:50]
    assert paystack.listed(TRANSACTIONS, page=2, **asked) == made[50:]


@pytest.mark.parametrize("name", ["perPage", "per_page"])
def test_the_size_of_a_page_has_two_names(paystack: Merchant, sandbox: Sandbox, name: str) -> None:
    made = spaced(sandbox, 3)
    assert paystack.listed(TRANSACTIONS, **{name: 2}) == made[:0:-1]


def test_by_cursor(paystack: Merchant, sandbox: Sandbox) -> None:
    """What is new meanwhile moves nothing."""
    made, cursor = spaced(sandbox, 5)[::-1], dict[str, str | None]()
    pages: list[list[str]] = []
    for _ in range(3):
        answer = ok(paystack.get(TRANSACTIONS, use_cursor="true", perPage=2, **cursor))
        pages.append([each["reference"] for each in answer["data"]])
        assert answer["meta"].keys() == {"next", "previous", "perPage"}
        cursor = {"next": answer["meta"]["next"]}
        paid(sandbox)
    assert (pages, cursor) == ([made[:2], made[2:4], made[4:]], {"next": None})
