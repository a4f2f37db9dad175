"""The start page and the parts of it that htmx fetches again."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, render_template
from sqlalchemy import func, select

from atlas import db
from atlas.auth import require_role
from atlas.models import AuditEntry, Order

blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/")
@require_role("superuser", "manager", "agent", "viewer")
def home() -> Any:
    return render_template("home.html", admin=g.admin)


@blueprint.get("/partials/activity")
@require_role("superuser", "manager")
def activity() -> Any:
    entries = db.session().scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(5)).all()
    return render_template("audit_rows.html", entries=entries)


@blueprint.get("/partials/queue-count")
@require_role("superuser", "manager", "agent", "viewer")
def queue_count() -> Any:
    count = db.session().scalar(select(func.count()).select_from(Order).where(Order.status == "new"))
    return f"<span id='queue'>{count}</span>"
