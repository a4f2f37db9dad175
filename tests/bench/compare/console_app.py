"""A Flask application with one page, and the usual ways to check who may see it.

BENCH_CHECK: `none`; `sqlite`, a decorator with a statement of its own; `sqlalchemy`, a decorator that loads the admin and the
roles as models; `middleware`, the gate's package around the application; `lines`, its two lines, and the decorator of
`sqlalchemy` below them, which steps back. BENCH_DATABASE: a SQLite file with Console's tables.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from typing import Any, Callable

from flask import Flask, abort, g, redirect, request, session
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

PAGE = "x" * 1024
DATABASE = os.environ.get("BENCH_DATABASE", "")
View = Callable[..., Any]


class Base(DeclarativeBase):
    pass


class AdminRole(Base):
    __tablename__ = "admin_roles"
    admin_id: Mapped[str] = mapped_column(ForeignKey("admins.id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)


class Admin(Base):
    __tablename__ = "admins"
    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    disabled_at_utc: Mapped[str | None]
    roles: Mapped[list[AdminRole]] = relationship()


engine = create_engine(f"sqlite:///{DATABASE}")
make_session = sessionmaker(engine)


def load_admin(admin_id: str) -> Admin | None:
    if "models" not in g:
        g.models = make_session()
    models: Session = g.models
    admin = models.get(Admin, admin_id)
    return admin if admin is not None and admin.disabled_at_utc is None else None


def close(_error: BaseException | None) -> None:
    for name in ("models", "connection"):
        if (one := g.pop(name, None)) is not None:
            one.close()


def by_models(role: str) -> Callable[[View], View]:
    """`@require_role`, as it is written with SQLAlchemy: the admin is an object, and so are the roles."""
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**values: Any) -> Any:
            if "admin_id" not in session:
                return redirect(f"/auth/login?next={request.path}")
            g.admin = load_admin(session["admin_id"])
            if g.admin is None or role not in [held.role for held in g.admin.roles]:
                abort(403)
            return view(**values)
        return guarded
    return decorate


def by_statement(role: str) -> Callable[[View], View]:
    """The same with one statement, on a connection of the request's, as Flask's tutorial has it."""
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**values: Any) -> Any:
            if "admin_id" not in session:
                return redirect(f"/auth/login?next={request.path}")
            if "connection" not in g:
                g.connection = sqlite3.connect(DATABASE)
            found = g.connection.execute(
                "SELECT 1 FROM admins JOIN admin_roles ON admin_id = id WHERE id = ? AND disabled_at_utc IS NULL AND role = ?",
                (session["admin_id"], role)).fetchone()
            if found is None:
                abort(403)
            return view(**values)
        return guarded
    return decorate


def unchecked(_role: str) -> Callable[[View], View]:
    return lambda view: view


def create_app() -> Flask:
    check = os.environ["BENCH_CHECK"]
    app = Flask(__name__)
    app.secret_key = os.environ["CONSOLE_SECRET_KEY"]
    app.teardown_appcontext(close)
    require_role = {"sqlite": by_statement, "sqlalchemy": by_models, "lines": by_models}.get(check, unchecked)
    if check == "lines":
        from console_gate.flask import ConsoleGate, defer

        ConsoleGate(app, load_admin=load_admin)
        require_role = defer(require_role)
    if check == "middleware":
        from console_gate import ConsoleGateMiddleware

        app.wsgi_app = ConsoleGateMiddleware.from_environment(app.wsgi_app)  # type: ignore[method-assign]

    @app.get("/console/customers/<id>/tickets")
    @require_role("ops")
    def tickets(id: str) -> str:
        return PAGE

    @app.get("/console/secrets")
    @require_role("superadmin")
    def secrets() -> str:
        return PAGE

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    return app
