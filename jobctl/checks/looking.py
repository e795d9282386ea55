"""What the tables of a database are like."""

from sqlalchemy import Connection

from jobctl.checks.shapes import Found


def look(connection: Connection, names: list[str], *, rules: bool = True) -> dict[str, Found]:
    """Return those of the tables that there are; rules: with CHECKs and foreign keys, which take longest."""
    if connection.dialect.name == "postgresql":
        from jobctl.checks import postgresql  # noqa: PLC0415 (each start imports one of them)

        return postgresql.look(connection, names, rules=rules)
    from jobctl.checks import sqlite  # noqa: PLC0415 (the same)

    return sqlite.look(connection, names)
