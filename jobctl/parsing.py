"""Strict readers of what people write: durations, rates, instants, addresses.

Each takes text and returns the value, or raises ValueError with what was expected, in words that go
on from "expected".
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from jobctl.registry import JOBS

Parser = Callable[[str], Any]
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
WHOLE = 10_000  # basis points, of which a percentage has a hundred
CHANNELS = ("email", "sms", "push", "tray", "webhook")
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
LOCAL = {"localhost", "127.0.0.1", "::1"}
TOKEN_PATH = "/realms/flutterwave/protocol/openid-connect/token"  # noqa: S105 (no password)
BILLING_PATHS = ("/billing/api/v1/paysession", "/billing/api/v1", "/billing/api")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[?[0-9A-Fa-f:]+\]?")


def reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def text(value: str) -> str:
    return value


def printable(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("some printable text")
    return value.strip()


def whole(low: int, high: int | None = None) -> Parser:
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,19}", value) or int(value) < low or (high and int(value) > high):
            raise ValueError(f"a whole number {bounds}")
        return int(value)

    return parse


def boolean(value: str) -> bool:
    if value.lower() not in TRUE + FALSE:
        raise ValueError("true or false")
    return value.lower() in TRUE


def choice(*allowed: str) -> Parser:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(" or ".join(allowed))
        return value

    return parse


def duration(value: str) -> timedelta:
    """Read `90s`, `15m`, `24h`, `3d`, `2w`, `1y` (365 days) or `500ms`."""
    match = re.fullmatch(r"([0-9]{1,30}(?:\.[0-9]{1,3})?)(ms|[smhdwy])", value)
    if not match or not float(match[1]):
        raise ValueError("a duration above zero: a number and one of ms s m h d w y")
    seconds = float(match[1]) * UNITS[match[2]]
    if seconds > 100 * UNITS["y"]:
        raise ValueError("a duration of at most 100y")
    return timedelta(seconds=seconds)


def durations(value: str) -> tuple[timedelta, ...]:
    """Read different durations, the shortest first."""
    expected = "one or more durations of at most 1y (a number and one of ms s m h d w y), commas between"
    try:
        found = tuple(sorted({duration(each.strip()) for each in value.split(",")}))
    except ValueError as error:
        raise ValueError(expected) from error
    if found[-1] > timedelta(seconds=UNITS["y"]):
        raise ValueError(expected)
    return found


@dataclass(frozen=True)
class Limit:
    """How long something of a job may take."""

    job: str
    span: timedelta
    written: str

    def __str__(self) -> str:
        return f"{self.job}={self.written}"


def limits(value: str) -> tuple[Limit, ...]:
    """Read `job=duration`, several with commas between; none where there is nothing."""
    found: list[Limit] = []
    for part in value.split(",") if value.strip() else ():
        job, _, written = part.strip().partition("=")
        if job not in {each.name for each in JOBS} or job in {each.job for each in found}:
            raise ValueError("job=duration, with commas between, each job once: jobctl jobs")
        found.append(Limit(job, duration(written), written))
    return tuple(found)


def day_numbers(value: str) -> tuple[int, ...]:
    """Read different numbers of days, the lowest first."""
    expected = "one or more whole numbers from 0 to 60, with commas between"
    try:
        return tuple(sorted({whole(0, 60)(each.strip()) for each in value.split(",")}))
    except ValueError as error:
        raise ValueError(expected) from error


def channels(value: str) -> tuple[str, ...]:
    named = [each.strip() for each in value.split(",")]
    if not set(named) <= set(CHANNELS):
        raise ValueError(f"one or more of {', '.join(CHANNELS)}, with commas between")
    return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class Rate:
    """At most `count` in every `per` seconds."""

    count: int
    per: int

    @property
    def spacing(self) -> float:
        """Return the seconds between two evenly spaced events."""
        return self.per / self.count

    def __str__(self) -> str:
        unit = {1: "s", 60: "m", 3600: "h"}[self.per]
        return f"{self.count}/{unit}"


def rate(value: str) -> Rate:
    match = re.fullmatch(r"([1-9][0-9]{0,6})/([smh])", value)
    if not match:
        raise ValueError("a rate: a whole number, a slash and one of s m h")
    return Rate(int(match[1]), int(UNITS[match[2]]))


@dataclass(frozen=True)
class Uncertain:
    """By channel: whether a message of open outcome is sent again or held for a person."""

    hold: frozenset[str]

    def __str__(self) -> str:
        return ",".join(f"{each}={'hold' if each in self.hold else 'resend'}" for each in CHANNELS)


def uncertain(value: str) -> Uncertain:
    """Read `hold`, `resend`, or `email=hold,sms=resend`; channels left out keep the default."""
    if value in ("hold", "resend"):
        return Uncertain(frozenset(CHANNELS if value == "hold" else ()))
    hold, named = {"sms", "push"}, list[str]()
    for part in value.split(","):
        channel, _, policy = part.strip().partition("=")
        named.append(channel)
        if channel not in CHANNELS or policy not in ("hold", "resend") or named.count(channel) > 1:
            raise ValueError(
                f"resend, hold, or channel=resend|hold with commas between ({', '.join(CHANNELS)})"
            )
        (hold.add if policy == "hold" else hold.discard)(channel)
    return Uncertain(frozenset(hold))


def since(value: str, now: datetime) -> datetime:
    """Read an ISO 8601 date or date-time (no offset: UTC), or an age such as `36h`, into UTC."""
    if re.fullmatch(r"[0-9.]+[a-z]+", value):
        return now - duration(value)
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|$)", value):
        raise ValueError("an ISO 8601 date or date-time, or an age such as 90m, 36h, 7d")
    try:
        instant = datetime.fromisoformat(value)
        return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("an ISO 8601 date or date-time, or an age such as 90m, 36h, 7d") from error


def as_of(value: str, now: datetime) -> datetime:
    """Read an ISO 8601 date or date-time (no offset: UTC), or a time from now such as `+24h`, into UTC."""
    expected = "an ISO 8601 date or date-time, or a time from now such as +8h, +1d"
    if re.fullmatch(r"[0-9.]+[a-z]+", value):  # an age would ask of the past
        raise ValueError(expected)
    try:
        return now + duration(value[1:]) if value.startswith("+") else since(value, now)
    except ValueError as error:
        raise ValueError(expected) from error


def folder(value: str) -> Path:
    path = Path(value).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError("a folder")
    return path


def existing_folder(value: str) -> Path:
    if not Path(value).expanduser().is_dir():
        raise ValueError("a folder that exists")
    return folder(value)


def existing_file(value: str) -> Path:
    path = Path(value).expanduser()
    if not path.is_file():
        raise ValueError("a file that exists")
    return path


PATHS = (folder, existing_folder, existing_file)  # relative ones start from somewhere


def host(value: str) -> str:
    if not HOST.fullmatch(value):
        raise ValueError("a host name or address, without scheme, path or port")
    return value


def stripe_key(value: str) -> str:
    if not re.fullmatch(r"[sr]k_(live|test)_[A-Za-z0-9_]+", value):
        raise ValueError("a secret or restricted key of Stripe")
    return value


def yookassa_key(value: str) -> str:
    if not re.fullmatch(r"(live|test)_[A-Za-z0-9_-]+", value):
        raise ValueError("a secret key of YooKassa")
    return value


def shop_id(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,17}", value):
        raise ValueError("the number of a shop")
    return value


@dataclass(frozen=True)
class Percent:
    """A share in basis points, which are hundredths of a percent."""

    points: int

    def __str__(self) -> str:
        whole, rest = divmod(self.points, 100)
        return f"{whole}.{rest:02}" if rest else str(whole)


def percent(value: str) -> Percent:
    match = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?", value)
    points = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else -1
    if not 0 <= points <= WHOLE:
        raise ValueError("a percentage from 0 to 100, of two decimals at most")
    return Percent(points)


def currency(value: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", value):
        raise ValueError("the ISO 4217 code of a currency, in capitals")
    return value


def paystack_key(value: str) -> str:
    if not re.fullmatch(r"sk_(live|test)_[A-Za-z0-9_]+", value):
        raise ValueError("a secret key of Paystack")
    return value


def secret_keys(value: str) -> tuple[str, ...]:
    """Read Fernet keys, of which the first encrypts and all decrypt."""
    keys = tuple(each.strip() for each in value.split(","))
    if not all(re.fullmatch(r"[A-Za-z0-9_-]{43}=", each) for each in keys):
        raise ValueError("Fernet keys, with commas between them: `jobctl credentials key` makes one")
    return keys


def name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", value):
        raise ValueError("a name of up to 32 lower-case letters, digits and hyphens")
    return value


def http_url(value: str) -> str:
    """Read where an API answers; without TLS only on this machine, since requests carry the key."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    local = parts.hostname in LOCAL and port is not None
    if not parts.hostname or parts.scheme not in ("https", "http") or parts.query or parts.fragment:
        raise ValueError("an https:// URL, or http:// with a port of this machine")
    if parts.username is not None or (parts.scheme == "http" and not local):
        raise ValueError("an https:// URL (http:// only with a port of this machine), without a user name")
    return value.rstrip("/")


