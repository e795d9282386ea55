"""What a fault has to go on when it changes an answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jobctl.sandbox.protocol import Answer, Request

OK = 200


@dataclass(frozen=True)
class Strike:
    request: Request
    now: float  # by the provider's clock
    seconds: float
    place: str  # the name of the field of JSON that is to be struck; empty: the usual one
    kept: dict[str, Answer] = field(default_factory=dict)  # what the fault remembers from strike to strike


Distort = Callable[[Answer, Strike], Answer]


def document_of(answer: Answer) -> dict[str, Any] | None:
    """Return the JSON object that an answer is; None: it is none."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def saying(answer: Answer, document: Mapping[str, Any]) -> Answer:
    """Return the answer with another object; what is no text of Unicode is escaped (RFC 8259, 8.2)."""
    return replace(answer, body=json.dumps(document).encode())
