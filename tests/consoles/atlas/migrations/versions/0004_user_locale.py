"""Each user's language. The running release ignores the column."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0004", "0003"


def upgrade() -> None:
    op.add_column("users", sa.Column("locale", sa.Text, nullable=False, server_default="en"), schema="app")


def downgrade() -> None:
    op.drop_column("users", "locale", schema="app")
