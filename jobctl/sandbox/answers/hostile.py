"""Answers whose text does harm where it is stored, shown or read."""

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from jobctl.sandbox.answers.strike import Distort, Strike, document_of, saying
from jobctl.sandbox.protocol import Answer

# Where there is one of these it is what is struck, else the id.
TEXTS = ("message", "description", "gateway_response")
MEGABYTE, DEPTH = 1 << 20, 100_000
HERE = "the place of what is too deep to be written by json"
Value = Callable[[Any, Strike], Any]


def putting(value: Value) -> Distort:
    """Return what puts a value where a text was: at each place of this name."""

    def distort(answer: Answer, strike: Strike) -> Answer:
        document = document_of(answer)
        if document is None:
            return answer
        texts = [each for each in TEXTS if holds(document, each)]
        fields = [strike.place] if strike.place else texts or ["id"]
        return saying(answer, replaced(document, fields, lambda old: value(old, strike)))

    return distort


def holds(document: Any, name: str) -> bool:
    if isinstance(document, list):
        return any(holds(each, name) for each in document)
    if not isinstance(document, dict):
        return False
    return document.get(name) is not None or any(holds(each, name) for each in document.values())


def replaced(document: Any, fields: list[str], change: Callable[[Any], Any]) -> Any:
    if isinstance(document, list):
        return [replaced(each, fields, change) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        name: change(value) if name in fields and value is not None else replaced(value, fields, change)
        for name, value in document.items()
    }


def deep(answer: Answer, strike: Strike) -> Answer:
    """Nest lists so deep that whoever reads them by recursion falls."""
    marked = putting(lambda _, __: HERE)(answer, strike)
    nested = b"[" * DEPTH + b"]" * DEPTH
    return Answer(marked.status, marked.body.replace(f'"{HERE}"'.encode(), nested), marked.headers)


def secret_of(strike: Strike) -> str:
    """Return the key that a request came with, as it was sent and as it is written."""
    sent = strike.request.headers.get("authorization", "")
    scheme, _, secret = sent.partition(" ")
    if scheme.lower() == "basic":
        return f"{sent} {b64decode(secret).decode(errors='replace')}"
    return sent or strike.request.headers.get("x-api-key", "")


HOSTILE: Mapping[str, Distort] = {
    "text_nul": putting(lambda old, _: f"{old}\0"),
    "text_surrogate": putting(lambda old, _: f"{old}\ud800"),
    "text_control": putting(lambda old, _: f"{old}\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202e"),
    "text_long": putting(lambda old, _: f"{old}{'x' * MEGABYTE}"),
    "text_echo": putting(lambda old, strike: f"{old} {secret_of(strike)}"),
    "text_object": putting(lambda old, _: {"value": old}),
    "text_list": putting(lambda old, _: [old]),
    "text_number": putting(lambda _, __: 1.5),
    "text_deep": deep,
}
