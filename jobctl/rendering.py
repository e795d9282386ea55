"""Notification templates: files by language, rendered for one recipient.

A template NAME is `LANGUAGE/NAME.subject.txt`, `LANGUAGE/NAME.txt` and, for e-mail, `LANGUAGE/NAME.html`,
looked for in TEMPLATES_FOLDER first and among the built-in ones second; each file can be overridden by
itself. Instants and amounts are written for the recipient's language and time zone.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, get_timezone_location
from babel.numbers import format_currency
from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateNotFound,
    pass_context,
    select_autoescape,
)
from jinja2.runtime import Context

from jobctl.money import Money, major

BUILT_IN = Path(__file__).with_name("templates")
LAST_RESORT = "en"
LONGEST_ZONE = 64  # characters
TAG = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}")  # of a language, as in RFC 5646


class RenderError(Exception):
    """A message that its template cannot be rendered for, in one sentence."""


@dataclass(frozen=True)
class Rendered:
    subject: str
    text: str
    html: str | None


@dataclass(frozen=True)
class Reader:
    """Whom a message is rendered for."""

    name: str
    locale: str | None
    time_zone: str | None


class Templates:
    """The templates of one folder over the built-in ones, compiled once."""

    def __init__(self, folder: Path | None, default_locale: str) -> None:
        self.default_locale = default_locale
        self.environment = Environment(
            loader=FileSystemLoader([*([folder] if folder else []), BUILT_IN]),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
        )
        self.environment.filters |= {"instant": instant, "day": day, "money": money}

    def render(self, name: str, reader: Reader, context: Mapping[str, Any]) -> Rendered:
        """Render a template. Raises RenderError with what is wrong and where."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
            raise RenderError(f"{name!r} is no template's name: lower-case letters, digits and hyphens")
        path = name
        try:
            locale = reader.locale if reader.locale and TAG.fullmatch(reader.locale) else None
            language = self.language(name, locale)
            path = f"{language}/{name}"
            values = {
                **context,
                "recipient": {"name": reader.name},
                "language": language,
                "locale": known_locale(locale, language),
                "zone": known_zone(reader.time_zone),
            }
            subject = self.environment.get_template(f"{path}.subject.txt").render(values).strip()
            text = self.environment.get_template(f"{path}.txt").render(values)
            return Rendered(subject, text, self.html(f"{path}.html", values))
        except TemplateNotFound as error:
            raise RenderError(f"there is no template file {error.name}") from error
        except TemplateError as error:
            where = getattr(error, "name", None) or path
            raise RenderError(f"template {where}: {error.message}") from error
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise RenderError(f"template {path}: {error}") from error

    def html(self, path: str, values: Mapping[str, Any]) -> str | None:
        try:
            template = self.environment.get_template(path)
        except TemplateNotFound as error:
            if error.name != path:
                raise
            return None
        return template.render(values)

    def language(self, name: str, locale: str | None) -> str:
        """Choose the recipient's language, or what comes nearest to it and is there."""
        for language in dict.fromkeys(self.languages(locale)):
            if self.there(f"{language}/{name}.txt"):
                return language
        raise RenderError(f"there is no template {name!r}: no {self.default_locale}/{name}.txt")

    def languages(self, locale: str | None) -> Iterator[str]:
        if locale:
            tag = locale.replace("_", "-")
            yield from (tag, tag.partition("-")[0].lower())
        yield from (self.default_locale, LAST_RESORT)

    def there(self, path: str) -> bool:
        try:
            self.environment.get_template(path)
        except TemplateNotFound:
            return False
        except ValueError:
            return True  # there and unreadable, as rendering it will tell
        return True


@lru_cache
def templates(folder: Path | None, default_locale: str) -> Templates:
    return Templates(folder, default_locale)


@lru_cache
def known_locale(tag: str | None, language: str) -> Locale:
    """Return the locale for dates and amounts: the recipient's region where it speaks the text's language."""
    try:
        locale = Locale.parse((tag or language).replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return Locale.parse(language.partition("-")[0])
    return (
        locale if locale.language == language.partition("-")[0] else Locale.parse(language.partition("-")[0])
    )


@lru_cache
def known_zone(name: str | None) -> tzinfo:
    """Return the time zone of that name; UTC where there is none, which the text then says."""
    try:
        return ZoneInfo(name) if name and len(name) <= LONGEST_ZONE else UTC
    except (LookupError, ValueError, OSError):
        return UTC


def parsed(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("expected an ISO 8601 date-time")  # noqa: TRY004 (one kind of failure)
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("expected an ISO 8601 date-time") from None  # without the value: it may be personal
    return when if when.tzinfo else when.replace(tzinfo=UTC)


@pass_context
def instant(context: Context, value: Any) -> str:
    """Write an ISO 8601 instant as the recipient's date and time, and say where that time holds."""
    zone, locale = context["zone"], context["locale"]
    pattern = f"{locale.date_formats['full'].pattern}, HH:mm"
    written: str = format_datetime(parsed(value), pattern, tzinfo=zone, locale=locale)
    where = "UTC" if zone is UTC else get_timezone_location(zone, locale=locale, return_city=True)
    return f"{written} ({where})"


@pass_context
def day(context: Context, value: Any) -> str:
    """Write an ISO 8601 instant as the recipient's date."""
    when = parsed(value).astimezone(context["zone"])
    written: str = format_date(when, "long", locale=context["locale"])
    return written


@pass_context
def money(context: Context, value: Any) -> str:
    """Write `{"minor": 4500, "currency": "EUR"}` as an amount in the recipient's language."""
    if not isinstance(value, dict) or not isinstance(value.get("minor"), int):
        raise ValueError("expected an amount with minor and currency")  # noqa: TRY004 (as above)
    amount = Money(value["minor"], str(value["currency"]))
    # All the decimals that ISO 4217 has, where fewer are usual too: money is never rounded.
    written: str = format_currency(
        major(amount), amount.currency, locale=context["locale"], decimal_quantization=False
    )
    return written
