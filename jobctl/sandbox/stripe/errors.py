"""Refusals in Stripe's words (Stripe: Errors; Error codes)."""

from typing import Any

from jobctl.sandbox.protocol import Answer, as_json


class StripeError(Exception):
    """An error object and its status. Where the documents name no code for a case, it has none."""

    def __init__(
        self,
        message: str,
        param: str | None = None,
        code: str | None = None,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"type": kind, "message": message}
        self.error |= {name: value for name, value in {"param": param, "code": code, **more}.items() if value}

    def answer(self) -> Answer:
        return as_json(self.status, {"error": self.error})


def missing(what: str, name: str, param: str, *, status: int = 400) -> StripeError:
    """Say that there is no such object: 404 where the path names it, 400 where a parameter does."""
    return StripeError(f"No such {what}: '{name}'", param, "resource_missing", status=status)


def unrecognized(method: str, path: str) -> StripeError:
    return StripeError(f"Unrecognized request URL ({method}: {path}).", status=404)


# What is said of a request as a whole, by status. The type of a 409 is that of observed answers: as the
# documents describe idempotency_error, it is about other parameters.
REFUSALS: dict[int, tuple[str, str | None]] = {
    400: ("Invalid request.", None),
    401: ("Invalid API Key provided.", None),
    403: ("This API key doesn't have the permissions for this request.", None),
    409: ("Another request with this Idempotency-Key is in progress.", "idempotency_key_in_use"),
    429: ("Request rate limit exceeded.", "rate_limit"),
    500: ("An unknown error occurred.", None),
}


def refusal(status: int) -> StripeError:
    message, code = REFUSALS[status]
    kind = "api_error" if status == 500 else "invalid_request_error"  # noqa: PLR2004
    return StripeError(message, None, code, status=status, kind=kind)


# What is said of one object (Error codes); those without a code are in the sandbox's own words.
REFUSED = {
    "refund": StripeError("This charge can't be refunded.", None, "charge_not_refundable"),
    "release": StripeError("This PaymentIntent can't be canceled now."),
    "capture": StripeError("This PaymentIntent can't be captured now."),
}
