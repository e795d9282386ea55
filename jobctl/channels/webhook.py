"""Webhooks as the Standard Webhooks specification wants them: signed, and with an id to drop repeats by."""

import base64
import hashlib
import hmac
import json
import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from jobctl import __version__, http
from jobctl.channels.protocol import Answer, Message, Refused, Sent
from jobctl.job import Lost, ScopeDownError
from jobctl.settings import Settings

PORTS = {"http": 80, "https": 443}
LONGEST_DELAY = timedelta(days=1)
MOST_READ = 64 * 1024  # bytes of an answer's body; a connection whose answer goes on is not reused
UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")  # a backslash is read as a slash by some and not by others
LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
LOCKED_OUT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


class Webhook:
    """The HTTP channel; a dead server closes no other, a revoked endpoint none beside it."""

    def __init__(self, settings: Settings, concurrency: int) -> None:
        assert settings.webhook_secret
        self._secret = settings.webhook_secret
        self._seconds = settings.webhook_timeout.total_seconds()
        self._session = http.session(concurrency, allow_private=settings.webhook_allow_private)

    def send(self, message: Message) -> Answer:
        try:
            endpoint(message.address)
            body = payload(message)
        except ValueError as error:
            return Refused(str(error), permanent=True)
        try:
            return self._post(message, body)
        except http.PrivateAddressError:
            refusal = "the webhook's host is in a private network; WEBHOOK_ALLOW_PRIVATE=true allows that"
            return Refused(refusal, permanent=True)
        except ValueError:  # from the URL parsers of requests and urllib3
            return Refused("the webhook's address is no valid URL", permanent=True)
        except requests.RequestException as error:
            if http.certainly_not_begun(error):
                reason = f"the webhook could not be reached: {http.trouble(error)}"
                raise ScopeDownError(scope(message.address), reason) from error
            return Lost(f"the webhook did not confirm the message: {http.trouble(error)}")

    def close(self) -> None:
        self._session.close()

    def _post(self, message: Message, body: bytes) -> Answer:
        response = self._session.post(
            message.address,
            data=body,
            headers=headers(message.key, body, self._secret, int(time.time())),
            timeout=self._seconds,
            allow_redirects=False,
            stream=True,
        )
        drain(response)
        where = endpoint_scope(message.address)
        return judge(response.status_code, response.headers.get("Retry-After"), where)


def check(message: Message) -> None:
    """Raise ValueError where the message's address or data can be sent to nobody."""
    endpoint(message.address)
    payload(message)


def scope(address: str) -> str:
    try:
        scheme, host, port = endpoint(address)
    except ValueError:
        return "webhook"
    return f"webhook {scheme}://{host}:{port}"


def endpoint_scope(address: str) -> str:
    """Name an endpoint without its path, which may be what lets one in."""
    return f"{scope(address)}, endpoint {hashlib.sha256(address.encode()).hexdigest()[:8]}"


def endpoint(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port; raises ValueError with a reason that doesn't hold the address."""
    if UNSAFE.search(address):
        raise ValueError("the webhook's address holds a space, a backslash or a control character")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError("the webhook's address is no valid URL") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("the webhook's address is no http: or https: URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the webhook's address holds a user name or password")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme, host, port or PORTS[parts.scheme]


def payload(message: Message) -> bytes:
    """Write the body, the same on every attempt; raises ValueError."""
    data = {
        "notification_id": message.id,
        "user_id": message.user_id,
        "category": message.category,
        "context": message.data,
    }
    queued = message.queued_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {"type": message.template, "timestamp": queued, "data": data}
    try:
        return json.dumps(body, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError("the message's data cannot be written as JSON") from error


def headers(key: str, body: bytes, secret: bytes, now: int) -> dict[str, str]:
    signed = hmac.digest(secret, f"{key}.{now}.".encode() + body, hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "User-Agent": f"jobctl/{__version__}",
        "Idempotency-Key": key,
        "webhook-id": key,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


def drain(response: requests.Response) -> None:
    """Read the answer's body if it is short, for the connection's sake: the status has said it all."""
    with suppress(HTTPError, OSError):
        response.raw.read(MOST_READ, decode_content=False)
    response.close()


def judge(status: int, retry_after: str | None, where: str) -> Answer:
    said = f"the webhook answered {status}"
    match status // 100:
        case 2:
            return Sent()
        case 3:
            return Refused(f"redirects are not followed: {status}", permanent=True)
        case 4 if status in LOCKED_OUT:
            raise ScopeDownError(where, said)
        case 4 if status not in LATER:
            return Refused(said, permanent=True)
    if (pause := delay(retry_after, datetime.now(UTC))) and status in BUSY:
        raise ScopeDownError(where, said, retry_after=pause)
    return Refused(said, permanent=False, retry_after=pause)


def delay(retry_after: str | None, now: datetime) -> timedelta | None:
    """Read seconds or an HTTP date; None where it is neither, or past."""
    if not retry_after:
        return None
    try:
        seconds = float(int(retry_after)) if retry_after.isdecimal() else since(retry_after, now)
    except (ValueError, OverflowError):
        return None
    return timedelta(seconds=min(seconds, LONGEST_DELAY.total_seconds())) if seconds > 0 else None


def since(date: str, now: datetime) -> float:
    at = parsedate_to_datetime(date)
    return (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
