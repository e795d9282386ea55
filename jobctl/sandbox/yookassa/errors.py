"""Refusals as YooKassa's error objects (YooKassa: HTTP response codes, Errors)."""

from uuid import uuid4

from jobctl.sandbox.protocol import Answer, as_json

CODES = {
    400: "invalid_request",
    401: "invalid_credentials",
    403: "forbidden",
    404: "not_found",
    429: "too_many_requests",
    500: "internal_server_error",
}


class YooKassaError(Exception):
    """An error object and its status. A status for which the documents name no code has none."""

    def __init__(
        self,
        description: str,
        parameter: str | None = None,
        *,
        status: int = 400,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(description)
        self.status = status
        shown = {
            "type": "error",
            "id": str(uuid4()),
            "code": CODES.get(status),
            "description": description,
            "parameter": parameter,
            "retry_after": retry_after,
        }
        self.error = {name: value for name, value in shown.items() if value is not None}

    def answer(self) -> Answer:
        return as_json(self.status, self.error)


def missing(what: str, name: str) -> YooKassaError:
    return YooKassaError(f"There is no {what} {name}.", f"{what}_id", status=404)


# What is said of a request as a whole. YooKassa has no 409: that one is of something on the way to it.
REFUSALS = {
    400: "The request is malformed.",
    401: "The shop's id or its secret key is wrong.",
    403: "This secret key does not permit the operation.",
    409: "The request is in conflict with another one.",
    429: "Too many requests in a time.",
    500: "Something went wrong; whether the operation was carried out is unknown.",
}


def refusal(status: int, seconds: float = 0.0) -> YooKassaError:
    """Say no as a whole; a 429 says in milliseconds how long to wait."""
    wait = round(seconds * 1000) if seconds else None
    return YooKassaError(REFUSALS[status], status=status, retry_after=wait)


# What is said of one object, in the sandbox's own words: the documents have no list of them.
REFUSED = {
    "refund": YooKassaError("The payment can't be refunded.", "payment_id"),
    "release": YooKassaError("The payment can't be canceled now."),
    "capture": YooKassaError("The payment can't be captured now."),
}
