"""Whether the database can write down what the jobs do: all of it, or what one job that moves money needs."""

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection, Table, text

from jobctl.checks.comparing import Lack, lacks
from jobctl.checks.looking import look
from jobctl.checks.shapes import Shape, declared
from jobctl.errors import MisconfiguredError

# The files of jobctl/tables that every job that moves money writes to, and all that any does.
EVERYWHERE = frozenset({"frame", "journal", "notifications", "findings"})
MONEY = EVERYWHERE | {"sessions", "subscriptions", "marketplace"}
NAMED = 5
NAMELESS = Lack(
    "installation",
    "id",
    "installation is empty, so that nobody knows what the keys of earlier requests begin with",
    "INSERT INTO installation (id) VALUES ('…'), with what the keys in money_operations begin with",
)


def all_lacks(connection: Connection) -> list[Lack]:
    """Return what the database lacks, in words; grave ones first."""
    return found_in(connection, declared(connection.dialect.name), rules=True)


def refuse_unready(connection: Connection, table: Table | None) -> None:
    """Raise MisconfiguredError where what follows from a request could not be written down.

    table: whose rows money is asked for; None: those of any. Without a CHECK, a foreign key or an index for
    speed it still could be: those are left to `db check`.
    """
    shapes = declared(connection.dialect.name)
    domains = EVERYWHERE | {shapes[table.name].domain} if table is not None else MONEY
    theirs = {
        name: replace(each, checks={}, keys={}, indexes={})
        for name, each in shapes.items()
        if each.domain in domains
    }
    grave = [each for each in found_in(connection, theirs, rules=False) if each.grave]
    if grave:
        more = f", and {len(grave) - NAMED} more (jobctl db check)" if len(grave) > NAMED else ""
        raise MisconfiguredError(
            f"no money was moved, since it could not be written down: {sentences(grave)}{more}"
        )


def sentences(found: Iterable[Lack]) -> str:
    return "; ".join(str(each) for each in list(found)[:NAMED])


def found_in(connection: Connection, shapes: dict[str, Shape], *, rules: bool) -> list[Lack]:
    there, dialect = look(connection, list(shapes), rules=rules), connection.dialect.name
    found = [each for name, shape in shapes.items() for each in lacks(name, shape, there.get(name), dialect)]
    if "installation" in there and there["installation"].kind == "table" and not found:
        known = connection.scalar(text("SELECT count(*) FROM installation"))
        found += [] if known else [NAMELESS]
    return sorted(found, key=lambda each: not each.grave)
