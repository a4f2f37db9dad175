"""TOTP for what is dangerous, and tokens for the warehouse's programs."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"

moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("users", sa.Column("totp_secret", sa.Text), schema="app")
    op.add_column("sessions", sa.Column("elevated_until", moment), schema="app")
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("token_sha256", sa.Text, nullable=False, unique=True),
        sa.Column("revoked_at", moment),
        sa.Column("last_used_at", moment),
        schema="app")


def downgrade() -> None:
    op.drop_table("api_tokens", schema="app")
    op.drop_column("sessions", "elevated_until", schema="app")
    op.drop_column("users", "totp_secret", schema="app")
