"""What migrations make tables of; the tables of the code may have moved on since."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from jobctl.tables.types import Id, forms_on


def create(
    name: str,
    *parts: sa.schema.SchemaItem,
    autoincrement: bool = False,
    key: "sa.Column[Any] | None" = None,
) -> None:
    """Create a table; its key is a number that it gives itself, or another column `id`."""
    columns = [each for each in parts if isinstance(each, sa.Column)]
    checked = [each for each in columns if each.computed is None]
    checks = forms_on(op.get_bind().dialect.name, *checked)
    key = sa.Column("id", Id, sa.Identity(), nullable=False) if key is None else key
    primary = sa.PrimaryKeyConstraint("id", name=f"pk_{name}")
    op.create_table(name, key, *parts, *checks, primary, sqlite_autoincrement=autoincrement)


def create_index(name: str, table: str, columns: list[str], where: str | None = None) -> None:
    condition = sa.text(where) if where else None
    unique = name.startswith("uq_")
    op.create_index(name, table, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


def one_of(table: str, column: str, *allowed: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{each}'" for each in allowed)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}"))


def check(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=sa.schema.conv(f"ck_{table}_{name}"))


def references(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}_{other}")


def add_column(table: str, column: "sa.Column[Any]", *rules: sa.CheckConstraint) -> None:
    """Add a column; SQLite takes the rules for it in the same statement only."""
    dialect = op.get_bind().dialect
    forms = {f"ck_{table}_{each.name}": each.sqltext for each in forms_on(dialect.name, column)}
    checks = forms | {str(each.name): each.sqltext for each in rules}
    if dialect.name != "sqlite":
        op.add_column(table, column)
        for name, rule in checks.items():
            op.create_check_constraint(op.f(name), table, rule)
        return
    made = sa.schema.CreateColumn(column).compile(dialect=dialect)
    told = " ".join(f"CONSTRAINT {name} CHECK ({rule})" for name, rule in checks.items())
    op.execute(f"ALTER TABLE {table} ADD COLUMN {made} {told}")