def api_base(value: str) -> str:
    """Read where a provider's API answers: its host alone, since the paths begin with the API's version."""
    parts = urlsplit_or_none(value)
    if not parts:
        return http_url(value)
    host = http_url(f"{parts.scheme}://{parts.netloc}")
    if parts.path.strip("/") or "?" in value or "#" in value:
        raise ValueError(f"a host alone, to which jobctl adds the path (set it to {host})")
    return host


def token_url(value: str) -> str:
    """Read where a token is asked for: all of the address, to which nothing is added."""
    url = http_url(value)
    if not urlsplit(url).path:
        raise ValueError(f"all of the address, with its path (set it to {url}{TOKEN_PATH})")
    return url


def billing_base(value: str) -> str:
    """Read where the billing service answers; it may be below a path, but not below that of its sessions."""
    url = private_url(value)
    for path in BILLING_PATHS:
        if url.endswith(path):
            fit = url.removesuffix(path)
            raise ValueError(f"an address without {path}, which jobctl adds (set it to {fit})")
    return url


def urlsplit_or_none(value: str) -> SplitResult | None:
    try:
        return urlsplit(value)
    except ValueError:
        return None


def private_url(value: str) -> str:
    """Read where a service of one's own network answers, where connections may do without TLS."""
    try:
        parts = urlsplit(value)
        sound = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, sound = urlsplit(""), None
    if not sound or parts.scheme not in ("https", "http") or parts.query or parts.fragment or "@" in value:
        raise ValueError("an http:// or https:// URL without a user name, a query and a fragment")
    return value.rstrip("/")


