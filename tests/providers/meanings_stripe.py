"""How Stripe says what a provider can mean."""

from typing import Any, cast

from jobctl.providers.protocol import Kind
from tests.providers.meanings import CUT, HTML, KEY, Case, everywhere

PAYMENT = "pi_1"
ALL = cast(tuple[Kind, ...], ("authorize", "charge", "capture", "release", "refund"))
INTENTS = ALL[:-1]
FIRST, NAMING = ALL[:2], ALL[2:]
DONE: dict[Kind, str] = {
    "authorize": "requires_capture",
    "charge": "succeeded",
    "capture": "succeeded",
    "release": "canceled",
}
LACKING = {"not paid": "an intent that succeeded is paid; what was received is its amount_received"}


def intent(status: str, **changed: Any) -> dict[str, Any]:
    held, paid = status == "requires_capture", status == "succeeded"
    return {
        "id": PAYMENT,
        "status": status,
        "amount": 50_000,
        "amount_capturable": 50_000 * held,
        "amount_received": 50_000 * paid,
        "currency": "usd",
        "livemode": False,
        "metadata": {"jobctl_key": KEY},
        "created": 1_772_452_800,
        "latest_charge": {"created": 1_772_452_800, "amount_refunded": 0},
        **changed,
    }


def refund(**changed: Any) -> dict[str, Any]:
    usual = {"id": "re_1", "payment_intent": PAYMENT, "amount": 50_000, "currency": "usd"}
    return {**usual, "status": "succeeded", "metadata": {"jobctl_key": KEY}, **changed}


def page(*things: Any, more: bool = False) -> dict[str, Any]:
    return {"object": "list", "data": list(things), "has_more": more}


def error(kind: str, code: str | None = None, **more: Any) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code, "message": "no", **more}}


def done(kind: Kind, **changed: Any) -> dict[str, Any]:
    return {**intent(DONE[kind]), **changed}


def told(kind: Kind, expected: Any, by: str = "", **changed: Any) -> list[Case]:
    """Answer a request and both look-ups with an intent that differs from what was asked for."""
    thing = done(kind, **changed)
    by = by or ",".join(changed)
    cases = [
        Case("send", kind, [(200, thing)], expected, by),
        Case("look at", kind, [(200, thing)], expected, by),
    ]
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
    gone = intent("canceled", cancellation_reason=reason)
    by = str(reason)
    refused = error("invalid_request_error", "payment_intent_unexpected_state", payment_intent=gone)
    return [
        *(Case("look at", kind, [(200, gone)], expected, by) for kind in kinds),
        *(
            Case("send", kind, [(400, refused), (200, gone)], expected, by)
            for kind in kinds
            if kind == "capture"
        ),
    ]


HOLDING = cast(tuple[Kind, ...], ("authorize", "charge"))
HELD = cast(tuple[Kind, ...], ("authorize", "capture"))
MISSING = error("invalid_request_error", "resource_missing", param="intent")
REFUSED = error("invalid_request_error", "charge_already_refunded")
CAPTURED = error(
    "invalid_request_error",
    "payment_intent_unexpected_state",
    payment_intent=intent("succeeded", amount_received=1_000),
)
BACK = {"created": 1_772_452_800, "amount_refunded": 50_000}
PARTLY = {"created": 1_772_452_800, "amount_refunded": 1_000}
RETURNED = ("Mismatched", "refunded_by_hand")
ALL_CAPTURED = error(
    "invalid_request_error", "payment_intent_unexpected_state", payment_intent=intent("succeeded")
)
# What was not captured of a hold counts as given back.
IN_PART = {"amount": 60_000, "amount_captured": 50_000, "amount_refunded": 10_000}
UNREAD = ("Unknown", "unexpected_answer")
OPEN = intent("requires_payment_method")
LONG = "p" * 256
REPEATED = [(200, page(intent("processing", metadata={}), more=True))]

