"""Alembic's entry: `jobctl db upgrade` hands over its connection, inside its transaction."""

from alembic import context

from jobctl.tables import every  # noqa: F401 (fills the metadata)
from jobctl.tables.types import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
