"""CSRF: a token that belongs to the session, in a cookie that htmx copies into `X-CSRF-Token`, or in a form field."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Flask, Response, current_app, g, request
from itsdangerous import BadData, URLSafeTimedSerializer

COOKIE = "atlas_csrf"
SAFE = {"GET", "HEAD", "OPTIONS"}
LOGIN_FORM_SECONDS = 3600


def init_app(app: Flask) -> None:
    @app.before_request
    def check() -> Any:
        # Without a session there is nothing to ride on; machines send no cookies.
        if request.method in SAFE or g.login_session is None:
            return None
        sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
        if not hmac.compare_digest(sent.encode(), token().encode()):
            return {"error": "csrf"}, 400
        return None

    app.jinja_env.globals["csrf_token"] = token


def token() -> str:
    session = g.get("login_session")
    if session is None:
        return ""
    return hmac.digest(current_app.config["SECRET_KEY"].encode(), session.id.bytes, "sha256").hex()


def set_cookie(response: Response) -> None:
    response.set_cookie(COOKIE, token(), samesite="Lax", secure=current_app.config["SECURE_COOKIES"])


def login_form_token() -> str:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], "atlas-login-form").dumps("login")


def login_form_token_is_good(text: str) -> bool:
    serializer = URLSafeTimedSerializer(current_app.config["SECRET_KEY"], "atlas-login-form")
    try:
        return serializer.loads(text, max_age=LOGIN_FORM_SECONDS) == "login"
    except BadData:
        return False
