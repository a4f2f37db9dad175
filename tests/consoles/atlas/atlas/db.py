"""The database session of a request: `db.session()`; committed by the views, closed when the request ends."""

from __future__ import annotations

from flask import Flask, current_app, g
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker


def init_app(app: Flask) -> None:
    engine = create_engine(app.config["DATABASE_URL"], pool_size=4, max_overflow=4, pool_pre_ping=True)
    app.extensions["atlas_sessionmaker"] = sessionmaker(engine, expire_on_commit=False)

    @app.teardown_appcontext
    def close(_error: BaseException | None) -> None:
        session = g.pop("db", None)
        if session is not None:
            session.close()


def session() -> Session:
    if "db" not in g:
        g.db = current_app.extensions["atlas_sessionmaker"]()
    return g.db
