"""People, roles, sessions and the audit log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision, down_revision = "0001", None

moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("email", sa.Text, nullable=False, unique=True),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("created_at", moment, nullable=False, server_default=sa.func.now()),
        schema="app")
    op.create_table(
        "roles",
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        schema="app")
    op.create_table(
        "user_roles",
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("app.users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("role_id", sa.Integer, sa.ForeignKey("app.roles.id"), primary_key=True),
        sa.Column("granted_at", moment, nullable=False, server_default=sa.func.now()),
        schema="app")
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("token_sha256", sa.Text, nullable=False, unique=True),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("app.users.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("created_at", moment, nullable=False, server_default=sa.func.now()),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("last_seen", moment, nullable=False, server_default=sa.func.now()),
        schema="app")
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("at", moment, nullable=False, server_default=sa.func.now()),
        sa.Column("actor", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("method", sa.Text),
        sa.Column("path", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("detail", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'")),
        schema="app")
    op.execute("INSERT INTO app.roles (name) VALUES ('superuser'), ('manager'), ('agent'), ('viewer')")


def downgrade() -> None:
    for table in ("audit_log", "sessions", "user_roles", "roles", "users"):
        op.drop_table(table, schema="app")
