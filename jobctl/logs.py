"""Log events on stderr, as text or JSON, each with the job and the run; never with a secret."""

import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
OURS = "jobctl"
# What every record has; the rest was given with `extra`.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}
SHORTEST = 4
_secrets: re.Pattern[str] | None = None
_form = "text"
context: MutableMapping[str, object] = {}  # added to every record: job, run


def set_up(form: str, verbosity: int, secrets: Iterable[str]) -> None:
    """Send our events to stderr; verbosity: -1 errors only, 0 warnings, 1 events, 2 and more all."""
    global _secrets  # noqa: PLW0603 (one process, one set of secrets)
    _secrets = pattern(secrets)
    write_as(form)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    ours = logging.getLogger(OURS)
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(LEVELS.get(verbosity, logging.DEBUG))


def write_as(form: str) -> None:
    """Choose how lines on stderr look, for complaints too that come before anything is logged."""
    global _form  # noqa: PLW0603 (one process, one stderr)
    _form = form


def complain(said: str, event: str = "complaint") -> None:
    """Say on stderr what somebody has to know whatever the verbosity; as a log line where those are JSON."""
    line = json_line(time.time(), "error", event, {**context, "message": said})
    with suppress(OSError):  # where nobody reads it, there is still the exit code
        sys.stderr.write((line if _form == "json" else redact(f"jobctl: {said}")) + "\n")
        sys.stderr.flush()


def pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Match secrets where they stand by themselves: the password `post` is not to be seen in `postgresql`.

    Those of three characters or fewer would garble much and hide nothing.
    """
    longest_first = sorted((each for each in set(secrets) if len(each) >= SHORTEST), key=len, reverse=True)
    alone = "|".join(re.escape(each) for each in longest_first)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{alone})(?![A-Za-z0-9])") if alone else None


def redact(text: str) -> str:
    """Mask secrets in what others said, before it becomes part of anything printed."""
    return _secrets.sub("********", text) if _secrets else text


def redacted(value: Any) -> Any:
    """Mask secrets in all text of a value made of dicts and lists."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: redacted(each) for name, each in value.items()}
    return [redacted(each) for each in value] if isinstance(value, list | tuple) else value


def facts(record: logging.LogRecord) -> dict[str, object]:
    given = {name: value for name, value in vars(record).items() if name not in STANDARD}
    return {**context, **given}


def instant(at: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at * 1000) % 1000:03d}Z"


def json_line(at: float, level: str, event: str, facts: Mapping[str, object]) -> str:
    line: dict[str, object] = {"at": instant(at), "level": level, "event": event}
    line |= {
        name: value if isinstance(value, int | float) else redact(str(value)) for name, value in facts.items()
    }
    return json.dumps(line, ensure_ascii=False)


class Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        parts = " ".join(f"{name}={value}" for name, value in facts(record).items())
        line = (
            f"{instant(record.created)} {record.levelname.lower():7} {record.getMessage()} {parts}".rstrip()
        )
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return redact(line.replace("\n", " ") + trace)


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = facts(record)
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json_line(record.created, record.levelname.lower(), record.getMessage(), told)
