"""Logging in and out, and the TOTP code for what is dangerous."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, g, make_response, redirect, render_template, request
from sqlalchemy import select
from werkzeug.security import check_password_hash

from atlas import audit, csrf, db, sessions, totp
from atlas.auth import require_login
from atlas.models import User

blueprint = Blueprint("login", __name__, url_prefix="/auth")


def relative(target: str) -> str:
    """Where to go after login: a path on this site, or the start page."""
    return target if re.fullmatch(r"/(?!/)[!-\[\]-~]*", target) else "/"


@blueprint.get("/login")
def form() -> Any:
    return render_template("login.html", token=csrf.login_form_token(), next=request.args.get("next", ""))


@blueprint.post("/login")
def log_in() -> Any:
    if g.login_session is None and not csrf.login_form_token_is_good(request.form.get("csrf_token", "")):
        return {"error": "csrf"}, 400
    email = request.form.get("email", "").strip().lower()
    user = db.session().scalar(select(User).where(User.email == email))
    good = user is not None and check_password_hash(user.password_hash, request.form.get("password", ""))
    if user is None or not good or not user.is_active:
        audit.record("login_failed", "denied", email=email)
        db.session().commit()
        page = render_template("login.html", token=csrf.login_form_token(), next=request.form.get("next", ""),
                               message="Wrong e-mail or password.")
        return page, 401
    g.admin = user
    token = sessions.start(user)
    audit.record("login")
    db.session().commit()
    response = make_response(redirect(relative(request.form.get("next", ""))))
    sessions.set_cookie(response, token)
    csrf.set_cookie(response)
    return response


@blueprint.post("/logout")
def log_out() -> Any:
    if g.login_session is not None:
        db.session().delete(g.login_session)
        db.session().commit()
    response = make_response(redirect("/auth/login"))
    response.delete_cookie(sessions.COOKIE)
    response.delete_cookie(csrf.COOKIE)
    return response


@blueprint.get("/elevate")
@require_login
def elevation_form() -> Any:
    return render_template("elevate.html", elevated=sessions.is_elevated(), next=request.args.get("next", ""))


@blueprint.post("/elevate")
@require_login
def elevate() -> Any:
    secret = g.admin.totp_secret
    if secret is None or not totp.is_good(secret, request.form.get("code", "")):
        audit.record("elevation_failed", "denied")
        db.session().commit()
        return {"error": "wrong_code"}, 422
    sessions.elevate()
    audit.record("elevation")
    db.session().commit()
    return redirect(relative(request.form.get("next", "")))
