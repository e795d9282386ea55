"""Text from outside, made storable where it is read: whatever anybody answers, a database takes it.

PostgreSQL refuses NUL, both databases refuse half a surrogate pair, and logs and terminals obey control
characters. JSON can hold all of them, nest without end, and write numbers that no column takes.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

LONGEST = 2_000  # characters of one string; what is longer is cut
DEEPEST = 64  # objects and lists within each other
MOST = 100_000  # values in one answer
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")  # all but the tab and the end of a line
HALF = re.compile(r"[\ud800-\udfff]")
UNSTORABLE = re.compile(f"{CONTROL.pattern}|{HALF.pattern}")
ID = re.compile(r"[!-~]{1,255}")
LARGEST = 2**63
LONGEST_NAME = 100  # characters
# Also what is not seen, and turns or hides what is: marks of direction, joiners, noncharacters.
UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff]"
)
NO_NAME = ("=?", "?=", "://", "www.")
Hide = Callable[[str], str]


def storable(text: str, longest: int = LONGEST) -> str:
    """Return text that any database and terminal takes, cut to so many characters.

    Control characters become spaces, halves of surrogate pairs the replacement character. None is left out: a
    status with a NUL in it must not turn into the status that it resembles.
    """
    text = text[:longest]
    return HALF.sub("\ufffd", CONTROL.sub(" ", text)) if UNSTORABLE.search(text) else text


def ornament(text: str) -> str:
    """Return what somebody is called as it can be written anywhere: one line, of bounded length.

    It is only ever an ornament: where it could be taken for something else, there is none. An encoded word
    would be decoded by mail programs, a link clicked.
    """
    words = " ".join(UNPRINTABLE.sub(" ", text[: 10 * LONGEST_NAME]).split())[:LONGEST_NAME].rstrip()
    return "" if any(each in words.lower() for each in NO_NAME) else words


def is_id(value: object) -> TypeGuard[str]:
    """Tell whether that can be somebody's id of something: 1 to 255 visible ASCII characters."""
    return isinstance(value, str) and ID.fullmatch(value) is not None


def an_id(value: object) -> str:
    """Return an id as it is; raises ValueError for what is none."""
    if not is_id(value):
        raise ValueError("an id is 1 to 255 visible ASCII characters")
    return value


def an_object(
    body: bytes | bytearray, *, longest: int = LONGEST, hide: Hide = lambda text: text
) -> Mapping[str, Any] | None:
    """Read a JSON object, each key and string of it storable; None where it is none, or cannot be kept.

    hide: takes out of a string what must not be kept. Whole numbers beyond 64 bits become text: Paystack
    counts its ids in 64 bits without a sign. NaN, infinities and what is nested too deep are refused.
    """
    # Before it is read, which takes memory: each value but the first follows a comma or an opening bracket.
    if sum(map(body.count, (b",", b"[", b"{"))) >= MOST:
        return None
    try:
        found = json.loads(body.decode("utf-8-sig", errors="replace"))
        return _kept(found, DEEPEST, lambda text: storable(hide(text), longest)) if is_object(found) else None
    except (ValueError, RecursionError):
        return None


def is_object(thing: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(thing, dict)


def _kept(value: Any, deeper: int, clean: Hide) -> Any:
    """Return a value as it may be kept; raises ValueError for what may not."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict | list):
        if not deeper:
            raise ValueError("nested too deep")
        if isinstance(value, list):
            return [_kept(each, deeper - 1, clean) for each in value]
        return {clean(name): _kept(each, deeper - 1, clean) for name, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("no finite number")
    return str(value) if isinstance(value, int) and not -LARGEST <= value < LARGEST else value
