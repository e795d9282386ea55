"""Column types and table parts that are the same on SQLite and PostgreSQL."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Dialect,
    Index,
    Integer,
    MetaData,
    Text,
    literal_column,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    }
)

# Text compares as instants only in one form of one width.
FIXED_WIDTH = "%Y-%m-%dT%H:%M:%S.%fZ"
DIGIT, SIXTY = "[0-9]", "[0-5][0-9]"
FIRST_DAY, LAST_DAY = "0001-01-03", "9999-12-30"
FIXED_WIDTH_GLOB = f"{DIGIT * 4}-{DIGIT * 2}-{DIGIT * 2}T[0-2]{DIGIT}:{SIXTY}:{SIXTY}.{DIGIT * 6}Z"


class Instant(TypeDecorator[datetime]):
    """An instant in UTC: `timestamptz` on PostgreSQL, fixed-width text on SQLite. Naive ones are refused."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value if dialect.name == "postgresql" else value.astimezone(UTC).strftime(FIXED_WIDTH)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


class Currency(TypeDecorator[str]):
    """The ISO 4217 code of a currency, in capitals: in small letters it would be another one's amount."""

    impl = Text
    cache_ok = True


class Month(TypeDecorator[str]):
    """A calendar month, UTC: `YYYY-MM`."""

    impl = Text
    cache_ok = True


Key = int | str  # what names a row: its number, or its text where its table's primary key is one
Id = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only in an INTEGER key
Json = JSON().with_variant(JSONB(), "postgresql")


def inline(value: str) -> ColumnElement[str]:
    """Write a constant into the SQL itself: a partial index serves only a condition that it can read."""
    assert "'" not in value
    return literal_column(f"'{value}'", Text())


def one_of(column: str, allowed: Iterable[str]) -> CheckConstraint:
    listed = ", ".join(f"'{each}'" for each in allowed)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def forms(*columns: Column[Any]) -> list[CheckConstraint]:
    """Refuse what nobody could read back: one such row would stop all that are read with it."""
    return [
        each.ddl_if(dialect=dialect)
        for dialect in ("sqlite", "postgresql")
        for each in forms_on(dialect, *columns)
    ]


def forms_on(dialect: str, *columns: Column[Any]) -> list[CheckConstraint]:
    """Return the rules of one dialect; SQLite needs those too that PostgreSQL's types are."""
    instants = [each.name for each in columns if holds(each, Instant)]
    rules = {f"{name}_instant": RULES[dialect](name) for name in instants}
    for kind, patterns in FORMS.items():
        named = [each.name for each in columns if holds(each, kind)]
        rules |= {f"{name}_{kind.__name__.lower()}": patterns[dialect].format(name) for name in named}
    if dialect == "sqlite":
        rules |= {f"{each.name}_json": f"json_valid({each.name})" for each in columns if holds(each, JSON)}
    return [CheckConstraint(rule, name=name) for name, rule in rules.items()]


def holds(column: Column[Any], kind: type[Any]) -> bool:
    return isinstance(column.type, kind)


def index(name: str, *columns: ColumnElement[Any], where: ColumnElement[bool] | None = None) -> None:
    """Index a table, or the rows of it that a condition of constants names; `uq_…` is unique."""
    Index(name, *columns, unique=name.startswith("uq_"), postgresql_where=where, sqlite_where=where)


def is_fixed_width(name: str) -> str:
    """Return the rule for an instant of the fixed width, of a day that the calendar has."""
    # '+0 days' makes SQLite count: 30 February comes back as 2 March.
    day = f"strftime('%Y-%m-%d', substr({name}, 1, 10), '+0 days') IS substr({name}, 1, 10)"
    years = f"{name} >= '{FIRST_DAY}' AND {name} < '{LAST_DAY}'"
    return f"{name} GLOB '{FIXED_WIDTH_GLOB}' AND {years} AND substr({name}, 12, 2) < '24' AND {day}"


def is_in_years(name: str) -> str:
    """Return the rule for an instant that Python has, in every time zone: no infinity, nothing BC."""
    return f"{name} >= '{FIRST_DAY}T00:00:00Z' AND {name} < '{LAST_DAY}T00:00:00Z'"


FORMS: dict[type[Any], dict[str, str]] = {
    Currency: {"sqlite": "{} GLOB '[A-Z][A-Z][A-Z]'", "postgresql": "{} COLLATE \"C\" ~ '^[A-Z]{{3}}$'"},
    Month: {
        "sqlite": f"{{0}} GLOB '{DIGIT * 4}-[01]{DIGIT}' AND substr({{0}}, 6) BETWEEN '01' AND '12'",
        "postgresql": "{} COLLATE \"C\" ~ '^[0-9]{{4}}-(0[1-9]|1[0-2])$'",
    },
}
RULES = {"sqlite": is_fixed_width, "postgresql": is_in_years}


def personal(column: Column[Any]) -> Column[Any]:
    """Mark a column whose values the audit trail must not keep."""
    column.info["personal"] = True
    return column


class Later(FunctionElement[Any]):
    """An instant moved by a span; on SQLite `column + interval` would be silently wrong."""

    inherit_cache = True
    name = "later"

    def __init__(self, instant: Column[Any], span: timedelta) -> None:
        super().__init__(instant, literal_column(f"'{int(span.total_seconds()):+d} seconds'"))
        self.type = instant.type


