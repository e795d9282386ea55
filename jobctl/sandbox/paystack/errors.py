"""Paystack's answers: a status that says whether the call worked, a message, data (API: Response format)."""

from typing import Any

from jobctl.sandbox.protocol import Answer, as_json


class PaystackError(Exception):
    """A refusal: its message, and the status of HTTP that it comes with (API: Errors)."""

    def __init__(self, message: str, status: int = 400, **more: Any) -> None:
        super().__init__(message)
        self.message, self.status, self.more = message, status, more

    def answer(self) -> Answer:
        return as_json(self.status, {"status": False, "message": self.message, **self.more})


def good(message: str, data: Any, **more: Any) -> Answer:
    return as_json(200, {"status": True, "message": message, "data": data, **more})


# What is said of a request as a whole. Paystack has no 409: that one is of something on the way to it.
REFUSALS = {
    400: "The request is malformed",
    401: "Invalid key",
    403: "This key does not permit the operation",
    409: "The request is in conflict with another one",
    429: "Too many requests",
    500: "An error occurred",
}


def refusal(status: int) -> PaystackError:
    return PaystackError(REFUSALS[status], status)


# What is said of one object, in the sandbox's own words: the documents have no list of them.
REFUSED = {"refund": PaystackError("This transaction cannot be refunded")}
