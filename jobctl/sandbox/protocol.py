"""What a provider's file offers to the server: requests in, answers out, and when an effect is had."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from jobctl.sandbox.dashboard import Act
from jobctl.sandbox.office import Office
from jobctl.sandbox.refunds import Course

CALLS = ("authorize", "charge", "capture", "release", "refund", "retrieve", "list", "token", "other")


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    replayed: bool = False  # from what is stored under the request's key
    length: int | None = None  # to be said of the body instead of its own; the connection is closed after it
    drip: float = 0.0  # seconds between further bytes, of which there is no end
    head_only: bool = False  # no end of the headers, that is


def as_json(status: int, document: Any) -> Answer:
    body = json.dumps(document, ensure_ascii=False).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Task:
    """A request that has passed every check; its key is in use until its answer is kept."""

    run: Callable[[float], Answer]  # has the effect, at this instant
    keep: Callable[[Answer], None] = lambda _: None


@dataclass(frozen=True)
class Call:
    """A request in words that all providers share."""

    name: str  # one of CALLS
    key: str | None
    version: str | None  # of the API, as the client named it
    marks: tuple[str, ...]  # its key, metadata and object: what a fault can single it out by
    begin: Callable[[float], Answer | Task]  # check it, at this instant: refused or replayed, or to be done


@dataclass(frozen=True)
class Paid:
    """A payment that a customer made at the provider itself."""

    amount: int  # in the provider's smallest unit
    currency: str
    metadata: Mapping[str, str]
    at: float  # when it was begun, and when the money was taken
    captured_at: float
    reference: str | None = None  # of ours, where the provider takes one; None: of its own
    status: str | None = None  # where the provider takes one; None: the money was taken


class Provider(Protocol):
    """One provider. What `read` returns is worked on under the sandbox's lock, `read` itself is not."""

    name: str
    office: Office
    refunds: Course  # of its refunds, by their status

    def read(self, request: Request) -> Call: ...

    def failure(self, status: int, seconds: float = 0.0) -> Answer:
        """Say in the provider's words what a fault is to look like; a 429 until when, if that is told."""
        ...

    def occupy(self, request: Request, key: str | None, at: float) -> None:
        """Know the request's idempotency key as one that was used for something else."""
        ...

    def refused(self, call: str) -> Answer:
        """Say no to what was asked of an object, for a reason that the request could not know."""
        ...

    def pay(self, paid: Paid, account: str | None) -> str:
        """Let a payment have been made, and return its id; None is the account of the sandbox's own key."""
        ...

    def act(self, act: Act, account: str | None, at: float) -> str:
        """Do what a person does by hand, and return the id of what it was about, or made."""
        ...
