"""What a job file may say.

A job describes, the frame acts: a job file holds no connection, clock, transport or commit. It ends
with ``JOB = <step>`` or a tuple of steps.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sqlalchemy import Column, ColumnElement, FromClause, Join, Select, Table, Update

from jobctl.errors import Exit
from jobctl.money import Money
from jobctl.parsing import Rate
from jobctl.settings import Settings
from jobctl.tables.types import Key

if TYPE_CHECKING:
    from jobctl.journal import Operation
    from jobctl.providers.protocol import Declined, Kind, Request, Succeeded

RowT = TypeVar("RowT", bound=tuple[Any, ...])
PayloadT = TypeVar("PayloadT")
AnswerT = TypeVar("AnswerT")
OutsideT = TypeVar("OutsideT")
ListedT = TypeVar("ListedT")
NewsT = TypeVar("NewsT", bound="Listed")


@dataclass(frozen=True)
class At:
    """All that a decision may depend on besides the row: the same for help, `why`, dry run and run."""

    now: datetime  # the run's one instant, from the database's clock, UTC
    settings: Settings = field(default_factory=Settings)
    since: datetime | None = None
    installation: str = "--------"
    moment: datetime | None = None

    @property
    def present(self) -> datetime:
        """Return the moment of this decision: `now` and the time that the run has taken since.

        Who is due is asked of `now`. What must never be late (a message past its expiry) asks for the
        present, since a run over a long queue may take hours.
        """
        return self.moment or self.now


UNCLAIMED = "nobody has it claimed"  # what the frame adds to the conditions of rows that can be claimed


@dataclass(frozen=True)
class Due:
    """Who is due: named conditions over a table, or over outer joins that begin with it."""

    rows: FromClause
    when: Mapping[str, ColumnElement[bool]]
    since: ColumnElement[Any] | None = None  # what --since bounds from below
    since_means: str | None = None  # that in words, or what it says instead, where it is no bound
    order: ColumnElement[Any] | None = None  # instants, oldest first; the primary key where there is none
    read: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)  # the row that `ask` gets
    locks: Sequence[Table] = ()  # of inner joins: what else must stay as it is while the row is changed
    locks_first: bool = False  # whether others write rows beside it, too, that are read: once they let it go
    waits_since: ColumnElement[Any] | None = None  # when a row that is due came to be so
    put_off: ColumnElement[bool] | None = None  # what holds of rows that wait, since they were put off
    locks_then: Sequence[FromClause] = ()  # of outer joins: what else must stay as it is; locked by their ids

    @property
    def table(self) -> Table:
        rows = self.rows
        while isinstance(rows, Join):
            rows = rows.left
        assert isinstance(rows, Table)
        return rows

    @property
    def key(self) -> Column[Any]:
        """Return the primary key's one column."""
        (key,) = self.table.primary_key.columns
        return key

    def conditions(self, since: datetime | None) -> list[ColumnElement[bool]]:
        bounded = since is not None and self.since is not None
        return [*self.when.values(), *([self.since >= since] if bounded and self.since is not None else [])]


Read = Callable[[Select[Any]], Sequence[Any]]  # returns the rows that a query finds


class Look(Protocol):
    """How a decision reads what lies beside its row, in the transaction that the row is changed in."""

    def __call__(self, query: Select[Any], *, lock: Table | None = None) -> Any:
        """Return the first row that a query finds, or None; that of `lock` then stays as it is."""
        ...


