"""Lists that a provider gives page by page: complete by its own word, or not at all."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobctl.providers.protocol import (
    Answer,
    Declined,
    Mismatched,
    NotListed,
    Pending,
    Succeeded,
    Unknown,
)
from jobctl.providers.transport import Reply

Thing = Mapping[str, Any]
Fields = Sequence[Sequence[str]]
MOST_PAGES = 10_000  # a million things: a list that is still not at its end never is
EARLIER = timedelta(minutes=10)  # clocks may differ by that much, beyond what is seen of it
NOTABLE = timedelta(minutes=1)  # a difference of clocks to be seen to, and told of
MOST_BEHIND = timedelta(days=1)  # beyond which a time is no clock's
# What is believed of several answers under one key: what may have had an effect, before what had none.
FIRST = (Succeeded, Pending, Unknown, Mismatched, Declined)


@dataclass(frozen=True)
class Page:
    """A page as its provider tells it."""

    things: Sequence[Thing]
    more: Fields | None  # what is to be asked for with the next page; None: the list ends here
    total: int | None = None  # of things in the whole list, where that is told


@dataclass(frozen=True)
class Torn:
    """The end of a list that is not complete: the answer that should have been its next page."""

    reply: Reply
    reason: str = ""  # where the answer itself doesn't say


def pages(
    ask: Callable[[Fields], Reply], read: Callable[[Reply], Page | None]
) -> Iterator[list[Thing] | Torn]:
    """Yield what each page has that none had before it; in the end Torn, where the list is not complete."""
    seen: set[str | int] = set()
    asked: list[Fields] = [[]]
    count, total = 0, None
    while True:
        reply = ask(asked[-1])
        page = read(reply)
        if page is None:
            yield Torn(reply)
            return
        new = unseen(page.things, seen)
        count, total = count + len(new), page.total if total is None else total
        yield new
        if page.more is None:
            if total is not None and count < total:
                yield Torn(reply, f"it has {count} of the {total} that it tells of")
            return
        if not new or page.more in asked:
            yield Torn(reply, "it repeats itself")
            return
        if len(asked) >= MOST_PAGES:
            yield Torn(reply, f"it does not end within {MOST_PAGES} pages")
            return
        asked.append(page.more)


def unseen(things: Iterable[Thing], seen: set[str | int]) -> list[Thing]:
    """Return those that were not seen before, and remember them; without a number one is always new."""
    new = []
    for each in things:
        number = each.get("id")
        if isinstance(number, str | int):
            if number in seen:
                continue
            seen.add(number)
        new.append(each)
    return new


def search(
    listed: Iterable[list[Thing] | Torn],
    mine: Callable[[Thing], bool],
    read: Callable[[Thing], Answer],
    failed: Callable[[Torn], Answer],
) -> Answer:
    """Find what a list has of ours; only a complete one proves that there is none."""
    found: list[Answer] = []
    for page in listed:
        if isinstance(page, Torn):
            found.append(failed(page))
        else:
            found += [read(each) for each in page if mine(each)]
    return believed(found) if found else NotListed()


def believed(answers: Sequence[Answer]) -> Answer:
    """Return what holds of all that is under one key, the newest first."""
    done = [each for each in answers if isinstance(each, Succeeded)]
    if len(done) > 1:
        which = ", ".join(each.payment_id for each in done)
        reason = f"{len(done)} effects are under one key: {which}"
        return Mismatched("twice", reason, done[0].payment_id, done[0].amount)
    ranked: list[Answer] = [each for kind in FIRST for each in answers if isinstance(each, kind)]
    return [*ranked, *answers][0]


def looked_for(
    search: Callable[[datetime], Answer], sent: datetime, behind: Callable[[], timedelta | None]
) -> Answer:
    """Search what there is since a request was sent, by the provider's clock.

    behind: returns how far that is behind ours, once something was answered; None: nobody can tell.
    """
    found = search(sent - EARLIER)
    if not isinstance(found, NotListed):
        return found
    late = behind()
    if late is None:
        return Unknown("unknown_time", "the provider's list lacks it, and tells no time of its own")
    if late <= NOTABLE:
        return found
    found = search(sent - EARLIER - late)
    told = f"the provider's clock is {late} behind ours, and its list was searched from that much earlier"
    return NotListed(told) if isinstance(found, NotListed) else found


def since_then(
    listed: Callable[[datetime, datetime], Iterator[Any]],
    window: tuple[datetime, datetime],
    behind: Callable[[], timedelta | None],
) -> Iterator[Any]:
    """List a window, and what a clock behind ours has stamped with a time before it."""
    since, until = window
    yield from listed(since, until)
    late = behind()
    if late and NOTABLE < late <= MOST_BEHIND:
        yield from listed(since - late, since)
