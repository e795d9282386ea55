"""The billing service: what it knows of checkout sessions.

Source: the service is private; of its protocol is known that `GET /billing/api/v1/paysession/{id}`, with the
key in the header x-api-key, answers 200 while a session is active. A status that it tells and nobody knows is
taken for one that is not final.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import quote, urlsplit

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError

from jobctl import __version__, http, outside_text, receiving
from jobctl.errors import Exit, MisconfiguredError
from jobctl.job import Means, ScopeDownError
from jobctl.providers.checkouts import BILLING, Answered, Silent
from jobctl.settings import Settings

PATH = "/billing/api/v1/paysession/"
CONNECTING = 5.0  # seconds
MOST_READ = 64 * 1024  # bytes of a body, unpacked; a connection whose answer goes on is not used again
LOCKED_OUT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


class Billing:
    """The way to the billing service; a context manager, used by many threads at once."""

    def __init__(self, settings: Settings, means: Means) -> None:
        """Raise MisconfiguredError without a key."""
        if not settings.apikey:
            raise MisconfiguredError(
                "⚠️ APIKEY not found in environment variables: set it to the key of the billing service"
            )
        base = settings.billing_base_url
        self._pool = http.pool(base, means.concurrency)
        self._path = urlsplit(base).path.rstrip("/") + PATH
        self._headers = {"User-Agent": f"jobctl/{__version__}", "x-api-key": settings.apikey}
        seconds = settings.billing_timeout.total_seconds()
        self._timeout = Timeout(total=seconds, connect=min(seconds, CONNECTING))
        self._field = settings.checkout_status_field.split(".")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def session(self, checkout_id: str) -> Answered | Silent:
        """Ask once what is known of a session; raises ScopeDownError where the key is refused."""
        try:
            answer = self._pool.urlopen(
                "GET",
                self._path + quote(checkout_id, safe=""),
                headers=self._headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            body = short(answer)
        except HTTPError as error:
            said = http.trouble(error)
            timed_out = said in (http.NO_ANSWER, http.NO_CONNECTION)
            return Silent(said, timed_out=timed_out, reached=not http.certainly_not_begun(error))
        if answer.status in LOCKED_OUT:
            raise ScopeDownError(BILLING, f"it refused APIKEY ({answer.status})", Exit.MISCONFIGURED)
        return Answered(answer.status, told(body, self._field))


def short(answer: BaseHTTPResponse) -> bytes | bytearray:
    """Return the body, or nothing where it cannot be read: the status has said the most."""
    try:
        return receiving.body(answer, MOST_READ)
    except receiving.UnreadableError:
        answer.close()
        return b""


def told(body: bytes | bytearray, path: list[str]) -> str | None:
    """Return the text that a field of a JSON object has."""
    found: Any = outside_text.an_object(body)
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None
