"""What the tables of a database are like."""

from sqlalchemy import Connection

from jobctl.checks.shapes import Found


def look(connection: Connection, names: list[str]) -> dict[str, Found]:
    """Return those of the tables that there are."""
    if connection.dialect.name == "postgresql":
        from jobctl.checks import postgresql  # noqa: PLC0415 (each start imports one of them)

        return postgresql.look(connection, names)
    from jobctl.checks import sqlite  # noqa: PLC0415 (the same)

    return sqlite.look(connection, names)