class RowChanges(Protocol):
    """What is to change for the row in hand.

    A real run does it in the row's transaction, with the audit rows; a dry run only notes it.
    """

    @property
    def look(self) -> Look: ...

    def update(self, **values: Any) -> None: ...

    def update_beside(self, table: Table, row_id: Key, /, **values: Any) -> None:
        """Change a row of another table, which its transitions must allow."""
        ...

    def insert(self, table: Table, /, *, once: Sequence[str] = (), **values: Any) -> Any:
        """Add a row; where `once` names unique columns, one that is there already is left as it is.

        Returns what stands for its number in the values of later changes.
        """
        ...

    def notify(self, template: str, /, *, to: int, once: Sequence[Any], **more: Any) -> None:
        """Tell a user something, by each channel that they take it by; `outbox.Notice` has the rest."""
        ...

    def finding(self, kind: str, /, *, once: Sequence[Any], reason: str, **more: Any) -> None:
        """Record what a person has to decide, once; the first run to find it exits with 3."""
        ...

    def resolve(self, kind: str, /, *, once: Sequence[Any], reason: str) -> None:
        """Resolve a finding, if it is open, that needs nobody any more."""
        ...

    def drift(self, what: str, amount: Money) -> None:
        """Tell of a payment that is not the same here and at its provider.

        what: "succeeded at the provider and was missing here"; the run says how many, and how much money.
        """
        ...

    def error(self, reason: str) -> None:
        """Record that this row needs a person: it counts as failed, and the run exits with 3."""
        ...


class EffectChanges(RowChanges, Protocol):
    """What is to change for the row that a call was about, and what there is to say of it."""

    def say(self, line: str) -> None:
        """Print a line once the changes are committed; a dry run, and a run that is to be quiet, doesn't."""
        ...

    def fail(self, exit_code: Exit, complaint: str) -> None:
        """Tell what ails the run as a whole, by its exit code; what is told twice is said once."""
        ...


class MoneyChanges(RowChanges, Protocol):
    """What is to change for the subject of an operation."""

    def ask(self, request: "Ask", /) -> None:
        """Journal a further operation on the same subject; it is sent once this one is committed."""
        ...


@dataclass(frozen=True)
class Beside:
    """Rows of another table, by the condition that ties them to those of a batch."""

    where: ColumnElement[bool]
    order: Sequence[ColumnElement[Any]] = ()


class BatchChanges(Protocol):
    """What is to change in all rows of a batch; values may be SQL over their table."""

    def update(self, **values: Any) -> None: ...

    def update_beside(self, table: Table, where: ColumnElement[bool], /, **values: Any) -> None:
        """Change, to constants, the rows of another table that `where` ties to those of the batch."""
        ...

    def insert(
        self, table: Table, /, *, once: bool = False, of: "Beside | None" = None, **values: Any
    ) -> None:
        """Add a row to another table for each of the batch; one of its values at least is SQL over them.

        once: one that is there already, by any of its unique columns, is left as it is. of: for each of these
        instead, and numbered in their order.
        """
        ...

    def add(self, table: Table, row_id: ColumnElement[Any], /, **amounts: ColumnElement[Any]) -> None:
        """Add amounts to columns of the row of another table that has this number, for each of the batch."""
        ...

    def notify(self, template: str, /, *, to: ColumnElement[Any], once: Sequence[Any], **more: Any) -> None:
        """Tell users something, by each channel that they take it by; `outbox.Notice` has the rest."""
        ...

    def ask(self, subject: str, rows: Select[Any], make: Callable[[Any], "Ask"]) -> None:
        """Journal an operation for each subject that `rows`, read with the batch's table, finds by `id`."""
        ...

    def count(self, **sums: ColumnElement[Any]) -> None:
        """Count these sums over the batch, beside its rows."""
        ...

    def finding(self, kind: str, /, *, once: Sequence[Any], reason: Any, **more: Any) -> None:
        """Record of each row what a person has to decide, once; the first run to find it exits with 3.

        once, reason, and more (`amount_minor`, `currency`) are constants, or SQL over the row.
        """
        ...

    def error(self, reason: str) -> None:
        """Record that each of these rows needs a person: the run exits with 3."""
        ...

    def delete(self) -> None:
        """Remove rows of the frame's own history; that leaves no audit rows of its own."""
        ...


@dataclass(frozen=True)
class SetStep:
    """Rows changed by SQL, a batch at a time; the rows' own locks are the claim."""

    due: Callable[[At], Due]
    change: Callable[[At, BatchChanges], None]
    outcome: str  # the word under which its rows are counted: "expired", "run records deleted"


