"""Which call a path is (YooKassa: API reference)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from jobctl.sandbox.protocol import Request
from jobctl.sandbox.yookassa import calls
from jobctl.sandbox.yookassa.account import Account
from jobctl.sandbox.yookassa.calls import Asked, Run
from jobctl.sandbox.yookassa.errors import YooKassaError

PAYMENTS, REFUNDS = "/v3/payments", "/v3/refunds"


@dataclass(frozen=True)
class Route:
    method: str
    path: re.Pattern[str]
    name: str
    check: Callable[[Account, Asked], Run]


ROUTES = (
    Route("POST", re.compile(PAYMENTS), "charge", calls.create),
    Route("POST", re.compile(rf"{PAYMENTS}/([^/]+)/capture"), "capture", calls.capture),
    Route("POST", re.compile(rf"{PAYMENTS}/([^/]+)/cancel"), "release", calls.cancel),
    Route("GET", re.compile(rf"{PAYMENTS}/([^/]+)"), "retrieve", calls.retrieve),
    Route("GET", re.compile(PAYMENTS), "list", calls.list_payments),
    Route("POST", re.compile(REFUNDS), "refund", calls.refund),
    Route("GET", re.compile(rf"{REFUNDS}/([^/]+)"), "retrieve", calls.retrieve_refund),
    Route("GET", re.compile(REFUNDS), "list", calls.list_refunds),
)


def routed(request: Request) -> tuple[Route | None, str]:
    """Return the route, and the name of the object in its path."""
    for each in ROUTES:
        match = each.path.fullmatch(request.path) if each.method == request.method else None
        if match:
            return each, match[1] if match.lastindex else ""
    return None, ""


def nowhere(request: Request) -> YooKassaError:
    if any(each.path.fullmatch(request.path) for each in ROUTES):
        return YooKassaError(f"{request.method} is not what is to be said to {request.path}.", status=405)
    return YooKassaError(f"There is nothing at {request.path}.", status=404)


def call_name(route: Route | None, asked: Asked) -> str:
    if not route:
        return "other"
    held = route.name == "charge" and asked.given.get("capture") is not True
    return "authorize" if held else route.name


def marks(asked: Asked) -> tuple[str, ...]:
    metadata = asked.given.get("metadata")
    said = metadata.values() if isinstance(metadata, dict) else ()
    return (asked.key or "", asked.name, *map(str, said), str(asked.given.get("payment_id", "")))
