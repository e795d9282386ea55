"""The control API under /_sandbox/: what the sandbox's Python methods do, over HTTP."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jobctl.sandbox.accounts import ACCOUNTS
from jobctl.sandbox.checks import require
from jobctl.sandbox.dashboard import ACTS
from jobctl.sandbox.desk import Desk
from jobctl.sandbox.ledger import totals
from jobctl.sandbox.protocol import Answer, Request, as_json

PREFIX = "/_sandbox/"
Route = Callable[[Desk, dict[str, Any]], dict[str, Any]]


def answer(desk: Desk, request: Request) -> Answer:
    route = ROUTES.get((request.method, request.path.removeprefix(PREFIX)))
    if not route:
        known = ", ".join(f"{method} {PREFIX}{name}" for method, name in ROUTES)
        return as_json(404, {"error": f"no {request.method} {request.path}; there are {known}"})
    try:
        return as_json(200, route(desk, given(request.body)))
    except (TypeError, ValueError, OverflowError) as error:
        return as_json(400, {"error": str(error)})


def given(body: bytes) -> dict[str, Any]:
    document = json.loads(body) if body.strip() else {}
    require(isinstance(document, dict), "the body is a JSON object")
    return dict(document)


def instant_of(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=at.tzinfo or UTC)


def ledger(desk: Desk, _: dict[str, Any]) -> dict[str, Any]:
    effects = desk.ledger()
    return {"effects": [each.document() for each in effects], "totals": totals(effects)}


def arm(desk: Desk, wanted: dict[str, Any]) -> dict[str, Any]:
    desk.fault(**wanted)
    return {"faults": desk.faults()}


def disarm(desk: Desk, _: dict[str, Any]) -> dict[str, Any]:
    desk.clear_faults()
    return {"faults": desk.faults()}


def clock(desk: Desk, wanted: dict[str, Any]) -> dict[str, Any]:
    require(len(wanted) == 1 and wanted.keys() <= {"advance", "now"}, "expected either advance or now")
    if "now" in wanted:
        desk.set_clock(instant_of(wanted["now"]))
    else:
        desk.advance(float(wanted["advance"]))
    return {"now": desk.now().isoformat()}


def conditions(desk: Desk, wanted: dict[str, Any]) -> dict[str, Any]:
    return asdict(desk.conditions(**wanted))


def accounts(_: Desk, __: dict[str, Any]) -> dict[str, Any]:
    return ACCOUNTS


def reset(desk: Desk, _: dict[str, Any]) -> dict[str, Any]:
    desk.reset()
    return {}


def pay(desk: Desk, wanted: dict[str, Any]) -> dict[str, Any]:
    times: dict[str, Any] = {}
    for name in ("at", "captured_at"):
        if name in wanted:
            times[name] = instant_of(wanted[name])
    return {"id": desk.pay(**{**wanted, **times})}


def checkout(desk: Desk, wanted: dict[str, Any]) -> dict[str, Any]:
    desk.checkout(**wanted)
    return {}


def requests(desk: Desk, _: dict[str, Any]) -> dict[str, Any]:
    return {"calls": desk.requests(), "versions": desk.versions()}


def pending(desk: Desk, _: dict[str, Any]) -> dict[str, Any]:
    return {"pending": desk.pending()}


def by_hand(act: str) -> Route:
    return lambda desk, wanted: {"id": getattr(desk.dashboard, act)(**wanted)}


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "ledger"): ledger,
    ("POST", "faults"): arm,
    ("DELETE", "faults"): disarm,
    ("POST", "clock"): clock,
    ("POST", "conditions"): conditions,
    ("POST", "reset"): reset,
    ("POST", "payments"): pay,
    ("POST", "checkouts"): checkout,
    ("GET", "accounts"): accounts,
    ("GET", "requests"): requests,
    ("GET", "pending"): pending,
    **{("POST", f"dashboard/{act}"): by_hand(act) for act in ACTS},
}
