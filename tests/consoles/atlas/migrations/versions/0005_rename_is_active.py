"""`users.is_active` becomes `users.active`: the code that goes with it is started with ATLAS_RELEASE=next."""

from alembic import op

revision, down_revision = "0005", "0004"


def upgrade() -> None:
    op.alter_column("users", "is_active", new_column_name="active", schema="app")


def downgrade() -> None:
    op.alter_column("users", "active", new_column_name="is_active", schema="app")