@compiles(Later, "postgresql")
def _plus(element: Later, compiler: SQLCompiler, **kw: Any) -> str:
    instant, span = (compiler.process(each, **kw) for each in element.clauses)
    return f"({instant} + interval {span})"


@compiles(Later, "sqlite")
def _moved(element: Later, compiler: SQLCompiler, **kw: Any) -> str:
    instant, span = (compiler.process(each, **kw) for each in element.clauses)
    return f"(strftime('%Y-%m-%dT%H:%M:%S', substr({instant}, 1, 19), {span}) || substr({instant}, 20))"


class MonthsLater(FunctionElement[Any]):
    """An instant moved by calendar months, UTC: to the last day where the month has no such day."""

    inherit_cache = True
    name = "months_later"

    def __init__(self, instant: ColumnElement[Any], months: int) -> None:
        super().__init__(instant, literal_column(str(months)))
        self.type = instant.type


@compiles(MonthsLater, "postgresql")
def _plus_months(element: MonthsLater, compiler: SQLCompiler, **kw: Any) -> str:
    instant, months = (compiler.process(each, **kw) for each in element.clauses)
    return f"timezone('UTC', timezone('UTC', {instant}) + interval '{months} months')"


@compiles(MonthsLater, "sqlite")
def _moved_months(element: MonthsLater, compiler: SQLCompiler, **kw: Any) -> str:
    instant, months = (compiler.process(each, **kw) for each in element.clauses)
    # A day that the month doesn't have is one of the next month to SQLite, and so after the month's last.
    day = f"date(substr({instant}, 1, 10), '+{months} months')"
    last = f"date(substr({instant}, 1, 10), 'start of month', '+{months} months', '+1 month', '-1 day')"
    return f"(min({day}, {last}) || substr({instant}, 11))"


class Day(FunctionElement[str]):
    """The day of an instant, UTC: `YYYY-MM-DD`."""

    inherit_cache = True
    name = "day"
    type = Text()

    def __init__(self, instant: ColumnElement[Any]) -> None:
        super().__init__(instant)


@compiles(Day, "postgresql")
def _day(element: Day, compiler: SQLCompiler, **kw: Any) -> str:
    return f"to_char(timezone('UTC', {compiler.process(element.clauses, **kw)}), 'YYYY-MM-DD')"


@compiles(Day, "sqlite")
def _first_ten(element: Day, compiler: SQLCompiler, **kw: Any) -> str:
    return f"substr({compiler.process(element.clauses, **kw)}, 1, 10)"


class Plus(FunctionElement[int]):
    """A sum of two integers, which the database refuses where it is out of their range."""

    inherit_cache = True
    name = "plus"
    type = BigInteger()


@compiles(Plus, "postgresql")
def _sum(element: Plus, compiler: SQLCompiler, **kw: Any) -> str:
    first, second = (compiler.process(each, **kw) for each in element.clauses)
    return f"({first} + {second})"


@compiles(Plus, "sqlite")
def _sum_in_range(element: Plus, compiler: SQLCompiler, **kw: Any) -> str:
    # SQLite would go on with a REAL, which has lost the last digits; abs() refuses what has no integer.
    first, second = (compiler.process(each, **kw) for each in element.clauses)
    whole = f"{first} + {second}"
    return f"(CASE typeof({whole}) WHEN 'integer' THEN {whole} ELSE abs(-9223372036854775807 - 1) END)"


class Total(FunctionElement[Any]):
    """A sum over rows to compare with; of more than an integer holds SQLite would end the statement.

    There it is at the most the largest integer, and exact up to 2 to the 53rd.
    """

    inherit_cache = True
    name = "total"
    type = BigInteger()


@compiles(Total, "postgresql")
def _exact(element: Total, compiler: SQLCompiler, **kw: Any) -> str:
    return f"sum({compiler.process(element.clauses, **kw)})"


@compiles(Total, "sqlite")
def _total(element: Total, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST(total({compiler.process(element.clauses, **kw)}) AS INTEGER)"


class Present(FunctionElement[Any]):
    """The moment that a row is inserted at, where whoever inserts it says nothing of it."""

    inherit_cache = True
    name = "present"


@compiles(Present, "postgresql")
def _now(element: Present, compiler: SQLCompiler, **_: object) -> str:  # noqa: ARG001 (its signature)
    return "now()"


@compiles(Present, "sqlite")
def _fixed_width_now(element: Present, compiler: SQLCompiler, **_: object) -> str:  # noqa: ARG001 (the same)
    return "(strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))"


class Latest(ColumnElement[Any]):
    """The latest of instants of which all but the first may be null."""

    inherit_cache = False

    def __init__(self, *columns: str) -> None:
        self.columns = columns


@compiles(Latest, "postgresql")
def _greatest(element: Latest, compiler: SQLCompiler, **_: object) -> str:  # noqa: ARG001 (its signature)
    return f"greatest({', '.join(element.columns)})"


@compiles(Latest, "sqlite")
def _max(element: Latest, compiler: SQLCompiler, **_: object) -> str:  # noqa: ARG001 (its signature)
    first, *rest = element.columns
    return f"max({', '.join([first, *(f'coalesce({each}, {first})' for each in rest)])})"
