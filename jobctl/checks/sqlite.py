"""What SQLite says of tables: the statements that made them, and what it reads out of those."""

import re
from collections.abc import Iterator

from sqlalchemy import Connection, bindparam, text

from jobctl.checks.shapes import NUMBERED, Column, Found

MADE = text(
    "SELECT type, name, tbl_name AS whose, sql FROM sqlite_master "
    "WHERE tbl_name IN :names AND sql IS NOT NULL"
).bindparams(bindparam("names", expanding=True))
COLUMNS = text(
    'SELECT t.name AS whose, c.name, c.type, c."notnull" AS required, c.dflt_value AS value, c.pk, c.hidden '
    "FROM sqlite_master AS t, pragma_table_xinfo(t.name) AS c WHERE t.type = 'table' AND t.name IN :names"
).bindparams(bindparam("names", expanding=True))
INDEXES = text(
    'SELECT t.name AS whose, i.name, i."unique" AS is_unique, i.partial, c.name AS on_column '
    "FROM sqlite_master AS t, pragma_index_list(t.name) AS i, pragma_index_info(i.name) AS c "
    "WHERE t.type = 'table' AND t.name IN :names ORDER BY i.name, c.seqno"
).bindparams(bindparam("names", expanding=True))
QUOTED = re.compile(r"('(?:[^']|'')*')")
NAMED = re.compile(r"CONSTRAINT\s+(\S+)\s+$")
CHECK = re.compile(r"\bCHECK\s*(?=\()")
GENERATED = re.compile(r"\b(\w+)\s+\w+\s+GENERATED ALWAYS AS\s*(?=\()")
KEY = re.compile(
    r"(?:CONSTRAINT\s+(\S+)\s+)?FOREIGN KEY\s*(\([^)]*\))\s*REFERENCES\s+(\w+)\s*(\([^)]*\))"
    r"(\s+DEFERRABLE INITIALLY DEFERRED)?"
)


def look(connection: Connection, names: list[str]) -> dict[str, Found]:
    """Return those of the tables that there are."""
    given = {"names": names}
    made = list(connection.execute(MADE, given))
    found = {each.name: Found(kind=each.type) for each in made if each.type in ("table", "view")}
    predicates = {each.name: predicate(each.sql) for each in made if each.type == "index"}
    for each in made:
        if each.type == "table":
            constrain(found[each.name], plain(each.sql))
        elif each.type == "trigger":
            found[each.whose].triggers[each.name] = plain(each.sql)
        found[each.whose].names.add(each.name)
    numbering = {each.name for each in made if each.type == "table" and "AUTOINCREMENT" in each.sql}
    for each in connection.execute(COLUMNS, given):
        generated = found[each.whose].columns.get(each.name)
        found[each.whose].columns[each.name] = Column(
            f"{each.type} AUTOINCREMENT" if each.pk and each.whose in numbering else each.type,
            bool(each.required),
            NUMBERED if each.pk and each.type == "INTEGER" else each.value,
            generated.generated if generated else None,
        )
    columns: dict[tuple[str, str, bool], list[str]] = {}
    for each in connection.execute(INDEXES, given):
        columns.setdefault((each.whose, each.name, bool(each.is_unique)), []).append(str(each.on_column))
    for (whose, name, unique), theirs in columns.items():
        parts = found[whose].unique if unique else found[whose].indexes
        parts[name] = f"({', '.join(theirs)}){predicates.get(name, '')}"
    return found


def constrain(table: Found, made: str) -> None:
    """Read out of a table's statement what SQLite tells of in no other way."""
    for name, rule in rules(made, CHECK):
        table.checks[name or rule] = f"CHECK {rule}"
    for found in GENERATED.finditer(made):
        table.columns[found[1]] = Column("", False, generated=within(made, found.end()))
    for name, ours, other, theirs, deferred in KEY.findall(made):
        later = deferred and " DEFERRABLE INITIALLY DEFERRED"
        table.keys[name or ours] = f"FOREIGN KEY {ours} REFERENCES {other} {theirs}{later}"
    table.names |= {*table.checks, *table.keys}


def rules(made: str, what: re.Pattern[str]) -> Iterator[tuple[str | None, str]]:
    for found in what.finditer(made):
        named = NAMED.search(made, 0, found.start())
        yield named and named[1], within(made, found.end())


def within(made: str, start: int) -> str:
    """Return what is in the parentheses that begin there, with them."""
    depth, at = 0, start
    for part in QUOTED.split(made[start:]):
        for sign in part if not part.startswith("'") else "":
            depth += {"(": 1, ")": -1}.get(sign, 0)
            at += 1
            if not depth:
                return made[start:at]
        at += len(part) if part.startswith("'") else 0
    return made[start:]


def predicate(made: str) -> str:
    _, where, condition = plain(made).partition(" WHERE ")
    return where + condition


def plain(made: str) -> str:
    """Write a statement on one line, names without quotation marks; what is in quotes stays as it is."""
    parts = QUOTED.split(made)
    return "".join(
        part if part.startswith("'") else re.sub(r"\s+", " ", part.replace('"', "")) for part in parts
    )
