"""What runs found to differ here and at payment providers."""

import sqlalchemy as sa

from jobctl.tables.making import add_column
from jobctl.tables.types import Json

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    add_column("runs", sa.Column("drift", Json, nullable=False, server_default="[]"))
