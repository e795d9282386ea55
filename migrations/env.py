"""Alembic's entry: `jobctl db upgrade` hands over its connection, inside its transaction."""

from alembic import context

from jobctl.db import VERSION_TABLE
from jobctl.tables import every  # noqa: F401 (fills the metadata)
from jobctl.tables.types import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
