"""Requests to one provider: paced, bounded in time and size, and repeated where that is safe."""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict
from tenacity import RetryCallState, Retrying, retry_if_result, stop_before_delay, wait_random_exponential
from urllib3.exceptions import HTTPError

from jobctl import __version__, http, outside_text, receiving
from jobctl.errors import Exit
from jobctl.job import Means, NotBegunError
from jobctl.parsing import Rate
from jobctl.providers.gate import PATIENCE, Gate, Turn, is_trouble

CONNECTING = 5.0  # seconds
LONGEST_PAUSE = 5.0
LOCKED_OUT = {401, 403}
BUSY = {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
TELLING = {400, 401, 402, 403, 404, 429}  # the refusals that say what became of a request
SAME_TIME = timedelta(seconds=2)  # that clocks may differ by: a Date has whole seconds
# A segment of dots would lead to another place, and what is not quoted would end the path.
PATH = re.compile(r"(?:/(?!(?:\.|%2e){1,2}(?:/|$))[\w.~%!$&'()*+,;=:@-]+)*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """What came back: a status with a body that is a JSON object or None, or no answer.

    All of it can be stored as it is (see outside_text). trouble: what is to be said beside, in words.
    """

    status: int | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""
    begun: bool = True  # whether any of this request may have reached the provider
    open: bool = False  # whether an earlier one did, of which nobody can tell what became
    last: bool = False  # whether the provider is not asked again in this run, as `trouble` says

    @property
    def tells(self) -> bool:
        """Whether it refuses the request for certain, as a 5xx, a conflict or silence doesn't."""
        return not self.begun or self.status in TELLING

    @property
    def closes(self) -> Exit | None:
        """Return the exit code where the provider is of no use for the rest of the run."""
        if self.status in LOCKED_OUT:
            return Exit.MISCONFIGURED
        return Exit.UNREACHABLE if self.last or not self.begun else None

    @property
    def down(self) -> Exit | None:
        """Return the exit code where a look-up failed, and others would: not for this payment's sake."""
        busy = self.status is None or self.status in BUSY or is_trouble(self.status)
        return self.closes or (Exit.UNREACHABLE if busy else None)

    @property
    def failed(self) -> bool:
        """Whether it tells of the provider's troubles, and nothing of the request."""
        busy = self.status is None or self.status == HTTPStatus.TOO_MANY_REQUESTS or is_trouble(self.status)
        return busy or self.body is None


def retry_after(reply: Reply) -> float | None:
    """Return the seconds to wait; a date is meant by the provider's own clock."""
    asked = reply.headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked)
    until, now = date(asked), date(reply.headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds()) if until else None


def date(written: str) -> datetime | None:
    """Read an HTTP date; None for anything else."""
    try:
        found = parsedate_to_datetime(written)
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


class Transport:
    """The way to one provider. It is used by many threads at once."""

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        means: Means,
        rate: Rate,
        timeout: timedelta,
        *,
        asked_pause: Callable[[Reply], float | None] = retry_after,
        most: int = receiving.MOST,
        longest: int = outside_text.LONGEST,
        secret: str = "",
    ) -> None:
        """asked_pause: returns how many seconds the provider asks to wait before the next request.

        most: bytes of an answer, unpacked; longest: characters of a string in it. secret: what the provider
        knows, and no answer may bring back, beside what is sent as Authorization.
        """
        self._base, self._stop, self._clock = base.rstrip("/"), means.stop, means.clock
        self._headers = {
            "User-Agent": f"jobctl/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            **headers,
        }
        self._read_only, self._most, self._longest = means.read_only, most, longest
        sent = headers.get("Authorization", "").rpartition(" ")[2]
        self._secrets = [each for each in (sent, secret) if each]
        self._gate, self._asked_pause = Gate(rate, means), asked_pause
        self._seconds = timeout.total_seconds()
        self._session = http.session(means.concurrency, allow_private=True)
        self._lock = threading.Lock()
        self.behind: timedelta | None = None  # the most that its clock was seen to be behind ours
        self.patience = self._gate.longest + timedelta(seconds=CONNECTING) + timeout

    def close(self) -> None:
        self._session.close()

    def ask(
        self,
        method: str,
        path: str,
        again: Callable[[Reply], bool],
        *,
        fields: Sequence[Sequence[str]] = (),
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request, once more for as long as `again` says so of the reply; return the last one.

        fields: the query of a GET, the form of a POST; document: its JSON body, instead. Raises NotBegunError
        where the run is told to stop before the first one went out. A path that would lead elsewhere is
        refused here, as the provider would refuse what it cannot read.
        """
        assert method == "GET" or not self._read_only, "a dry run sends nothing"
        if not PATH.fullmatch(path):
            return Reply(HTTPStatus.BAD_REQUEST, trouble="it was not sent: its path would lead elsewhere")
        sent = written(method, fields, document)
        call, replies = object(), list[Reply]()
        until = time.monotonic() + self._gate.longest.total_seconds()

        def once() -> Reply:
            turn = self._gate.wait(until)
            if turn is Turn.STOPPED and not replies:
                raise NotBegunError("stopped while waiting for the rate limit")
            if turn is not Turn.NOW:
                return replies[-1] if replies else Reply(trouble=self._gate.closed, begun=False)
            reply = self._once(method, path, sent, headers or {})
            self._gate.heed(reply.status, self._asked_pause(reply))
            self._gate.count(call, failed=reply.failed)
            replies.append(replace(reply, open=not all(each.tells for each in replies)))
            return replies[-1]

        retrying = Retrying(
            retry=retry_if_result(lambda reply: again(reply) and not self._given_up()),
            stop=stop_before_delay(PATIENCE),
            wait=lambda state: max(self._pause(state), self._gate.delay()),
            sleep=self._sleep,
            retry_error_callback=last,
        )
        return self._judged(retrying(once))

    def _given_up(self) -> bool:
        return bool(self._gate.closed) or self._stop.wait(0)

    def _judged(self, reply: Reply) -> Reply:
        """Say of a failure that the provider is closed, where it is since then."""
        if not reply.failed:
            return reply
        self._gate.leave()
        why = self._gate.announced() if reply.begun else ""
        trouble = "; ".join(each for each in (reply.trouble, why) if each)
        return replace(reply, last=bool(why), trouble=trouble)

    def _pause(self, state: RetryCallState) -> float:
        """Wait as long as the provider asks for, else longer with each attempt, with jitter."""
        asked = self._asked_pause(last(state))
        return BACKOFF(state) if asked is None else asked

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _once(self, method: str, path: str, sent: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        began = self._clock()
        try:
            response = self._session.request(
                method,
                self._base + path,
                headers={**self._headers, **headers},
                timeout=(CONNECTING, self._seconds),
                allow_redirects=False,
                stream=True,
                **sent,
            )
            with closing(response):
                body = receiving.body(response.raw, self._most)
        except (requests.RequestException, HTTPError, receiving.UnreadableError) as error:
            return Reply(trouble=http.trouble(error), begun=not http.certainly_not_begun(error))
        told = {name: outside_text.storable(self._hide(value)) for name, value in response.headers.items()}
        found = outside_text.an_object(body, longest=self._longest, hide=self._hide)
        reply = Reply(response.status_code, found, CaseInsensitiveDict(told))
        self._compare(began, date(reply.headers.get("Date", "")))
        return reply

    def _compare(self, ours: datetime, theirs: datetime | None) -> None:
        """Note how far the provider's clock is behind ours, which was read before the request."""
        if theirs is None:
            return
        behind = ours - theirs if ours - theirs > SAME_TIME else timedelta()
        with self._lock:
            self.behind = max(behind, self.behind or behind)

    def _hide(self, text: str) -> str:
        """Take out the credential: what was sent may be echoed."""
        for each in self._secrets:
            text = text.replace(each, "[secret]")
        return text


def written(
    method: str, fields: Sequence[Sequence[str]], document: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """Return what of a request `requests` is to write: its query, its form or its JSON."""
    if document is not None:
        return {"json": document}
    return {"params" if method == "GET" else "data": [(name, value) for name, value in fields]}


def mapping(thing: object) -> Mapping[str, Any]:
    """Read what should be a JSON object and may be anything."""
    return thing if isinstance(thing, dict) else {}


BACKOFF = wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE)


def last(state: RetryCallState) -> Reply:
    assert state.outcome
    reply: Reply = state.outcome.result()
    return reply
