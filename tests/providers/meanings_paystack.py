"""How Paystack says what a provider can mean; it is asked for refunds alone."""

from typing import Any, cast

from jobctl.providers.protocol import Kind
from tests.providers.meanings import CUT, HTML, KEY, Case, everywhere

PAYMENT = "ref-1"
ALL = cast(tuple[Kind, ...], ("refund",))
NO_KEYS, NO_HOLDS = "Paystack knows of no idempotency keys", "nothing is held, captured or released there"
LACKING = {
    "key known with other data": NO_KEYS,
    "key in progress": NO_KEYS,
    "already captured": NO_HOLDS,
    "given back by hand after it was captured": NO_HOLDS,
    "cancelled by us": NO_HOLDS,
    "cancelled by a person": NO_HOLDS,
    "lapsed": NO_HOLDS,
    "not paid": "a transaction's status is all that it tells",
    "unfinished": "nothing is charged there",
    "refused though it moved": "nothing is charged there",
}
PARTS = {"amount": 50_000, "currency": "NGN", "domain": "test"}


def good(data: Any, **more: Any) -> dict[str, Any]:
    return {"status": True, "message": "yes", "data": data, **more}


def bad(message: str, **more: Any) -> dict[str, Any]:
    return {"status": False, "message": message, **more}


def transaction(status: str = "success", **changed: Any) -> dict[str, Any]:
    paid_at = "2026-03-02T11:30:00.000Z"
    return {"id": 7, "reference": PAYMENT, "status": status, "paid_at": paid_at, **PARTS, **changed}


def refund(**changed: Any) -> dict[str, Any]:
    usual = {"id": 1, "transaction": {"id": 7, "reference": PAYMENT}, "status": "processed"}
    return {**usual, **PARTS, "merchant_note": KEY, **changed}


def page(*things: Any, number: int = 1, of: int = 1, total: int | None = None) -> dict[str, Any]:
    meta = {"total": len(things) if total is None else total, "page": number, "pageCount": of, "perPage": 100}
    return good(list(things), meta=meta)


def given_back(expected: Any, by: str = "", **changed: Any) -> list[Case]:
    thing = refund(**changed)
    return [
        Case("send", "refund", [(200, good(thing))], expected, by),
        Case("look", "refund", [(200, page(thing))], expected, by),
    ]


def verified(expected: Any, by: str = "", **changed: Any) -> Case:
    return Case("retrieve", "charge", [(200, good(transaction(**changed)))], expected, by)


REVERSED = (400, bad("Transaction has been fully reversed"))
MISSING = bad("Transaction reference not found.")
UNREAD = ("Unknown", "unexpected_answer")
THEIRS = page(refund(amount=1, merchant_note="by hand", transaction=7))
ELSES = page(refund(amount=1, merchant_note="by hand", transaction=8))

SHORT: list[list[tuple[int, Any]]] = [
    [(200, good([]))],
    [(200, bad("no", data=[], meta={"total": 0, "page": 1, "pageCount": 1}))],
    [(200, page(total=3))],
    [(200, page(number=1, of=2)), (503, HTML)],
]

