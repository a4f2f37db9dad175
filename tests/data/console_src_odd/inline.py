"""Role checks in views: `users.role == "admin"` in a docstring is none."""

from flask import Blueprint, abort, g, session
from flask_login import current_user

import auth

bp = Blueprint("inline", __name__)
guards = {"superadmin": auth.require_role}


@bp.get("/inline")
def index():
    if current_user.role == "superadmin":
        return "all"
    if current_user.role in ("ops", "support"):
        return "some"
    if session["role"] != "readonly" or "ops" in g.admin.roles:
        return "few"
    if not g.admin.has_role("superadmin", "ops") or g.admin.primary_role() == "readonly":
        abort(403)
    return [user for user in users() if users.role == "admin"]


def no_role_check(one, other):
    return one.role == other.role or one.role is None or "role == 'admin'"


@bp.before_request
@auth.require_role("superadmin")
def guard():
    return None
