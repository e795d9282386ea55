"""Flutterwave: access tokens of its identity server.

Sources: Flutterwave's documentation (v4, Authentication), and RFC 6749, sections 4.4 and 5: client
credentials have no refresh token, renewing is asking again.
"""

import re
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Self

from jobctl.job import Means, ScopeDownError
from jobctl.parsing import Rate
from jobctl.providers.tokens import FLUTTERWAVE, Ask, Refused, Token, Unclear
from jobctl.providers.transport import Reply, Transport
from jobctl.settings import Settings

RATE = Rate(10, 1)
BUSY = (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
TOKEN = re.compile(r"[!-~]{1,16000}")
# RFC 6749, 5.2: these stay so until somebody changes the credentials.
FINAL = {
    "invalid_client": "it knows no such client, or the secret is another",
    "invalid_request": "it finds something missing in the request",
    "invalid_grant": "it does not grant that",
    "unauthorized_client": "the client may not ask for tokens so",
    "unsupported_grant_type": "it gives no tokens for client credentials",
    "invalid_scope": "it does not know the scope",
}
LONGEST = timedelta(days=365).total_seconds()
MOST = 64 * 1024  # bytes of an answer, which is a token and little else
LONGEST_TEXT = 16_384  # characters of a string in it: a token that is cut must not look whole


class Flutterwave:
    """The identity server; a context manager, used by many threads at once."""

    def __init__(self, settings: Settings, means: Means) -> None:
        url, timeout = settings.flutterwave_token_url, settings.flutterwave_timeout
        self._transport = Transport(url, {}, means, RATE, timeout, most=MOST, longest=LONGEST_TEXT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def token(self, ask: Ask) -> Token | Refused | Unclear:
        """Ask for a token; raises ScopeDownError where the server cannot be reached, or has trouble."""
        form = {"client_id": ask.client_id, "client_secret": ask.client_secret}
        fields = [*form.items(), ("grant_type", "client_credentials")]
        reply = self._transport.ask("POST", "", worth_repeating, fields=fields)
        if reply.status == HTTPStatus.OK:
            return read(reply, ask.at)
        code = str((reply.body or {}).get("error"))
        if reply.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED) and code in FINAL:
            return Refused(code, FINAL[code])
        if busy(reply):
            raise ScopeDownError(FLUTTERWAVE, said(reply))
        return Unclear(said(reply))


def read(reply: Reply, at: datetime) -> Token | Unclear:
    body = reply.body or {}
    token, seconds, kind = body.get("access_token"), body.get("expires_in"), body.get("token_type")
    sound = isinstance(token, str) and TOKEN.fullmatch(token)
    timed = isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds <= LONGEST
    if not sound or not timed or str(kind).lower() != "bearer":
        return Unclear("Flutterwave answered without a bearer token and its time")
    return Token(str(token), at + timedelta(seconds=int(str(seconds))))


def busy(reply: Reply) -> bool:
    """Tell whether the server is of no use for the moment, whoever asks."""
    return reply.status is None or reply.status in BUSY or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def worth_repeating(reply: Reply) -> bool:
    """Tell whether to ask again at once: a token too many does no harm."""
    return busy(reply) and reply.status != HTTPStatus.FORBIDDEN


def said(reply: Reply) -> str:
    """Say what came back, but nothing of its body, which may hold what was sent."""
    if reply.status is None:
        return f"Flutterwave gave no answer: {reply.trouble}"
    return ", ".join(each for each in (f"Flutterwave answered {reply.status}", reply.trouble) if each)
