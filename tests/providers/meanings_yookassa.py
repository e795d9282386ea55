"""How YooKassa says what a provider can mean."""

from typing import Any, cast

from jobctl.providers.protocol import Kind
from tests.providers.meanings import CUT, HTML, KEY, Case, everywhere

PAYMENT = "22d6d597-000f-5000-9000-145f6df21d6f"
OTHER = "33d6d597-000f-5000-9000-145f6df21d6f"
ALL = cast(tuple[Kind, ...], ("authorize", "charge", "capture", "release", "refund"))
PAYMENTS = ALL[:-1]
FIRST, NAMING = ALL[:2], ALL[2:]
DONE: dict[Kind, str] = {
    "authorize": "waiting_for_capture",
    "charge": "succeeded",
    "capture": "succeeded",
    "release": "canceled",
}
LACKING = {
    "key in progress": "YooKassa answers 202 or 500 while the first request is under way, and no refusal",
    "unfinished": "a declined payment is canceled for good",
    "refused though it moved": "a refusal there has no payment beside it",
}


def rub(value: str, currency: str = "RUB") -> dict[str, str]:
    return {"value": value, "currency": currency}


def payment(status: str, **changed: Any) -> dict[str, Any]:
    return {
        "id": PAYMENT,
        "status": status,
        "amount": rub("500.00"),
        "paid": status != "canceled",
        "test": True,
        "metadata": {"jobctl_key": KEY},
        "captured_at": "2026-03-02T11:30:00.000Z",
        "refunded_amount": rub("0.00"),
        **changed,
    }


def done(kind: Kind, **changed: Any) -> dict[str, Any]:
    return {**payment(DONE[kind]), **changed}


def refund(**changed: Any) -> dict[str, Any]:
    usual = {"id": "re-1", "payment_id": PAYMENT, "amount": rub("500.00"), "status": "succeeded"}
    return {**usual, "metadata": {"jobctl_key": KEY}, **changed}


def page(*things: Any, **more: Any) -> dict[str, Any]:
    return {"type": "list", "items": list(things), **more}


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "id": "1", "code": code, "description": "no", **more}


def told(kind: Kind, expected: Any, by: str = "", **changed: Any) -> list[Case]:
    """Answer a request and both look-ups with a payment that differs from what was asked for."""
    thing, by = done(kind, **changed), by or ",".join(changed)
    cases = [Case(asked, kind, [(200, thing)], expected, by) for asked in ("send", "look at")]
    if kind in ("authorize", "charge"):
        cases.append(Case("look", kind, [(200, page(thing))], expected, by))
    return cases


def given_back(expected: Any, by: str = "", **changed: Any) -> list[Case]:
    thing = refund(**changed)
    return [
        Case("send", "refund", [(200, thing)], expected, by),
        Case("look", "refund", [(200, page(thing))], expected, by),
    ]


def cancelled(reason: str | None, expected: Any, *kinds: Kind) -> list[Case]:
    details = {"party": "merchant", "reason": reason} if reason else None
    gone = payment("canceled", cancellation_details=details)
    cases = [Case("look at", kind, [(200, gone)], expected, str(reason)) for kind in kinds]
    return [
        *cases,
        Case("send", "capture", [(400, error("invalid_request")), (200, gone)], expected, str(reason)),
    ]


MISSING, REFUSED = error("not_found"), error("invalid_request")
UNREAD = ("Unknown", "unexpected_answer")
RETURNED: Any = ("Mismatched", "refunded_by_hand")
BY_HAND: Any = ("Mismatched", "captured_by_hand")

ASKED: list[tuple[str, Kind, Any]] = [
    ("look", "charge", UNREAD),
    ("look", "refund", UNREAD),
    ("list", "charge", ("closed", 69)),
]

