"""Customers, orders and files."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        schema="app")
    op.create_table(
        "notes",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("app.customers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("author_id", sa.Uuid),
        sa.Column("body", sa.Text, nullable=False),
        schema="app")
    op.create_table(
        "orders",
        sa.Column("number", sa.Integer, sa.Identity(start=1001), primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("app.customers.id"), nullable=False, index=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("total_cents", sa.Integer, nullable=False),
        sa.Column("refunded_cents", sa.Integer, nullable=False),
        schema="app")
    op.create_table(
        "order_lines",
        sa.Column("order_number", sa.Integer, sa.ForeignKey("app.orders.number", ondelete="CASCADE"),
                  primary_key=True),
        sa.Column("line", sa.Integer, primary_key=True),
        sa.Column("article", sa.Text, nullable=False),
        sa.Column("cents", sa.Integer, nullable=False),
        schema="app")
    op.create_table(
        "files",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("uploaded_by", sa.Uuid),
        schema="app")


def downgrade() -> None:
    for table in ("files", "order_lines", "orders", "notes", "customers"):
        op.drop_table(table, schema="app")
