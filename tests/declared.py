"""Write down what the migrations make, for `db check` to hold databases against: python -m tests.declared."""

import importlib
import pkgutil
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Table

from jobctl import db, migrating, tables
from jobctl.checks import shapes
from jobctl.checks.looking import look
from jobctl.checks.shapes import Shape
from jobctl.settings import Settings
from jobctl.tables.every import metadata
from tests import postgres

PARTS = ("columns", "unique", "indexes", "checks", "keys", "triggers", "functions")


def domains() -> dict[str, str]:
    """Return in which file of jobctl/tables each table is declared."""
    modules = [each.name for each in pkgutil.iter_modules(tables.__path__) if each.name != "every"]
    found = {name: vars(importlib.import_module(f"jobctl.tables.{name}")) for name in modules}
    return {
        table.name: name
        for name, told in found.items()
        for table in told.values()
        if isinstance(table, Table)
    }


def made(connection: Connection) -> dict[str, Shape]:
    """Return the shape of each table as the migrations made it."""
    domain, found = domains(), look(connection, sorted(metadata.tables))
    return {
        name: Shape(domain[name], **{part: getattr(each, part) for part in PARTS})
        for name, each in found.items()
    }


def main() -> None:
    with TemporaryDirectory() as folder, postgres.running() as server:
        url = postgres.create_database(server, "declared").replace("+psycopg", "", 1)
        for settings in (Settings(jobctl_home=Path(folder)), Settings(database_url=url)):
            migrating.upgrade(settings)
            with db.engine(settings).connect() as connection:
                told = shapes.written(made(connection))
                shapes.stored(connection.dialect.name).write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
