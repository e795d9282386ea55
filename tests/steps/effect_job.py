"""A job that calls about messages, for the tests of its kind of step: their topics say what goes wrong."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

from jobctl.job import At, Broken, Call, Due, EffectChanges, EffectStep, Lost, Means, ScopeDownError
from jobctl.tables.notifications import notifications

ours = notifications.c


class Message(NamedTuple):
    id: int
    claimed_by: int | None
    topic: str | None


def due(_at: At) -> Due:
    read = {name: ours[name] for name in Message._fields}
    return Due(notifications, {"it is queued": ours.status == "queued"}, read=read)


def connect(_at: At, _means: Means) -> AbstractContextManager[None]:
    return nullcontext()


def too_deep() -> None:
    too_deep()


def raising(message: Message, where: str) -> None:
    """Raise where the topic says so."""
    if message.topic == f"{where}: too deep":
        too_deep()
    if message.topic == f"{where}: half a character":
        "\ud800".encode()
    if message.topic == f"{where}: an error with a NUL":
        raise ValueError("\x00 and \ud800")


def ask(_at: At, message: Message) -> Call[Message]:
    raising(message, "ask")
    return Call(("nowhere",), message, {})


MEANWHILE: Callable[[], None] = lambda: None  # noqa: E731 (what others do while a call is under way)


def call(_outside: None, message: Message) -> str:
    MEANWHILE()
    raising(message, "call")
    if message.topic == "exit":
        raise SystemExit
    return "answered"


# Values that no database takes, or only SQLite, by what is wrong with them.
UNWRITABLE: dict[str | None, dict[str, Any]] = {
    "half a character": {"provider_message_id": "\ud800"},
    "a NUL": {"provider_message_id": "\x00"},
    "too large": {"attempts": 2**70},
    "no time zone": {"next_attempt_at": datetime(2026, 3, 2)},  # noqa: DTZ001 (that is what is wrong)
    "no text": {"provider_message_id": {"an": "object"}},
    "no JSON": {"context": {"a": {1, 2}}},
    "no JSON key": {"context": {(1, 2): "a"}},
}


def settle(
    at: At, message: Message, answer: str | Lost | Broken | ScopeDownError, change: EffectChanges
) -> str:
    raising(message, "settle")
    if not isinstance(answer, str):
        change.update(status="failed", reason="it failed", settled_at=at.present)
        change.error(answer.reason)
        return "failed"
    if message.topic == "left":
        return "left as it is"
    given = {"provider_message_id": f"m{message.id}"} | UNWRITABLE.get(message.topic, {})
    change.update(status="sent", settled_at=at.present, **given)
    if message.topic == "notice":
        change.notify("welcome", to=1, once=[message.id], context={"a": {1, 2}})
    if message.topic == "error":
        change.error("\x00 and \ud800")
    if message.topic == "finding":
        change.finding("odd", once=["\x00", "\ud800"], reason="\x00 and \ud800")
    return "sent"


JOB = EffectStep(
    row=Message, due=due, connect=connect, ask=ask, call=call, settle=settle, concurrency=lambda _settings: 16
)
