"""Log events on stderr, as text or JSON, each with the job and the run; never with a secret."""

import json
import logging
import sys
import time
from collections.abc import Iterable, MutableMapping

LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
OURS = "jobctl"
# What every record has; the rest was given with `extra`.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}
_secrets: tuple[str, ...] = ()
context: MutableMapping[str, object] = {}  # added to every record: job, run


def set_up(form: str, verbosity: int, secrets: Iterable[str]) -> None:
    """Send our events to stderr; verbosity: -1 errors only, 0 warnings, 1 events, 2 and more all."""
    global _secrets  # noqa: PLW0603 (one process, one set of secrets)
    _secrets = tuple(sorted(filter(None, secrets), key=len, reverse=True))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    ours = logging.getLogger(OURS)
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(LEVELS.get(verbosity, logging.DEBUG))


def redact(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, "********")
    return text


def facts(record: logging.LogRecord) -> dict[str, object]:
    given = {name: value for name, value in vars(record).items() if name not in STANDARD}
    return {**context, **given}


def instant(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


class Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        parts = " ".join(f"{name}={value}" for name, value in facts(record).items())
        line = f"{instant(record)} {record.levelname.lower():7} {record.getMessage()} {parts}".rstrip()
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return redact(line.replace("\n", " ") + trace)


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"at": instant(record), "level": record.levelname.lower(), "event": record.getMessage()}
        line |= {name: str(value) for name, value in facts(record).items()}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, ensure_ascii=False))
