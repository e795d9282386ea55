"""What is sent to YooKassa, word for word."""

from collections.abc import Mapping
from typing import Any

from jobctl.providers.protocol import (
    REFERENCE,
    Authorize,
    Capture,
    Charge,
    Refund,
    Release,
    Request,
    Stored,
    UnrepresentableError,
)
from jobctl.providers.wire import segment
from jobctl.providers.yookassa_reading import written

PAYMENTS, REFUNDS = "/v3/payments", "/v3/refunds"
MOST_METADATA, LONGEST_NAME, LONGEST_VALUE = 16, 32, 512


def composed(request: Request, key: str) -> Stored:
    """Write a request as it will be sent, on every attempt; raises UnrepresentableError."""
    match request:
        case Authorize():
            return post(PAYMENTS, payment(request, key, capture=False))
        case Charge():
            return post(PAYMENTS, payment(request, key, capture=True))
        case Capture():
            return post(
                f"{PAYMENTS}/{segment(request.payment_id)}/capture", {"amount": written(request.amount)}
            )
        case Release():
            return post(f"{PAYMENTS}/{segment(request.payment_id)}/cancel", {})
        case Refund():
            asked = {"payment_id": request.payment_id, "amount": written(request.amount)}
            return post(REFUNDS, {**asked, "metadata": {REFERENCE: key}})


def post(path: str, document: Mapping[str, Any]) -> Stored:
    return {"method": "POST", "path": path, "document": dict(document)}


def payment(request: Authorize | Charge, key: str, *, capture: bool) -> dict[str, Any]:
    metadata = {**request.metadata, REFERENCE: key}
    long = [
        each for each, value in metadata.items() if len(each) > LONGEST_NAME or len(value) > LONGEST_VALUE
    ]
    if long or len(metadata) > MOST_METADATA:
        raise UnrepresentableError("YooKassa takes 16 names of metadata, of 32 characters, and values of 512")
    return {
        "amount": written(request.amount),
        "capture": capture,  # without it YooKassa only holds
        "payment_method_id": request.method,
        "metadata": metadata,
    }
