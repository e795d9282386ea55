"""A job that follows a list, for the tests of its kind of step: its items become tray messages."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Update, select, update

from jobctl.job import At, ListStep, Means, Read, RowChanges, ScopeDownError
from jobctl.tables.notifications import notifications


@dataclass(frozen=True)
class Item:
    id: str
    at: datetime
    channel: str = "tray"


@dataclass
class Elsewhere:
    """Somebody who lists things, two on a page, and remembers the windows that were asked for."""

    items: list[Item] = field(default_factory=list)
    asked: list[tuple[datetime, datetime]] = field(default_factory=list)
    down: bool = False

    def pages(self, source: str, start: datetime, end: datetime) -> Iterator[Sequence[Item]]:
        assert source == "elsewhere"
        self.asked.append((start, end))
        if self.down:
            raise ScopeDownError("elsewhere", "no answer")
        found = [each for each in self.items if start <= each.at.replace(tzinfo=UTC) < end]
        for n in range(0, len(found), 2):
            yield found[n : n + 2]


ELSEWHERE = Elsewhere()


def connect(_at: At, _means: Means) -> AbstractContextManager[Elsewhere]:
    return nullcontext(ELSEWHERE)


def news(_at: At, page: Sequence[Item], read: Read) -> Sequence[Item]:
    known = select(notifications.c.once_key).where(notifications.c.once_key.in_([each.id for each in page]))
    here = {row.once_key for row in read(known)}
    if any(each.channel == "unthinkable" for each in page):
        raise RecursionError
    return [each for each in page if each.id not in here]


def seen(at: At, page: Sequence[Item]) -> Update:
    keys = [each.id for each in page]
    return update(notifications).where(notifications.c.once_key.in_(keys)).values(send_after=at.now)


def settle(_at: At, item: Item, change: RowChanges) -> str:
    if item.channel == "nonsense":
        change.error("nobody knows that channel")
        return "failed"
    if item.channel == "nobody":
        change.finding("orphan", once=[item.id], reason="nobody wants it", facts={"at": item.at.isoformat()})
        return "found"
    if item.channel == "worst":
        raise ValueError("\x00 and \ud800")
    values = {"channel": item.channel, "template": "welcome", "context": {}, "queued_at": item.at}
    change.insert(notifications, once=["once_key"], once_key=item.id, **values)
    return "recorded"


JOB = ListStep(
    sources=lambda _settings: ["elsewhere"],
    reach=lambda _settings: timedelta(hours=1),
    connect=connect,
    pages=Elsewhere.pages,
    news=news,
    settle=settle,
    seen=seen,
)
