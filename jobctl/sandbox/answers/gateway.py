"""What something on the way to a provider answers in its place: no effect is had."""

from collections.abc import Callable, Mapping
from email.utils import formatdate

from jobctl.sandbox.answers.strike import Distort
from jobctl.sandbox.protocol import Answer, as_json

PAGE = b"<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>Gateway</h1></body></html>"
Said = Callable[[float, float], Answer]  # by the seconds to wait, and by now


def html(status: int) -> Answer:
    return Answer(status, PAGE, {"Content-Type": "text/html; charset=utf-8"})


def wait(status: int, until: str) -> Answer:
    """Ask to wait, in seconds or until an instant (RFC 9110, 10.2.3)."""
    said = as_json(status, {"message": "Too many requests" if status == TOO_MANY else "Service unavailable"})
    return Answer(status, said.body, {**said.headers, "Retry-After": until})


TOO_MANY, UNAVAILABLE = 429, 503
GATEWAY: Mapping[str, Said] = {
    "html_200": lambda *_: html(200),
    "html_404": lambda *_: html(404),
    "html_502": lambda *_: html(502),
    "route_not_found": lambda *_: as_json(404, {"message": "Route not found"}),
    "http_503": lambda seconds, _: wait(UNAVAILABLE, f"{seconds:g}"),
    "http_503_date": lambda seconds, now: wait(UNAVAILABLE, formatdate(now + seconds, usegmt=True)),
    "http_429_date": lambda seconds, now: wait(TOO_MANY, formatdate(now + seconds, usegmt=True)),
}
AFTER: Mapping[str, Distort] = {"html_502_after": lambda *_: html(502)}