ASKED: list[tuple[str, Kind, Any]] = [
    ("look", "charge", UNREAD),
    ("look", "refund", UNREAD),
    ("list", "charge", ("closed", 69)),
]


def refused(status: Any) -> dict[str, Any]:
    """Decline, beside an intent in that state."""
    return error(
        "card_error", "card_declined", decline_code="insufficient_funds", payment_intent=intent(status)
    )


CASES: dict[str, list[Case]] = {
    "refused though it moved": [
        *(
            Case("send", kind, [(402, refused(status))], ("Pending", None), status)
            for kind in HOLDING
            for status in ("requires_capture", "processing", "succeeded")
        ),
        Case(
            "send",
            "charge",
            [(400, {"error": refused("succeeded")["error"] | {"type": "x"}})],
            ("Pending", None),
        ),
        Case("send", "capture", [(402, refused("succeeded"))], ("Succeeded", None)),
        Case("send", "capture", [(402, refused("processing"))], ("Pending", None)),
        Case("send", "capture", [(402, refused("requires_capture"))], ("Declined", "insufficient_funds")),
        Case(
            "send", "charge", [(402, refused(["succeeded"]))], ("Declined", "insufficient_funds"), "no status"
        ),
    ],
    "key known with other data": [
        Case("send", kind, [(400, error("idempotency_error"))], ("Unknown", "idempotency_error"))
        for kind in ALL
    ],
    "key in progress": [
        Case("send", kind, [(409, error("x", "idempotency_key_in_use"))], ("Unknown", "http_409"))
        for kind in ALL
    ],
    "already captured": [
        Case(
            "send",
            "capture",
            [(400, CAPTURED), (200, intent("succeeded", amount_received=1_000))],
            ("Mismatched", "other_amount"),
            "in part",
        ),
        Case("send", "capture", [(400, CAPTURED), (500, {})], ("Unknown", "unproved"), "cannot be looked at"),
        Case(
            "send",
            "capture",
            [(400, error("invalid_request_error", "charge_already_captured")), (200, intent("succeeded"))],
            ("Succeeded", None),
        ),
        Case("look at", "capture", [(200, intent("succeeded"))], ("Succeeded", None)),
        Case("send", "release", [(400, CAPTURED)], ("Mismatched", "captured_by_hand")),
        Case("look at", "release", [(200, intent("succeeded"))], ("Mismatched", "captured_by_hand")),
        Case("look at", "authorize", [(200, intent("succeeded"))], ("Mismatched", "captured_by_hand")),
    ],
    "given back by hand after it was captured": [
        *told("charge", RETURNED, "all", latest_charge=BACK),
        *told("charge", RETURNED, "some", latest_charge=PARTLY),
        *told("capture", RETURNED, "all", latest_charge=BACK),
        *told("capture", RETURNED, "some", latest_charge=PARTLY),
        *told("capture", ("Succeeded", None), "released", latest_charge=IN_PART),
        Case(
            "send",
            "capture",
            [(400, ALL_CAPTURED), (200, intent("succeeded", latest_charge=BACK))],
            RETURNED,
            "refused",
        ),
    ],
    "cancelled by us": [
        Case(
            "send",
            "release",
            [
                (400, error("invalid_request_error", "payment_intent_unexpected_state")),
                (200, intent("canceled", cancellation_reason="abandoned")),
            ],
            ("Succeeded", None),
        ),
        Case("look at", "release", [(200, intent("canceled"))], ("Succeeded", None)),
    ],
    "cancelled by a person": [
        case
        for reason in (
            "fraudulent",
            "requested_by_customer",
            "abandoned",
            "duplicate",
            "from_next_year",
            None,
        )
        for case in cancelled(reason, ("Mismatched", "cancelled_by_hand"), *HELD)
    ],
    "lapsed": [
        *cancelled("automatic", ("Declined", "hold_ended"), *HELD),
        *cancelled("expired", ("Declined", "hold_ended"), *HELD),
        Case(
            "send",
            "capture",
            [(400, error("invalid_request_error", "charge_expired_for_capture"))],
            ("Declined", "hold_ended"),
            "code",
        ),
        Case(
            "send",
            "capture",
            [
                (
                    400,
                    error(
                        "invalid_request_error",
                        "charge_expired_for_capture",
                        payment_intent=intent("canceled", cancellation_reason="fraudulent"),
                    ),
                )
            ],
            ("Mismatched", "cancelled_by_hand"),
            "code and decision",
        ),
    ],
    "already refunded": [
        Case(
            "send",
            "refund",
            [(400, REFUSED), (200, intent("succeeded", latest_charge=BACK))],
            ("Succeeded", None),
        ),
        Case(
            "send",
            "refund",
            [
                (400, REFUSED),
                (
                    200,
                    intent(
                        "succeeded", amount_received=60_000, latest_charge=BACK | {"amount_refunded": 60_000}
                    ),
                ),
            ],
            ("Mismatched", "other_amount"),
            "more than ours",
        ),
    ],
    "partly refunded by a person": [
        Case(
            "send",
            "refund",
            [(400, REFUSED), (200, intent("succeeded", latest_charge=PARTLY))],
            ("Mismatched", "refunded_by_hand"),
        ),
        Case(
            "send",
            "refund",
            [(400, REFUSED), (200, intent("succeeded"))],
            ("Rejected", "charge_already_refunded"),
        ),
    ],
    "other amount": [
        *told("authorize", ("Mismatched", "other_amount"), amount_capturable=1),
        *told("charge", ("Mismatched", "other_amount"), amount_received=1),
        *told("capture", ("Mismatched", "other_amount"), amount_received=1),
        *told("capture", ("Unknown", "unproved"), amount_received=None),
        *told("charge", UNREAD, "text", amount_received="50000"),
        *told("charge", UNREAD, "float", amount_received=50_000.0),
        *given_back(("Mismatched", "other_amount"), amount=1),
    ],
    "other currency": [
        *(
            case
            for kind in INTENTS[:3]
            for case in told(kind, ("Mismatched", "other_currency"), currency="eur")
        ),
        *(case for kind in INTENTS[:3] for case in told(kind, UNREAD, "none", currency="xyz")),
        *given_back(("Mismatched", "other_currency"), currency="eur"),
    ],
    "other id": [
        *(
            Case(asked, kind, [(200, done(kind, id="pi_2"))], ("Mismatched", "other_payment"))
            for kind in INTENTS
            for asked in ("send", "look at")
            if asked == "look at" or kind in ("capture", "release")
        ),
        *given_back(("Mismatched", "other_payment"), payment_intent="pi_2"),
        Case("retrieve", "charge", [(200, intent("succeeded", id="pi_2"))], ("Mismatched", "other_payment")),
        Case(
            "retrieve",
            "charge",
            [(200, intent("processing", id="pi_2"))],
            ("Mismatched", "other_payment"),
            "pending",
        ),
    ],
    "other mode": [
        *(case for kind in INTENTS for case in told(kind, ("Mismatched", "other_mode"), livemode=True)),
        Case("retrieve", "charge", [(200, intent("succeeded", livemode=True))], ("Mismatched", "other_mode")),
    ],
    "other reference": [
        Case(
            asked,
            kind,
            [(200, done(kind, metadata={"jobctl_key": "another"}))],
            ("Mismatched", "other_reference"),
        )
        for kind in FIRST
        for asked in ("send", "look at")
    ]
    + given_back(("Mismatched", "other_reference"), metadata={"jobctl_key": "another"})[:1],
    "not found": [
        *(
            Case(asked, kind, [(404, MISSING)], expected)
            for kind in FIRST
            for asked, expected in (
                ("send", ("Rejected", "resource_missing")),
                ("look", ("Unknown", None)),
                ("look at", ("NotFound", None)),
            )
        ),
        *everywhere(NAMING, [(404, MISSING)], ("NotFound", None), ("NotFound", None), ("NotFound", None)),
    ],
    "not found in a gateway's form": [
        case
        for body in (HTML, {"message": "Route not found"}, error("invalid_request_error"))
        for case in everywhere(ALL, [(404, body)], ("Rejected", 78), ("Unknown", 78), ("closed", 78))
    ],
    "other account": [Case("retrieve", "charge", [(404, MISSING)], ("NotFound", None))],
    "wrong key": everywhere(ALL, [(401, error("x"))], ("Rejected", 78), ("Unknown", 78), ("closed", 78)),
    "rate limit": everywhere(
        ALL, [(429, error("x", "rate_limit"))], ("Rejected", "rate_limit"), ("Unknown", None), ("closed", 69)
    ),
    "down": everywhere(ALL, [(503, HTML)], ("Unknown", None), ("Unknown", None), ("closed", 69)),
    "unreadable": everywhere(ALL, [(200, HTML)], ("Unknown", None), ("Unknown", None), ("Unknown", None)),
    "cut short": everywhere(ALL, [(200, CUT)], ("Unknown", None), ("Unknown", None), ("Unknown", None)),
    "unknown status": [
        *(case for kind in INTENTS for case in told(kind, UNREAD, status="from_next_year")),
        *given_back(UNREAD, status="from_next_year"),
        Case("retrieve", "charge", [(200, intent("from_next_year"))], UNREAD),
        Case("retrieve", "charge", [(200, intent("succeeded\0", amount_received=50_000))], UNREAD, "nul"),
    ],
    **{
        meaning: [
            *(case for kind in INTENTS for case in told(kind, UNREAD, id=odd)),
            *given_back(UNREAD, payment_intent=odd),
            *(
                Case("retrieve", "charge", [(200, intent(status, id=odd))], UNREAD, status)
                for status in ("succeeded", "canceled", "processing")
            ),
        ]
        for meaning, odd in (("too long id", LONG), ("empty id", ""), ("id of wrong type", {"a": 1}))
    },
    "list incomplete": [
        *(
            Case(asked, kind, [(200, body)], expected, str(n))
            for n, body in enumerate(({"data": []}, {"data": [], "has_more": True}, {"has_more": False}))
            for asked, kind, expected in ASKED
        ),
    ],
    "list repeated": [
        Case("look", "charge", REPEATED, UNREAD),
        Case(
            "list",
            "charge",
            [(200, page({"id": "evt_1", "type": "x", "data": {"object": {}}}, more=True))],
            ("closed", 69),
        ),
    ],
    "two under one key": [
        Case(
            "look",
            "charge",
            [(200, page(intent("succeeded"), intent("succeeded", id="pi_2")))],
            ("Mismatched", "twice"),
        ),
        Case(
            "look",
            "charge",
            [(200, page(intent("requires_payment_method", id="pi_2"), intent("succeeded")))],
            ("Succeeded", None),
            "older",
        ),
        Case(
            "look",
            "charge",
            [(200, page(intent("succeeded"), intent("requires_payment_method", id="pi_2")))],
            ("Succeeded", None),
            "newer",
        ),
        Case("look", "refund", [(200, page(refund(), refund(id="re_2")))], ("Mismatched", "twice")),
        Case(
            "look",
            "refund",
            [(200, page(refund(id="re_2", status="failed"), refund()))],
            ("Succeeded", None),
            "older",
        ),
    ],
    "unfinished": [
        *(
            Case(asked, kind, answers, ("Declined", "declined, unfinished"))
            for kind in FIRST
            for asked, answers in (
                ("send", [(402, error("card_error", "declined", payment_intent=OPEN))]),
                ("look at", [(200, OPEN)]),
                ("look", [(200, page(OPEN))]),
            )
        ),
        Case("send", "charge", [(402, error("card_error", "declined"))], ("Declined", "declined")),
        Case("look at", "release", [(200, OPEN)], ("NoEffect", None)),
        Case("send", "release", [(200, intent("canceled"))], ("Succeeded", None)),
    ],
}
