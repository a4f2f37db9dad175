"""The shop's own people, their roles and their open sessions."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from flask import Blueprint, abort, g, render_template, request
from sqlalchemy import delete as delete_rows
from sqlalchemy import select
from werkzeug.security import generate_password_hash

from atlas import audit, db
from atlas.auth import require_elevation, require_role
from atlas.models import LoginSession, Role, User

blueprint = Blueprint("staff", __name__, url_prefix="/staff")


def find(user_id: uuid.UUID) -> User:
    user = db.session().get(User, user_id)
    if user is None:
        abort(404)
    return user


@blueprint.get("/")
@require_role("superuser", "manager")
def index() -> Any:
    return render_template("staff.html", users=db.session().scalars(select(User).order_by(User.email)).all())


@blueprint.post("/")
@require_role("superuser")
@require_elevation
def create() -> Any:
    email = request.form.get("email", "").strip().lower()
    if "@" not in email or db.session().scalar(select(User).where(User.email == email)):
        return {"error": "email"}, 422
    password = secrets.token_urlsafe(12)
    user = User(id=uuid.uuid4(), email=email, full_name=request.form.get("full_name", ""),
                password_hash=generate_password_hash(password))
    db.session().add(user)
    audit.record("user_created", user=email, by=g.admin.email)
    db.session().commit()
    return {"id": str(user.id), "password": password}, 201


@blueprint.get("/<uuid:user_id>")
@require_role("superuser", "manager")
def show(user_id: uuid.UUID) -> Any:
    user = find(user_id)
    return {"id": str(user.id), "email": user.email, "is_active": user.is_active,
            "roles": [role.name for role in user.roles]}


@blueprint.post("/<uuid:user_id>/roles")
@require_role("superuser")
@require_elevation
def grant(user_id: uuid.UUID) -> Any:
    user = find(user_id)
    role = db.session().scalar(select(Role).where(Role.name == request.form.get("role", "")))
    if role is None:
        return {"error": "role"}, 422
    if role not in user.roles:
        user.roles.append(role)
    audit.record("role_granted", user=user.email, role=role.name, by=g.admin.email)
    db.session().commit()
    return {"roles": sorted(role.name for role in user.roles)}


@blueprint.delete("/<uuid:user_id>/roles/<string:role>")
@require_role("superuser")
@require_elevation
def revoke(user_id: uuid.UUID, role: str) -> Any:
    user = find(user_id)
    user.roles = [kept for kept in user.roles if kept.name != role]
    audit.record("role_revoked", user=user.email, role=role, by=g.admin.email)
    db.session().commit()
    return "", 204


@blueprint.post("/<uuid:user_id>/disable")
@require_role("superuser")
@require_elevation
def disable(user_id: uuid.UUID) -> Any:
    user = find(user_id)
    user.is_active = False
    audit.record("user_disabled", user=user.email, by=g.admin.email)
    db.session().commit()
    return {"is_active": False}


@blueprint.get("/sessions")
@require_role("superuser")
def sessions() -> Any:
    found = db.session().scalars(select(LoginSession).order_by(LoginSession.last_seen.desc()).limit(100)).all()
    return render_template("sessions.html", sessions=found)


@blueprint.delete("/sessions/<uuid:session_id>")
@require_role("superuser")
def end_session(session_id: uuid.UUID) -> Any:
    db.session().execute(delete_rows(LoginSession).where(LoginSession.id == session_id))
    audit.record("session_ended", session=str(session_id))
    db.session().commit()
    return "", 204
