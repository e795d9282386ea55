"""What is down, since when and why; messages that processes ended over."""

import sqlalchemy as sa

from jobctl.tables.making import add_column, create
from jobctl.tables.types import Id, Instant

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    add_column("notifications", sa.Column("crashes", sa.Integer, nullable=False, server_default="0"))
    create(
        "circuits",
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("opened_at", Instant, nullable=False),
        sa.Column("seen_at", Instant, nullable=False),
        sa.Column("asked_again_at", Instant),
        sa.Column("run_id", Id),
        sa.UniqueConstraint("job", "scope", name="uq_circuits_job_scope"),
    )
