"""The tables, in the schema `app`."""

from __future__ import annotations

import os
import uuid
from datetime import datetime
from typing import Any

from flask_login import UserMixin
from sqlalchemy import BigInteger, DateTime, ForeignKey, MetaData, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# Migration 0005 renames the column; this line goes with it once every server runs that release.
IS_ACTIVE = "active" if os.environ.get("ATLAS_RELEASE") == "next" else "is_active"


class Base(DeclarativeBase):
    metadata = MetaData(schema="app")
    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB}


class Role(Base):
    __tablename__ = "roles"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class UserRole(Base):
    __tablename__ = "user_roles"

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("app.users.id", ondelete="CASCADE"), primary_key=True)
    role_id: Mapped[int] = mapped_column(ForeignKey("app.roles.id"), primary_key=True)
    granted_at: Mapped[datetime] = mapped_column(server_default=func.now())


class User(Base, UserMixin):
    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    email: Mapped[str] = mapped_column(unique=True)
    full_name: Mapped[str]
    password_hash: Mapped[str]
    totp_secret: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(IS_ACTIVE, default=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    roles: Mapped[list[Role]] = relationship(secondary="app.user_roles", lazy="selectin", order_by=Role.name)

    def has_role(self, *names: str) -> bool:
        return any(role.name in names for role in self.roles)


class LoginSession(Base):
    """A logged-in browser. The cookie has the token, the table only its SHA-256."""

    __tablename__ = "sessions"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    token_sha256: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("app.users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    last_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    elevated_until: Mapped[datetime | None]
    user: Mapped[User] = relationship(lazy="joined")


class ApiToken(Base):
    __tablename__ = "api_tokens"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(unique=True)
    token_sha256: Mapped[str] = mapped_column(unique=True)
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class AuditEntry(Base):
    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str | None]
    action: Mapped[str]
    method: Mapped[str | None]
    path: Mapped[str | None]
    outcome: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str]
    email: Mapped[str]
    archived_at: Mapped[datetime | None]


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    customer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("app.customers.id", ondelete="CASCADE"))
    author_id: Mapped[uuid.UUID | None]
    body: Mapped[str]


class Order(Base):
    __tablename__ = "orders"

    number: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("app.customers.id"))
    status: Mapped[str] = mapped_column(default="new")
    total_cents: Mapped[int] = mapped_column(default=0)
    refunded_cents: Mapped[int] = mapped_column(default=0)
    customer: Mapped[Customer] = relationship(lazy="joined")
    lines: Mapped[list[OrderLine]] = relationship(lazy="selectin", cascade="all, delete-orphan",
                                                  order_by="OrderLine.line")


class OrderLine(Base):
    __tablename__ = "order_lines"

    order_number: Mapped[int] = mapped_column(ForeignKey("app.orders.number", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    article: Mapped[str]
    cents: Mapped[int]


class StoredFile(Base):
    __tablename__ = "files"

    name: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes]
    uploaded_by: Mapped[uuid.UUID | None]