@dataclass(frozen=True)
class Call(Generic[PayloadT]):
    """A request to the outside, complete: a dry run shows it, a real run sends it word for word."""

    scopes: tuple[str, ...]  # what it needs, and is closed for the run once it is down: "email", a host
    payload: PayloadT
    shown: Mapping[str, Any]


@dataclass(frozen=True)
class Lost:
    """A call that was, or may have been, begun and of which nobody can tell what it came to."""

    reason: str
    blamed: bool = field(default=True, kw_only=True)  # whether nothing but this row can be the reason


@dataclass(frozen=True)
class Broken:
    """A row that could not even be asked about: `ask` itself failed on it."""

    reason: str


class ScopeDownError(Exception):
    """What the call needs is down, through no fault of the row; the scope is closed for the run.

    The rows that it was found with come to `settle`, which may let others go first next time; those that
    then could not begin go back as they were.
    """

    def __init__(
        self,
        scope: str,
        reason: str,
        exit_code: Exit = Exit.UNREACHABLE,
        retry_after: timedelta | None = None,
    ) -> None:
        """retry_after: for so long it is not to be asked, as it says itself."""
        super().__init__(reason)
        self.scope, self.reason, self.exit_code, self.retry_after = scope, reason, exit_code, retry_after


class NotBegunError(Exception):
    """A call that was asked to stop before it began: the row goes back, with its attempt."""


class Stop(Protocol):
    """Whether the run has been told to stop, for whatever waits inside a call."""

    def wait(self, seconds: float) -> bool:
        """Wait that long, or until told to stop; return whether it was told."""
        ...


@dataclass(frozen=True)
class Means:
    """What the frame lends to whoever makes the calls."""

    stop: Stop
    concurrency: int  # calls under way at once
    out: IO[str]  # where what is meant for the user's eye goes
    read_only: bool = False  # in a dry run: whoever is asked must be left as they are
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass(frozen=True)
class EffectStep(Generic[RowT, PayloadT, AnswerT, OutsideT]):
    """A send, poll, look-up or token: repeatable, no money.

    The claim is `claimed_by` in the table of `due`; an `attempts` column there counts at the claim. Its `row`
    has an `id` and the `claimed_by` that it was read with. `ask` returns a `Call`, or an answer where none is
    needed. `settle` gets the answer, `Lost`, `Broken` or the ScopeDownError, and returns the word under which
    the row is counted. What was answered and the database refuses comes again as `Lost`; the row then counts
    as failed. passing: tells which answers are a failure that may pass; where as many of these follow one
    another as calls are under way, without a success between, the scope of those calls is closed, and they
    are settled with that instead. looks_up: the calls change nothing there, so that a dry run makes them too,
    and one that a dead run made is as good as none. polls: they are made again and again about the same rows,
    of which nothing is written unless they change; a row is then claimed only where runs share the work,
    until the run that has it is through. opening and closing: lines that a run prints before its rows, whose
    number they get, and after them, instead of the usual sentence.
    """

    row: type[RowT]
    due: Callable[[At], Due]
    connect: Callable[[At, Means], AbstractContextManager[OutsideT]]
    ask: Callable[[At, RowT], Call[PayloadT] | AnswerT]
    call: Callable[[OutsideT, PayloadT], AnswerT]  # in a pool thread; no database
    settle: Callable[[At, RowT, AnswerT | Lost | Broken | ScopeDownError, EffectChanges], str]
    concurrency: Callable[[Settings], int]
    lane: Column[Any] | None = None  # of those that are read: by what rows are sorted into lanes
    pace: Callable[[Settings], Mapping[str, Rate | None]] = lambda _: {}  # of lanes, by their names
    looks_up: bool = False
    polls: bool = False
    passing: Callable[[At, RowT, AnswerT | Lost], bool] = lambda *_: False
    opening: Callable[[At, int], str] | None = None
    closing: Callable[[At, int, Mapping[str, int]], str] | None = (
        None  # with what the rows were counted under
    )


