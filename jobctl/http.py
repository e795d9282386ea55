"""What every HTTP caller shares: connections that are bounded in time and guarded.

Everything that fails before a request goes out is a urllib3 ConnectTimeoutError or one of its kind
(NewConnectionError, NameResolutionError), the TLS handshake included: see `certainly_not_begun`.
"""

import io
import socket
import ssl
import time
from contextlib import suppress
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util.connection import create_connection

from jobctl import parsing

GLOBAL_UNICAST = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")
# What the `ipaddress` of older Pythons takes for public.
NOT_PUBLIC = [ip_network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")]
NO_ANSWER, NO_CONNECTION = "no answer in time", "no connection in time"
PATIENCE = 60.0  # seconds to connect, for a caller that sets no time-out


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


def certainly_not_begun(error: requests.RequestException | HTTPError) -> bool:
    """Tell whether no byte of the request can have reached the other side; else it may have been handled."""
    unsendable = (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidHeader,
    )
    return isinstance(error, unsendable) or isinstance(_innermost(error), ConnectTimeoutError)


def trouble(error: requests.RequestException | HTTPError) -> str:
    """Say what went wrong in words that hold no part of the URL."""
    inner = _innermost(error)
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


def is_public(address: str) -> bool:
    """Tell whether an address, and one of IPv4 that it embeds, is global unicast."""
    ip = ip_address(address.partition("%")[0])
    inner = _embedded(ip)
    if inner:
        return is_public(str(inner))
    if isinstance(ip, IPv6Address) and ip not in GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in each for each in NOT_PUBLIC)


def _embedded(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(ip, IPv4Address):
        return None
    return ip.ipv4_mapped or ip.sixtofour or (IPv4Address(ip.packed[-4:]) if ip in NAT64 else None)


def _innermost(error: requests.RequestException | HTTPError) -> Any:
    """Return urllib3's reason, which requests wraps in a MaxRetryError and that in its own."""
    if isinstance(error, HTTPError):
        return error
    wrapped = error.args[0] if error.args else error
    return getattr(wrapped, "reason", None) or wrapped


class _Bounded(io.RawIOBase):
    """What a socket receives, all of it within the socket's time-out."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)
        self._seconds = sock.gettimeout()
        self._until = None if self._seconds is None else time.monotonic() + self._seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is None:
            return self._raw.readinto(buffer)
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        finally:
            # The connection's next request starts with the full time again.
            with suppress(OSError):
                self._sock.settimeout(self._seconds)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Receiver:
    """A socket as HTTPResponse wants it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Bounded(self._sock))


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(_Receiver(sock), *args, **options)  # type: ignore[arg-type] # makefile is all it uses


class _Guarded(HTTPConnection):
    """Looks the host up once, and connects to the very addresses that it has checked."""

    response_class = _Response

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
