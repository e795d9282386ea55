"""What every HTTP caller shares: connections that are bounded in time and guarded.

Everything that fails before a request goes out is a urllib3 ConnectTimeoutError or one of its kind
(NewConnectionError, NameResolutionError), the TLS handshake included: see `certainly_not_begun`.
"""

import socket
import ssl
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)
from urllib3.util.connection import create_connection

from jobctl import parsing
from jobctl.addresses import is_public
from jobctl.receiving import Response, UnreadableError

NO_ANSWER, NO_CONNECTION = "no answer in time", "no connection in time"
PATIENCE = 60.0  # seconds to connect, for a caller that sets no time-out
Failure = requests.RequestException | HTTPError | UnreadableError  # all that a call can come to


class PrivateAddressError(Exception):
    """A host that resolves to an address outside the public internet; reaches callers unwrapped."""


def session(concurrency: int, *, allow_private: bool) -> requests.Session:
    """Return a session for that many threads.

    It never retries, follows no redirects, keeps no cookies, and takes neither proxies, passwords nor
    certificates from the environment. A read time-out bounds the whole answer, not each read of it.
    Without `allow_private` a host of which any address is not public raises PrivateAddressError.
    """
    made = _Session()
    made.trust_env = False
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter(concurrency, allow_private=allow_private))
    return made


def pool(base: str, concurrency: int) -> HTTPConnectionPool:
    """Return the connections of that many threads to one server, without what a session costs a request.

    They are as a session's are; urllib3's own errors are raised. Redirects and repeats are the caller's to
    refuse (`redirect=False, retries=False`).
    """
    pools = _Pools(num_pools=1, maxsize=concurrency, block=False, allow_private=True)
    made: HTTPConnectionPool = pools.connection_from_url(base)
    return made


def certainly_not_begun(error: Failure) -> bool:
    """Tell whether no byte of the request can have reached the other side; else it may have been handled."""
    unsendable = (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidHeader,
    )
    if isinstance(_innermost(error), InvalidHeader):  # of the answer: ours are refused without one of these
        return False
    return isinstance(error, unsendable) or isinstance(_innermost(error), ConnectTimeoutError)


def trouble(error: Failure) -> str:
    """Say what went wrong in words that hold no part of the URL."""
    inner = _innermost(error)
    if isinstance(inner, UnreadableError):
        return str(inner)
    if isinstance(inner, ConnectTimeoutError):
        return _not_connected(inner.__cause__)
    return NO_ANSWER if isinstance(inner, ReadTimeoutError) else "the connection was dropped"


def _not_connected(cause: BaseException | None) -> str:
    match cause:
        case socket.gaierror():
            return "its host name could not be resolved"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({cause.verify_message})"
        case ssl.SSLError():
            return f"TLS failed ({cause.reason})"
        case OSError() if not isinstance(cause, TimeoutError):
            return f"no connection ({parsing.reason(cause)})"
    return NO_CONNECTION


def _innermost(error: Failure) -> Any:
    """Return urllib3's reason, which requests wraps in a MaxRetryError and that in its own; or ours."""
    inner: Any = error
    if isinstance(error, requests.RequestException):
        wrapped = error.args[0] if error.args else error
        inner = getattr(wrapped, "reason", None) or wrapped
    ours = isinstance(inner, ProtocolError) and isinstance(inner.args[-1], UnreadableError)
    return inner.args[-1] if ours else inner


class _Guarded(HTTPConnection):
    """Looks the host up once, and connects to the very addresses that it has checked."""

    response_class = Response

    def __init__(self, *args: Any, allow_private: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self._allow_private = allow_private

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:
            # The TLS handshake; left as it is, it would look like an error of the request.
            raise NewConnectionError(self, f"TLS failed: {error}") from error

    def _new_conn(self) -> socket.socket:
        try:
            return self._first_of(self._addresses())
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no connection in time") from error
        except OSError as error:
            raise NewConnectionError(self, f"no connection: {error}") from error

    def _addresses(self) -> list[str]:
        host = self._dns_host.strip("[]")
        try:
            found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise LocationParseError(host) from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not self._allow_private and not all(is_public(each) for each in addresses):
            raise PrivateAddressError(f"{self.host} has an address that is not public")
        return addresses

    def _first_of(self, addresses: list[str]) -> socket.socket:
        seconds = self.timeout if isinstance(self.timeout, (int, float)) else PATIENCE
        until = time.monotonic() + seconds
        failed: OSError = OSError("no address")
        for position, address in enumerate(addresses):
            # Each gets its share of what is left, so that one that never answers leaves time for the next.
            share = max(until - time.monotonic(), 0.001) / (len(addresses) - position)
            try:
                return create_connection((address, self.port), share, socket_options=self.socket_options)
            except OSError as error:
                failed = error
        raise failed


class _GuardedTls(_Guarded, HTTPSConnection):
    """The same; the certificate is checked against the host's name, whatever address it has."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTls


class _Pools(PoolManager):
    def __init__(self, *, allow_private: bool, **options: Any) -> None:
        super().__init__(**options)
        self.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._allow_private = allow_private

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        pool = super()._new_pool(scheme, host, port, request_context)
        pool.conn_kw["allow_private"] = self._allow_private
        return pool


class _Adapter(HTTPAdapter):
    def __init__(self, concurrency: int, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        super().__init__(pool_connections=concurrency, pool_maxsize=concurrency)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        self.poolmanager = _Pools(
            num_pools=connections, maxsize=maxsize, block=block, allow_private=self._allow_private, **options
        )


class _Session(requests.Session):
    def get_redirect_target(self, _: requests.Response) -> None:
        """Know of no redirects; asked not to follow one, requests would still read its whole body."""
