"""What a table lacks of what it is declared to have, each with the statement that mends it.

An application may have columns, indexes, constraints and triggers of its own on any table; what it may not
have is a column that jobctl's rows cannot fill.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from jobctl.checks.shapes import NUMBERED, Column, Found, Shape

READ, CHANGED, KEPT = ("SELECT",), ("SELECT", "UPDATE"), ("SELECT", "INSERT", "UPDATE")
# Which rights on a table the jobs use; what isn't named here they read, change and add to.
RIGHTS = {
    **dict.fromkeys(("attendees", "channel_preferences", "installation", "payment_methods"), READ),
    **dict.fromkeys(("plans", "prices"), READ),
    **dict.fromkeys(("checkout_session", "orders", "professionals"), CHANGED),
    **dict.fromkeys(("requests", "sessions", "users"), CHANGED),
    **dict.fromkeys(("audit_trail", "idle_runs", "run_errors", "runs"), (*KEPT, "DELETE")),
    "ledger_entries": ("SELECT", "INSERT"),
}
BY_ITSELF = "sqlite_"  # how SQLite names the indexes of constraints
PARTS = {
    "unique": "unique index",
    "checks": "CHECK",
    "keys": "foreign key",
    "triggers": "trigger",
    "indexes": "index",
}
MADE = {
    "unique": "CREATE UNIQUE INDEX {name} ON {table} {definition}",
    "indexes": "CREATE INDEX {name} ON {table} {definition}",
    "checks": "ALTER TABLE {table} ADD CONSTRAINT {name} {definition}",
    "keys": "ALTER TABLE {table} ADD CONSTRAINT {name} {definition}",
    "triggers": "{definition}",
}


@dataclass(frozen=True)
class Lack:
    """What is wrong with a table, and what to do about it."""

    table: str
    name: (
        str  # of the column, index, constraint, trigger, sequence or right; the table's where it is all of it
    )
    problem: str
    mend: str
    grave: bool = True  # not: jobs only take longer, or there may be something wrong

    def __str__(self) -> str:
        return f"{self.problem}: {self.mend}"

    def told(self) -> dict[str, str]:
        return {"table": self.table, "name": self.name, "problem": self.problem, "mend": self.mend}


def lacks(name: str, shape: Shape, found: Found | None, dialect: str) -> Iterator[Lack]:
    """Yield what a table lacks."""
    if found is None:
        yield Lack(name, name, f"there is no table {name}", "restore it from a backup")
    elif found.kind != "table":
        why = f"{name} is a {found.kind}, whose rows nobody can lock"
        yield Lack(name, name, why, "give it another name, and restore the table from a backup")
    else:
        yield from Comparison(name, shape, found, dialect).lacks()


@dataclass(frozen=True)
class Comparison:
    """A table as it is declared, and as it was found."""

    table: str
    shape: Shape
    found: Found
    dialect: str

    def lack(self, name: str, problem: str, mend: str, *, grave: bool = True) -> Lack:
        return Lack(self.table, name, problem, mend, grave)

    def lacks(self) -> Iterator[Lack]:
        yield from self.of_the_table()
        for column, wanted in self.shape.columns.items():
            yield from self.of_a_column(column, wanted, self.found.columns.get(column))
        for part in PARTS:
            yield from self.of_a_part(part, getattr(self.shape, part), getattr(self.found, part))
        yield from self.unchecked()
        yield from self.changed_functions()
        if "INSERT" in self.rights:
            yield from self.unfillable()
            yield from self.of_sequences()

    @property
    def rights(self) -> tuple[str, ...]:
        return RIGHTS.get(self.table, KEPT)

    def of_the_table(self) -> Iterator[Lack]:
        table, refused = self.table, [each for each in self.found.refused if each in self.rights]
        if refused:
            rights = ", ".join(refused)
            grant = f"GRANT {rights} ON {table} TO {self.found.role}"
            yield self.lack(rights, f"jobctl's role lacks rights on {table}: {rights}", grant)
        if not self.found.lasting:
            yield self.lack(table, f"{table} is emptied after a crash", f"ALTER TABLE {table} SET LOGGED")
        if self.found.filtered:
            why = f"row-level security may hide rows of {table} from jobctl's role"
            yield self.lack(table, why, f"ALTER ROLE {self.found.role} BYPASSRLS")

    def of_a_column(self, name: str, wanted: Column, found: Column | None) -> Iterator[Lack]:
        column, made = f"{self.table}.{name}", f"ADD COLUMN {name} {written(wanted)}"
        change = f"ALTER TABLE {self.table}"
        alter = f"{change} ALTER COLUMN {name}"
        if found is None:
            yield self.lack(name, f"{self.table} has no column {name}", f"{change} {made}")
            return
        if found.type != wanted.type:
            why = f"{column} is {found.type}, not {wanted.type}"
            yield self.lack(name, why, f"{alter} TYPE {wanted.type}")
        if found.generated != wanted.generated:
            why = f"{column} is not worked out by itself as {wanted.generated}"
            anew = f"{change} DROP COLUMN {name} CASCADE; {change} {made}"
            yield self.lack(name, why if wanted.generated else f"{column} cannot be written", anew)
        if wanted.required and not found.required:
            yield self.lack(name, f"{column} may be null", f"{alter} SET NOT NULL")
        if found.required and not wanted.required:
            yield self.lack(name, f"{column} must not be null", f"{alter} DROP NOT NULL")
        if wanted.default not in {None, found.default}:
            by_itself = "ADD GENERATED BY DEFAULT AS IDENTITY"
            default = by_itself if wanted.default == NUMBERED else f"SET DEFAULT {wanted.default}"
            yield self.lack(name, f"{column} has another default, or none", f"{alter} {default}")

    def unfillable(self) -> Iterator[Lack]:
        for name, each in self.found.columns.items():
            fillable = not each.required or each.default is not None or each.generated
            if name not in self.shape.columns and not fillable:
                why = f"jobctl cannot add to {self.table}, whose {name} must not be null"
                advice = f"ALTER TABLE {self.table} ALTER COLUMN {name} DROP NOT NULL, or give it a default"
                yield self.lack(name, why, advice)

    def of_a_part(self, part: str, wanted: dict[str, str], found: dict[str, str]) -> Iterator[Lack]:
        there = set(found.values())
        for name, definition in wanted.items():
            if definition not in there:
                why = self.told(PARTS[part], name, definition)
                yield self.lack(name, why, self.mended(part, name, definition), grave=part != "indexes")

    def told(self, what: str, name: str, definition: str) -> str:
        if name in self.found.idle:
            return f"the {what} {name} of {self.table} is switched off"
        if name in self.found.names:
            return f"the {what} {name} of {self.table} is another one, or not valid"
        return f"{self.table} has no {what} {definition if name.startswith(BY_ITSELF) else name}"

    def mended(self, part: str, name: str, definition: str) -> str:
        """Return the statement that mends it."""
        fixed = part in {"checks", "keys"} or name.startswith(BY_ITSELF)
        if self.dialect == "sqlite" and fixed:
            return "SQLite adds none to a table that is there: restore the file from a backup"
        if name in self.found.idle:
            return f"ALTER TABLE {self.table} ENABLE TRIGGER {name if part == 'triggers' else 'ALL'}"
        made = MADE[part].format(table=self.table, name=name, definition=definition)
        return f"{self.dropped(part, name)}; {made}" if name in self.found.names else made

    def dropped(self, part: str, name: str) -> str:
        if part == "triggers":
            return f"DROP TRIGGER {name}" + (f" ON {self.table}" if self.dialect == "postgresql" else "")
        if part in {"checks", "keys"}:
            return f"ALTER TABLE {self.table} DROP CONSTRAINT {name}"
        return f"DROP INDEX {name}"

    def unchecked(self) -> Iterator[Lack]:
        for name in self.found.unchecked:
            why = f"older rows of {self.table} were never held against {name}"
            yield self.lack(name, why, f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {name}", grave=False)

    def changed_functions(self) -> Iterator[Lack]:
        for name, body in self.shape.functions.items():
            if self.found.functions.get(name, body) != body:
                why = f"the function of the trigger {name} of {self.table} was changed"
                yield self.lack(name, why, f"CREATE OR REPLACE it with the body {body}")

    def of_sequences(self) -> Iterator[Lack]:
        for each in self.found.sequences:
            grant = f"ON SEQUENCE {each.name} TO {self.found.role}"
            if not each.usable:
                why = f"jobctl's role may not use {each.name}, which numbers {self.table}"
                yield self.lack(each.name, why, f"GRANT USAGE {grant}")
            elif each.next is None:
                why = f"jobctl's role may not see how far {each.name} has come, which numbers {self.table}"
                yield self.lack(each.name, why, f"GRANT SELECT {grant}", grave=False)
            elif each.highest is not None and each.next <= each.highest:
                why = (
                    f"the next {each.column} of {self.table} would be {each.next}, but there are rows up to "
                )
                yield self.lack(
                    each.name, f"{why}{each.highest}", f"SELECT setval('{each.name}', {each.highest})"
                )


def written(column: Column) -> str:
    """Write a column as SQL does."""
    if column.generated:
        return f"{column.type} GENERATED ALWAYS AS ({column.generated}) STORED"
    numbered = column.default == NUMBERED
    default = f"DEFAULT {column.default}" if column.default and not numbered else ""
    given = "GENERATED BY DEFAULT AS IDENTITY" if numbered else default
    return " ".join(filter(None, [column.type, given, "NOT NULL" if column.required else ""]))