def header_value(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("visible ASCII characters only")
    return value


def field_path(value: str) -> str:
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", value):
        raise ValueError("the name of a field, or several with dots between them")
    return value


@dataclass(frozen=True)
class Months:
    """A span of calendar months."""

    number: int

    def __str__(self) -> str:
        return f"{self.number}mo"


def months(value: str) -> Months:
    found = re.fullmatch(r"([1-9][0-9]{0,2})mo", value)
    if not found:
        raise ValueError("calendar months such as 6mo")
    return Months(int(found[1]))


def locale(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*", value):
        raise ValueError("a language tag")
    return value


def mailbox(value: str) -> str:
    """Read `name@host` or `Name <name@host>`; refuse what could end a header line."""
    match = re.fullmatch(r"(?:[^<>\x00-\x1f]*<([^<>\s]+)>|([^<>\s]+))", value)
    address = match and (match[1] or match[2])
    if not address or not re.fullmatch(r"[^@\s,;]+@[^@\s,;]+", address):
        raise ValueError("an e-mail address, with or without a name")
    return value


def unsubscribe(value: str) -> str:
    try:
        value.format(user_id=1, category="x")
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError("a link whose only placeholders are {user_id} and {category}") from error
    if not re.fullmatch(r"(https://|mailto:)[^\s<>]+", value):
        raise ValueError("a https: or mailto: link")
    return value


def webhook_secret(value: str) -> bytes:
    """Decode a signing key: `whsec_` and Base64 of 24 to 64 bytes (Standard Webhooks)."""
    try:
        key = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not value.startswith("whsec_") or not 24 <= len(key) <= 64:  # noqa: PLR2004
        raise ValueError("whsec_ and Base64 of 24 to 64 random bytes")
    return key


SQLITE = "sqlite:"
POSTGRES_SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")
# A URL's password, and what a query may hold of them.
PASSWORDS = re.compile(r"(?<=://)([^:@/?#]*:)([^@]*)(?=@)|(?<=[?&])((?:ssl)?password=)([^&]+)")


def database_url(value: str) -> str | Path:
    """Return the path of an SQLite database, or a PostgreSQL URL in the one form that psycopg takes."""
    if not value.startswith(SQLITE):
        return postgres_url(value)
    path = value.removeprefix("sqlite:///")
    if not path.startswith("/") or "?" in path:
        raise ValueError("a PostgreSQL URL, or sqlite:/// and an absolute path: sqlite:////var/lib/jobctl.db")
    return Path("/" + path.lstrip("/"))


def schema(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]{0,62}", value):
        raise ValueError("the name of a schema: letters, digits and _")
    return value


def postgres_url(value: str) -> str:
    """Bring `postgres://`, `postgresql://` and `postgresql+psycopg://` to the one form that psycopg takes."""
    scheme, colon, rest = value.partition("://")
    if not colon or scheme not in POSTGRES_SCHEMES:
        raise ValueError("a URL that begins with postgresql:// (or, for SQLite, sqlite:/// and a path)")
    authority, _, after = (
        re.split(r"([/?#])", rest, maxsplit=1) if re.search(r"[/?#]", rest) else (rest, "", "")
    )
    # libpq takes several hosts, each with its port; of those it is the judge.
    port = authority.rpartition("@")[2].rpartition(":")[2]
    odd_port = "," not in authority and ":" in authority.rpartition("@")[2] and not port_fits(port)
    if authority.count("@") > 1 or "@" in after.partition("?")[0] or "#" in rest or odd_port:
        raise ValueError("a PostgreSQL URL; in a password, / @ : ? # are written %2F %40 %3A %3F %23")
    return f"postgresql://{rest}"


def port_fits(port: str) -> bool:
    return not port or port.endswith("]") or (port.isdecimal() and 0 < int(port) < 1 << 16)


def is_url(value: str) -> bool:
    return value.partition("://")[0] in POSTGRES_SCHEMES and "://" in value


def secret_parts(value: str) -> list[str]:
    """Return what of a secret must never be printed: of a database URL its passwords, of others the whole."""
    if value.startswith(SQLITE):
        return []
    if not is_url(value):
        return [value]
    found = [match[2] or match[4] for match in PASSWORDS.finditer(value)]
    return [each for part in found if part for each in (part, unquote(part))]


def masked(value: str) -> str:
    """Show a secret so that it can be recognized as set, and a database URL without its passwords."""
    if not is_url(value):
        return "********"
    return PASSWORDS.sub(lambda match: f"{match[1] or match[3]}********", value)
