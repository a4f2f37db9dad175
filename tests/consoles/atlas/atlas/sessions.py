"""Logged-in browsers: a random token in the cookie, its SHA-256 in `app.sessions`."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta, timezone

from flask import Flask, Response, current_app, g, request
from sqlalchemy import delete, select

from atlas import db
from atlas.models import LoginSession, User

COOKIE = "atlas_session"
LIFETIME = timedelta(hours=12)
ELEVATION = timedelta(minutes=10)


def now() -> datetime:
    return datetime.now(timezone.utc)


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def init_app(app: Flask) -> None:
    @app.before_request
    def open_session() -> None:
        g.login_session = None
        token = request.cookies.get(COOKIE)
        if not token or request.endpoint == "static":
            return
        statement = select(LoginSession).where(
            LoginSession.token_sha256 == sha256(token), LoginSession.expires_at > now())
        session = db.session().scalar(statement)
        if session is not None and session.user.is_active:
            g.login_session = session
            session.last_seen = now()
            db.session().commit()


def start(user: User) -> str:
    """A new session for a user who has just proved who they are; returns the cookie's token."""
    token = secrets.token_urlsafe(32)
    db.session().execute(delete(LoginSession).where(LoginSession.expires_at <= now()))
    g.login_session = LoginSession(token_sha256=sha256(token), user=user, expires_at=now() + LIFETIME)
    db.session().add(g.login_session)
    db.session().flush()
    return token


def set_cookie(response: Response, token: str) -> None:
    response.set_cookie(COOKIE, token, max_age=int(LIFETIME.total_seconds()), httponly=True, samesite="Lax",
                        secure=current_app.config["SECURE_COOKIES"])


def elevate() -> None:
    g.login_session.elevated_until = now() + ELEVATION


def is_elevated() -> bool:
    session = g.get("login_session")
    return session is not None and session.elevated_until is not None and session.elevated_until > now()