CASES: dict[str, list[Case]] = {
    "already refunded": [
        Case("send", "refund", [REVERSED, (200, good(transaction("reversed")))], ("Succeeded", None)),
        Case(
            "send",
            "refund",
            [REVERSED, (200, good(transaction("reversed", amount=60_000)))],
            ("Mismatched", "other_amount"),
            "more than ours",
        ),
        Case(
            "send",
            "refund",
            [REVERSED, (200, good(transaction())), (200, page(refund(status="pending", merchant_note="x")))],
            ("Pending", None),
            "not done yet",
        ),
    ],
    "partly refunded by a person": [
        Case(
            "send",
            "refund",
            [(400, bad("no")), (200, good(transaction())), (200, THEIRS)],
            ("Mismatched", "refunded_by_hand"),
        ),
        Case(
            "send",
            "refund",
            [(400, bad("no")), (200, good(transaction())), (200, ELSES)],
            ("Rejected", "http_400"),
            "of another one",
        ),
    ],
    "other amount": [
        *given_back(("Mismatched", "other_amount"), amount=1),
        *(
            case
            for odd in ("50000", 50_000.0, True, -1, 10**19)
            for case in given_back(UNREAD, str(odd), amount=odd)
        ),
        *(verified(UNREAD, str(odd), amount=odd) for odd in ("50000", 50_000.0, True, -1)),
    ],
    "other currency": [
        *given_back(("Mismatched", "other_currency"), currency="GHS"),
        *given_back(UNREAD, "not of the list", currency="XOF"),
        verified(UNREAD, currency="XOF"),
    ],
    "other id": [
        *given_back(("Mismatched", "other_payment"), transaction={"id": 8, "reference": "ref-2"}),
        *given_back(
            ("Mismatched", "other_payment"), "reference", transaction=8, transaction_reference="ref-2"
        ),
        *(
            verified(("Mismatched", "other_payment"), status, status=status, reference="OTHER")
            for status in ("success", "failed", "reversed", "abandoned")
        ),
    ],
    "other mode": [
        *given_back(("Mismatched", "other_mode"), domain="live"),
        verified(("Mismatched", "other_mode"), domain="live"),
    ],
    "other reference": given_back(("Mismatched", "other_reference"), merchant_note="another")[:1],
    "not found": [
        *(
            Case("retrieve", "charge", [(status, body)], ("NotFound", None), f"{status}")
            for status in (400, 404)
            for body in (MISSING, bad("no", code="transaction_not_found"))
        ),
        Case("send", "refund", [(404, bad("Transaction not found"))], ("Rejected", "http_404")),
        *(
            Case("send", "refund", [(status, body)], ("NotFound", None), f"{status}")
            for status in (400, 404)
            for body in (MISSING, bad("no", code="transaction_not_found"))
        ),
    ],
    "not found in a gateway's form": [
        *(
            case
            for body in (HTML, {"message": "Route not found"}, {"message": "Transaction reference not found"})
            for case in everywhere(ALL, [(404, body)], ("Rejected", 78), ("Unknown", 78), ("closed", 78))
        ),
        *(
            Case("retrieve", "charge", [(400, body)], ("Unknown", "http_400"))
            for body in (HTML, bad("Route not found"), {"message": "Transaction reference not found"})
        ),
    ],
    "other account": [Case("retrieve", "charge", [(400, MISSING)], ("NotFound", None))],
    "wrong key": everywhere(
        ALL, [(401, bad("Invalid key"))], ("Rejected", 78), ("Unknown", 78), ("closed", 78)
    ),
    "rate limit": everywhere(
        ALL, [(429, bad("slow"))], ("Rejected", "http_429"), ("Unknown", None), ("closed", 69)
    ),
    "down": everywhere(ALL, [(503, HTML)], ("Unknown", None), ("Unknown", None), ("closed", 69)),
    "unreadable": everywhere(ALL, [(200, HTML)], ("Unknown", None), ("Unknown", None), ("Unknown", None)),
    "cut short": everywhere(ALL, [(200, CUT)], ("Unknown", None), ("Unknown", None), ("Unknown", None)),
    "unknown status": [
        *given_back(UNREAD, status="from_next_year"),
        verified(UNREAD, status="from_next_year"),
        verified(UNREAD, "nul", status="success\0"),
    ],
    **{
        meaning: [
            *given_back(UNREAD, transaction={"id": 7, "reference": odd}),
            *(
                verified(UNREAD, status, status=status, reference=odd)
                for status in ("success", "failed", "abandoned")
            ),
        ]
        for meaning, odd in (("too long id", "p" * 256), ("empty id", ""), ("id of wrong type", {"a": 1}))
    },
    "list incomplete": [
        Case(asked, "refund", answers, expected, str(n))
        for n, answers in enumerate(SHORT)
        for asked, expected in (("look", ("Unknown", None)), ("list", ("closed", 69)))
    ],
    "list repeated": [
        Case(asked, "refund", [(200, page(thing, number=1, of=2, total=2))], expected)
        for asked, thing, expected in (
            ("look", refund(merchant_note="x"), UNREAD),
            ("list", transaction(), ("closed", 69)),
        )
    ],
    "two under one key": [
        Case("look", "refund", [(200, page(refund(), refund(id=2)))], ("Mismatched", "twice")),
        Case("look", "refund", [(200, page(refund(id=2, status="failed"), refund()))], ("Succeeded", None)),
    ],
}
