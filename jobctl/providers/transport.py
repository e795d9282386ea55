"""Requests to one provider: paced, bounded in time, and repeated where that is safe."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict
from tenacity import RetryCallState, Retrying, retry_if_result, stop_before_delay, wait_random_exponential

from jobctl import __version__, http
from jobctl.errors import Exit
from jobctl.job import Means, NotBegunError
from jobctl.pace import Pace
from jobctl.parsing import Rate

# Repeats begin within this time of the first request; what takes longer is asked about by a later run.
PATIENCE = timedelta(seconds=10)
CONNECTING = 5.0  # seconds
LONGEST_PAUSE = 5.0
LOCKED_OUT = {401, 403}
BUSY = {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
TELLING = {400, 401, 402, 403, 404, 429}  # the refusals that say what became of a request


@dataclass(frozen=True)
class Reply:
    """What came back: a status with a body that is a JSON object or None, or no answer and the reason."""

    status: int | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""
    begun: bool = True  # whether any of this request may have reached the provider
    open: bool = False  # whether an earlier one did, of which nobody can tell what became

    @property
    def tells(self) -> bool:
        """Whether it refuses the request for certain, as a 5xx, a conflict or silence doesn't."""
        return not self.begun or self.status in TELLING

    @property
    def closes(self) -> Exit | None:
        """Return the exit code where the provider is of no use for the rest of the run."""
        if self.status in LOCKED_OUT:
            return Exit.MISCONFIGURED
        return None if self.begun else Exit.UNREACHABLE

    @property
    def down(self) -> Exit | None:
        """Return the exit code where a look-up failed, and others would: not for this payment's sake."""
        busy = self.status is None or self.status in BUSY or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return self.closes or (Exit.UNREACHABLE if busy else None)


def retry_after(reply: Reply) -> float | None:
    asked = reply.headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else None


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
    ) -> None:
        """asked_pause: returns how many seconds the provider asks to wait before the next request."""
        self._base, self._stop = base.rstrip("/"), means.stop
        self._headers = {"User-Agent": f"jobctl/{__version__}", "Accept": "application/json", **headers}
        self._read_only = means.read_only
        self._secret = headers.get("Authorization", "").rpartition(" ")[2]
        self._pace, self._asked_pause = Pace(rate), asked_pause
        self._seconds = timeout.total_seconds()
        self._session = http.session(means.concurrency, allow_private=True)
        self.patience = PATIENCE + timedelta(seconds=CONNECTING) + timeout

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
        where the run is told to stop before the first one went out.
        """
        assert method == "GET" or not self._read_only, "a dry run sends nothing"
        given = [(name, value) for name, value in fields]
        sent = {"json": document} if document is not None else {"data": given}
        sent = {"params": given} if method == "GET" else sent
        replies: list[Reply] = []

        def once() -> Reply:
            stopped = self._stop.wait(self._pace.take())
            if stopped and not replies:
                raise NotBegunError("stopped while waiting for the rate limit")
            if stopped:
                return replies[-1]
            reply = self._once(method, path, sent, headers or {})
            replies.append(replace(reply, open=not all(each.tells for each in replies)))
            return replies[-1]

        retrying = Retrying(
            retry=retry_if_result(lambda reply: again(reply) and not self._stop.wait(0)),
            stop=stop_before_delay(PATIENCE),
            wait=lambda state: max(self._pause(state), self._pace.delay()),
            sleep=self._sleep,
            retry_error_callback=last,
        )
        reply: Reply = retrying(once)
        return reply

    def _pause(self, state: RetryCallState) -> float:
        """Wait as long as the provider asks for, else longer with each attempt, with jitter."""
        asked = self._asked_pause(last(state))
        return BACKOFF(state) if asked is None else asked

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _once(self, method: str, path: str, sent: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        try:
            response = self._session.request(
                method,
                self._base + path,
                headers={**self._headers, **headers},
                timeout=(CONNECTING, self._seconds),
                allow_redirects=False,
                **sent,
            )
        except requests.RequestException as error:
            return Reply(trouble=http.trouble(error), begun=not http.certainly_not_begun(error))
        said = {name: self._hide(value) for name, value in response.headers.items()}
        body = self._hide(response.content.decode(errors="replace"))
        return Reply(response.status_code, an_object(body), CaseInsensitiveDict(said))

    def _hide(self, text: str) -> str:
        """Take out the credential: what was sent may be echoed."""
        return text.replace(self._secret, "[secret]") if self._secret else text


def mapping(thing: object) -> Mapping[str, Any]:
    """Read what should be a JSON object and may be anything."""
    return thing if isinstance(thing, dict) else {}


def an_object(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


BACKOFF = wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE)


def last(state: RetryCallState) -> Reply:
    assert state.outcome
    reply: Reply = state.outcome.result()
    return reply
