"""Runs the migrations on DATABASE_URL, each in a transaction of its own."""

import os

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from atlas.config import driver_url

engine = create_engine(driver_url(os.environ["DATABASE_URL"]), poolclass=NullPool)
with engine.connect() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS app"))
    connection.commit()
    context.configure(connection=connection, version_table_schema="app", transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
