"""Queue notifications, inside the caller's transaction: one for each channel that the user takes them by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Insert,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from jobctl.db import fixed_width, insert_from, json_object
from jobctl.job import At
from jobctl.tables.notifications import TRANSACTIONAL, channel_preferences, notifications, users
from jobctl.tables.types import Instant, Json, inline


@dataclass(frozen=True)
class Notice:
    """What a user is told. Its values are constants, or SQL over the rows of a step.

    once: what tells this occasion from others of the same template: it is queued once for all of them, the
    user and the channel. context: what the template needs. session_id: it is of use only while that session
    is still to come, and starts at `expires_at`.
    """

    template: str
    to: Any  # a user's id
    once: Sequence[Any]
    category: str = "general"
    context: Any = field(default_factory=dict)  # a mapping
    expires_at: Any = None
    session_id: Any = None
    when: ColumnElement[bool] | None = None


COLUMNS = (
    "user_id",
    "channel",
    "category",
    "template",
    "context",
    "once_key",
    "queued_at",
    "expires_at",
    "session_id",
)
reader = users.alias("reader")
for_category = channel_preferences.alias("for_category")
for_all = channel_preferences.alias("for_all")


def queued(notice: Notice, at: At, dialect: str) -> Select[Any]:
    """Select the rows to insert, in the order of COLUMNS; `to` and `when` tie them to the step's rows."""
    return rows_of(notice, at.settings.notification_channels, at.present, dialect)


def rows_of(notice: Notice, chosen: Sequence[str], now: Any, dialect: str) -> Select[Any]:
    channels = listed(chosen)
    channel = channels.c.channel
    # A user has no device's token to push to.
    places = {
        "email": reader.c.email,
        "sms": reader.c.phone,
        "push": null(),
        "webhook": reader.c.webhook_url,
    }
    reached = [(channel == inline(each), place.is_not(None)) for each, place in places.items()]
    when = [] if notice.when is None else [notice.when]
    values: tuple[ColumnElement[Any], ...] = (
        reader.c.id,
        channel,
        inline(notice.category),
        inline(notice.template),
        object_of(notice.context, dialect),
        key_of(notice, channel, dialect),
        valued(now, Instant()),
        valued(notice.expires_at, Instant()),
        valued(notice.session_id, notifications.c.session_id.type),
    )
    return (
        select(*(each.label(name) for name, each in zip(COLUMNS, values, strict=True)))
        .select_from(preferring(channels, notice.category))
        .where(reader.c.id == notice.to, reader.c.deleted_at.is_(None), case(*reached, else_=true()), *when)
        .where(*([] if notice.category == TRANSACTIONAL else [accepted()]))
    )


def preferring(channels: FromClause, category: str) -> FromClause:
    """Join readers and channels, with what each reader has said of that category by that channel."""

    def said(preference: FromClause, of: str) -> ColumnElement[bool]:
        theirs = (preference.c.user_id == reader.c.id) & (preference.c.channel == channels.c.channel)
        return and_(theirs, preference.c.category == inline(of))

    everybody = reader.join(channels, true())
    if category == TRANSACTIONAL:
        return everybody
    about_it = everybody.outerjoin(for_category, said(for_category, category))
    return about_it.outerjoin(for_all, said(for_all, "*"))


def accepted() -> ColumnElement[bool]:
    return func.coalesce(for_category.c.accepted, for_all.c.accepted, true())


def listed(channels: Sequence[str]) -> FromClause:
    return union_all(*(select(inline(each).label("channel")) for each in channels)).subquery("channels")


def valued(value: Any, kind: Any) -> ColumnElement[Any]:
    return value if isinstance(value, ColumnElement) else literal(value, kind)


def object_of(context: Any, dialect: str) -> ColumnElement[Any]:
    """Build the context: in SQL where values of it are SQL, else at once."""
    if isinstance(context, ColumnElement):
        return context
    if not has_sql(context):
        return literal(dict(context), Json)
    return json_object({name: in_sql(value, dialect) for name, value in context.items()}, dialect)


def has_sql(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(has_sql(each) for each in value.values())
    return isinstance(value, ColumnElement)


def in_sql(value: Any, dialect: str) -> ColumnElement[Any]:
    if isinstance(value, Mapping):
        return json_object({name: in_sql(each, dialect) for name, each in value.items()}, dialect)
    return value if isinstance(value, ColumnElement) else literal(value)


def key_of(notice: Notice, channel: ColumnElement[str], dialect: str) -> ColumnElement[str]:
    """Derive the once_key: template, occasion, user, channel."""
    parts = [notice.template, *notice.once, cast(reader.c.id, Text), channel]
    whole: ColumnElement[str] = as_text(parts[0], dialect)
    for each in parts[1:]:
        whole = whole + inline(".") + as_text(each, dialect)
    return whole


def as_text(part: Any, dialect: str) -> ColumnElement[str]:
    if not isinstance(part, ColumnElement):
        return literal(occasion(part), Text)
    if isinstance(part.type, Instant):
        return fixed_width(part) if dialect == "postgresql" else cast(part, Text)
    return cast(part, Text)


def queue(connection: Connection, notices: Sequence[Notice], at: At) -> None:
    """Queue notices whose values are constants, those of a template at once."""
    alike: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in notices:
        alike.setdefault((each.template, each.category), []).append(
            {
                "the_user": each.to,
                "the_occasion": ".".join(map(occasion, each.once)),
                "the_context": dict(each.context),
                "the_end": each.expires_at,
                "the_session": each.session_id,
                "the_time": at.present,
            }
        )
    for (template, category), rows in alike.items():
        channels = at.settings.notification_channels
        connection.execute(queuing(template, category, channels, connection.dialect.name), rows)


def occasion(part: Any) -> str:
    return part.isoformat() if isinstance(part, datetime) else str(part)


@cache
def queuing(template: str, category: str, channels: Sequence[str], dialect: str) -> Insert:
    """Build the statement once: building it takes longer than running it."""
    ours = notifications.c
    notice = Notice(
        template,
        bindparam("the_user", type_=ours.user_id.type),
        [bindparam("the_occasion", type_=Text())],
        category,
        bindparam("the_context", type_=Json),
        bindparam("the_end", type_=Instant()),
        bindparam("the_session", type_=ours.session_id.type),
    )
    return insertion(rows_of(notice, channels, bindparam("the_time", type_=Instant()), dialect), dialect)


def insertion(rows: Select[Any], dialect: str) -> Insert:
    """Queue what `queued` selects; what is queued already under its key is left as it is."""
    return insert_from(notifications, COLUMNS, rows, ["once_key"], dialect)


def not_yet(rows: Select[Any]) -> Select[Any]:
    """Select of those the ones that are not queued yet, for a dry run."""
    found = rows.subquery("found")
    there = select(notifications.c.id).where(notifications.c.once_key == found.c.once_key)
    return select(found).where(or_(found.c.once_key.is_(None), ~there.exists()))
