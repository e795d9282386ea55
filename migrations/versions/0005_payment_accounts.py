"""Which of our accounts at its provider a payment was made at."""

import sqlalchemy as sa

from jobctl.tables.making import add_column

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    add_column("payments", sa.Column("account", sa.Text))