class Listed(Protocol):
    """One thing that somebody else lists, by its number there; what is older is settled first."""

    @property
    def id(self) -> str: ...

    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True)
class ListStep(Generic[ListedT, NewsT, OutsideT]):
    """What others list, from where the last complete run ended.

    `pages` yields what one of `sources` has in the half-open window from its third argument up to its
    fourth. What `news` leaves out of a page needs nothing; the rest is settled one by one, each in a
    transaction of its own, which is repeated where a rival's comes between. `settle` returns the word under
    which it is counted, if it changes anything.
    """

    sources: Callable[[Settings], Sequence[str]]  # each has its own watermark; raises MisconfiguredError
    reach: Callable[[Settings], timedelta]  # how far back the window goes at the least
    connect: Callable[[At, Means], AbstractContextManager[OutsideT]]
    pages: Callable[[OutsideT, str, datetime, datetime], Iterable[Sequence[ListedT]]]
    news: Callable[[At, Sequence[ListedT], Read], Sequence[NewsT]]
    settle: Callable[[At, NewsT, RowChanges], str]
    seen: Callable[[At, Sequence[ListedT]], Update] | None = None  # marks those that were listed as seen
    # Names what a source's watermark is of: the account and key there that the settings have.
    place: Callable[[Settings, str], str] = lambda _, source: source
    # Selects the numbers of what a source must list in a part of the window, if it is the right place.
    known: Callable[[At, str, datetime, datetime], Select[Any]] | None = None


@dataclass(frozen=True)
class Ask:
    """A request that can move money.

    cycle: which hold, which period: at most one of the same kind and cycle succeeds for a subject. account:
    the one at the provider that has the payment; no other is asked. follows: the operation that made it
    necessary; a release or refund is then repeated until it is done. not_before: when it is sent at the
    earliest. once: nothing else may have been taken for the subject and not given back. instead_of: the
    number of the hold that ended, whose amount it must have.
    """

    cycle: str
    provider: str
    request: "Request"
    account: str | None = None
    follows: int | None = None
    not_before: datetime | None = None
    once: bool = False
    instead_of: str | None = None


@dataclass(frozen=True)
class MoneyStep(Generic[RowT]):
    """Anything that can move money. The claim is the open operation in the journal.

    `ask` returns a request, or the refusal where none can be made; what `begin` notes is written down with
    that request, and `withdraw` ends that, by the code of why, where the request certainly had no effect.
    `wanted` tells of the subject, as it is when the answer has come, whether the effect is
    still wanted; if it isn't, the frame undoes it. `settle`
    records what became of one of `kinds`, whichever job asked for it, and returns the word under which it is
    counted; without an operation it settles what `ask` refused.
    """

    subject: str
    kinds: "tuple[Kind, ...]"
    row: type[RowT]
    due: Callable[[At], Due]
    ask: "Callable[[At, RowT], Ask | Declined]"
    wanted: "Callable[[At, RowT, Operation, Look], bool]"
    settle: "Callable[[At, RowT, Operation | None, Succeeded | Declined, MoneyChanges], str]"
    concurrency: Callable[[Settings], int]
    begin: "Callable[[At, RowT, Operation, RowChanges], None]" = lambda *_: None
    withdraw: "Callable[[At, Operation, str, RowChanges], None]" = lambda *_: None


@dataclass(frozen=True)
class SettleStep:
    """Unfinished operations of every kind, settled by the steps that own their kinds."""

    due: Callable[[At], Due]
    concurrency: Callable[[Settings], int]


@dataclass(frozen=True)
class RecoveryStep:
    """Unfinished operations of some (subject, kind), settled beside what a job does; no option bounds it."""

    kinds: "Sequence[tuple[str, Kind]]"
    concurrency: Callable[[Settings], int]


DueStep = SetStep | EffectStep[Any, Any, Any, Any] | MoneyStep[Any] | SettleStep
Step = DueStep | ListStep[Any, Any, Any] | RecoveryStep