CASES: dict[str, list[Case]] = {
    "key known with other data": [
        Case("send", kind, [(400, body)], ("Unknown", "idempotency_error"), str(n))
        for kind in ALL
        for n, body in enumerate(
            (
                error("invalid_request", parameter="Idempotence-Key"),
                error("invalid_request", description="Idempotence key duplicated"),
            )
        )
    ],
    "already captured": [
        Case("send", "capture", [(400, REFUSED), (200, payment("succeeded"))], ("Succeeded", None)),
        Case(
            "send",
            "capture",
            [(400, REFUSED), (200, payment("succeeded", amount=rub("10.00")))],
            ("Mismatched", "other_amount"),
            "in part",
        ),
        Case("look at", "capture", [(200, payment("succeeded"))], ("Succeeded", None)),
        Case("send", "release", [(400, REFUSED), (200, payment("succeeded"))], BY_HAND),
        Case("look at", "release", [(200, payment("succeeded"))], BY_HAND),
        Case("look at", "authorize", [(200, payment("succeeded"))], BY_HAND),
    ],
    "given back by hand after it was captured": [
        *told("charge", RETURNED, "all", refunded_amount=rub("500.00")),
        *told("charge", RETURNED, "some", refunded_amount=rub("10.00")),
        *told("capture", RETURNED, "all", refunded_amount=rub("500.00")),
        *told("capture", RETURNED, "some", refunded_amount=rub("10.00")),
        Case(
            "send",
            "capture",
            [(400, REFUSED), (200, payment("succeeded", refunded_amount=rub("500.00")))],
            RETURNED,
            "refused",
        ),
    ],
    "cancelled by us": [
        Case("send", "release", [(400, REFUSED), (200, payment("canceled"))], ("Succeeded", None)),
        Case("look at", "release", [(200, payment("canceled"))], ("Succeeded", None)),
    ],
    "cancelled by a person": [
        *cancelled(
            "canceled_by_merchant", ("Mismatched", "cancelled_by_hand"), "authorize", "charge", "capture"
        ),
        *cancelled("fraud_suspected", ("Mismatched", "cancelled_by_hand"), "capture"),
        *cancelled("from_next_year", ("Mismatched", "cancelled_by_hand"), "capture"),
        *cancelled(None, ("Mismatched", "cancelled_by_hand"), "capture"),
    ],
    "lapsed": cancelled("expired_on_capture", ("Declined", "hold_ended"), "authorize", "capture"),
    "already refunded": [
        Case(
            "send",
            "refund",
            [(400, REFUSED), (200, payment("succeeded", refunded_amount=rub("500.00")))],
            ("Succeeded", None),
        )
    ],
    "partly refunded by a person": [
        Case(
            "send",
            "refund",
            [(400, REFUSED), (200, payment("succeeded", refunded_amount=rub("0.01")))],
            ("Mismatched", "refunded_by_hand"),
        ),
        Case(
            "send", "refund", [(400, REFUSED), (200, payment("succeeded"))], ("Rejected", "invalid_request")
        ),
    ],
    "other amount": [
        *(
            case
            for kind in PAYMENTS[:3]
            for case in told(kind, ("Mismatched", "other_amount"), amount=rub("0.01"))
        ),
        *(
            case
            for odd in ("500.001", "5e2", "-500.00", 500, 500.0, "", "\uff11")
            for case in told("charge", UNREAD, str(odd), amount={"value": odd, "currency": "RUB"})
        ),
        *given_back(("Mismatched", "other_amount"), amount=rub("0.01")),
    ],
    "other currency": [
        *(
            case
            for kind in PAYMENTS[:3]
            for case in told(kind, ("Mismatched", "other_currency"), amount=rub("500.00", "USD"))
        ),
        *told("charge", UNREAD, "not of the list", amount=rub("500.00", "JPY")),
        *given_back(("Mismatched", "other_currency"), amount=rub("500.00", "USD")),
    ],
    "other id": [
        *(
            Case(asked, kind, [(200, done(kind, id=OTHER))], ("Mismatched", "other_payment"))
            for kind in PAYMENTS
            for asked in ("send", "look at")
            if asked == "look at" or kind in ("capture", "release")
        ),
        *given_back(("Mismatched", "other_payment"), payment_id=OTHER),
        Case("retrieve", "charge", [(200, payment("succeeded", id=OTHER))], ("Mismatched", "other_payment")),
    ],
    "other mode": [
        *(case for kind in PAYMENTS for case in told(kind, ("Mismatched", "other_mode"), test=False)),
        Case("retrieve", "charge", [(200, payment("succeeded", test=False))], ("Mismatched", "other_mode")),
    ],
    "other reference": [
        *(
            Case(
                asked,
                kind,
                [(200, done(kind, metadata={"jobctl_key": "x"}))],
                ("Mismatched", "other_reference"),
            )
            for kind in FIRST
            for asked in ("send", "look at")
        ),
        given_back(("Mismatched", "other_reference"), metadata={"jobctl_key": "x"})[0],
    ],
    "not paid": [
        *(
            case
            for kind in PAYMENTS[:3]
            for paid in (False, None, "false")
            for case in told(kind, ("Unknown", "unpaid"), paid=paid)
        ),
        Case("retrieve", "charge", [(200, payment("succeeded", paid=False))], UNREAD),
        Case("retrieve", "charge", [(200, payment("succeeded", paid="false"))], UNREAD),
    ],
    "not found": [
        *(
            Case(asked, kind, [(404, MISSING)], expected)
            for kind in FIRST
            for asked, expected in (
                ("send", ("Rejected", "not_found")),
                ("look", ("Unknown", None)),
                ("look at", ("NotFound", None)),
            )
        ),
        *everywhere(NAMING, [(404, MISSING)], ("NotFound", None), ("NotFound", None), ("NotFound", None)),
    ],
    "not found in a gateway's form": [
        case
        for body in (HTML, {"message": "Route not found"}, error("no_route"))
        for case in everywhere(ALL, [(404, body)], ("Rejected", 78), ("Unknown", 78), ("closed", 78))
    ],
    "other account": [Case("retrieve", "charge", [(404, MISSING)], ("NotFound", None))],
    "wrong key": everywhere(
        ALL, [(401, error("invalid_credentials"))], ("Rejected", 78), ("Unknown", 78), ("closed", 78)
    ),
    "rate limit": everywhere(
        ALL,
        [(429, error("too_many_requests"))],
        ("Rejected", "too_many_requests"),
        ("Unknown", None),
        ("closed", 69),
    ),
    "down": everywhere(ALL, [(503, HTML)], ("Unknown", None), ("Unknown", None), ("closed", 69)),
    "unreadable": everywhere(ALL, [(200, HTML)], ("Unknown", None), ("Unknown", None), ("Unknown", None)),
    "cut short": everywhere(ALL, [(200, CUT)], ("Unknown", None), ("Unknown", None), ("Unknown", None)),
    "unknown status": [
        *(case for kind in PAYMENTS for case in told(kind, UNREAD, status="from_next_year")),
        *given_back(UNREAD, status="from_next_year"),
        Case("retrieve", "charge", [(200, payment("from_next_year"))], UNREAD),
        Case("retrieve", "charge", [(200, {**payment("succeeded"), "status": "succeeded\0"})], UNREAD, "nul"),
    ],
    **{
        meaning: [
            *(case for kind in PAYMENTS for case in told(kind, UNREAD, id=odd)),
            *given_back(UNREAD, payment_id=odd),
            *(
                Case("retrieve", "charge", [(200, payment(status, id=odd))], UNREAD, status)
                for status in ("succeeded", "canceled", "pending")
            ),
        ]
        for meaning, odd in (("too long id", "p" * 256), ("empty id", ""), ("id of wrong type", ["a"]))
    },
    "list incomplete": [
        Case(asked, kind, [(200, body)], expected, str(n))
        for n, body in enumerate(
            ({"items": []}, {"type": "list"}, page(next_cursor=7), page(next_cursor="c"))
        )
        for asked, kind, expected in ASKED
    ],
    "list repeated": [
        Case(asked, "charge", [(200, page(payment("succeeded", metadata={}), next_cursor="c"))], expected)
        for asked, expected in (("look", UNREAD), ("list", ("closed", 69)))
    ],
    "two under one key": [
        Case(
            "look",
            "charge",
            [(200, page(payment("succeeded"), payment("succeeded", id=OTHER)))],
            ("Mismatched", "twice"),
        ),
        *(
            Case("look", "charge", [(200, page(*things))], ("Succeeded", None), by)
            for by, things in (
                ("older", (payment("canceled", id=OTHER), payment("succeeded"))),
                ("newer", (payment("succeeded"), payment("canceled", id=OTHER))),
            )
        ),
        Case("look", "refund", [(200, page(refund(), refund(id="re-2")))], ("Mismatched", "twice")),
    ],
}
