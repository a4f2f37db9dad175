"""Who may do what.

    @require_role("manager", "agent")              somebody who is logged in and has one of these roles
    @require_login                                 somebody who is logged in
    @machine_auth                                  a program with a token of `api_tokens`
    @machine_auth_or_session("manager", "agent")   such a program, or somebody with one of these roles
    @require_elevation                             under one of the above: a TOTP code within the last ten minutes

`g.admin` is the user behind the request, `g.machine` the token.
"""

from __future__ import annotations

import functools
import os
import uuid
from typing import Any, Callable

from flask import Flask, g, redirect, request, url_for
from flask_login import LoginManager, current_user
from sqlalchemy import select

from atlas import audit, db, sessions
from atlas.models import ApiToken, User

View = Callable[..., Any]
USE_GATE = os.environ.get("USE_GATE") == "1"

login_manager = LoginManager()


def init_app(app: Flask) -> None:
    login_manager.init_app(app)


@login_manager.request_loader
def user_of_session(_request: Any) -> User | None:
    session = g.get("login_session")
    return session.user if session is not None else None


def load_user(user_id: str) -> User | None:
    user = db.session().get(User, uuid.UUID(user_id))
    return user if user is not None and user.is_active else None


def wants_json() -> bool:
    return request.path.startswith("/api/") or request.accept_mimetypes.best == "application/json"


def ask_to_log_in() -> Any:
    target = request.full_path.rstrip("?") if request.method in ("GET", "HEAD") else None
    address = url_for("login.form", next=target)
    if request.headers.get("HX-Request") == "true":
        return {"error": "login_required"}, 401, {"HX-Redirect": address}
    if request.path.startswith("/api/"):
        return {"error": "login_required"}, 401
    return redirect(address)


def forbid(needed: tuple[str, ...]) -> Any:
    audit.record_denial(needed)
    if wants_json():
        return {"error": "forbidden", "needed": needed}, 403
    return f"<h1>Not allowed</h1><p>This page is for: {', '.join(needed)}.</p>", 403


def require_role(*roles: str) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if not current_user.is_authenticated:
                return ask_to_log_in()
            g.admin = current_user._get_current_object()
            if not g.admin.has_role(*roles):
                return forbid(roles)
            return view(*args, **kwargs)
        return guarded
    return decorate


def require_login(view: View) -> View:
    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not current_user.is_authenticated:
            return ask_to_log_in()
        g.admin = current_user._get_current_object()
        return view(*args, **kwargs)
    return guarded


def machine_of_request() -> ApiToken | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    statement = select(ApiToken).where(
        ApiToken.token_sha256 == sessions.sha256(token.strip()), ApiToken.revoked_at.is_(None))
    machine = db.session().scalar(statement)
    if machine is not None:
        machine.last_used_at = sessions.now()
        db.session().commit()
    return machine


def machine_auth(view: View) -> View:
    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        g.machine = machine_of_request()
        if g.machine is None:
            return {"error": "token_required"}, 401
        return view(*args, **kwargs)
    return guarded


def machine_auth_or_session(*roles: str) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        with_session = require_role(*roles)(view)

        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if "Authorization" in request.headers:
                g.machine = machine_of_request()
                if g.machine is None:
                    return {"error": "token_required"}, 401
                return view(*args, **kwargs)
            return with_session(*args, **kwargs)
        return guarded
    return decorate


def require_elevation(view: View) -> View:
    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if g.admin.totp_secret is None or not sessions.is_elevated():
            return {"error": "totp_required", "elevate": url_for("login.elevation_form")}, 401
        return view(*args, **kwargs)
    return guarded


if USE_GATE:
    # console-gate is in front: where it has decided by its V2 roles, the checks above do not run a second time.
    from console_gate.flask import defer

    require_role = defer(require_role)
    # It notes when a token was used, so its own code runs; for people, `require_role` within it steps back.
    machine_auth_or_session = defer(machine_auth_or_session, own_code=True)
