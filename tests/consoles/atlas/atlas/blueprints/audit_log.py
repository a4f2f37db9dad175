"""The page that shows the audit log, denials in red."""

from __future__ import annotations

from typing import Any, Sequence

from flask import Blueprint, render_template, request
from sqlalchemy import select

from atlas import db
from atlas.auth import require_role
from atlas.models import AuditEntry

blueprint = Blueprint("audit_log", __name__, url_prefix="/audit")


def entries() -> Sequence[AuditEntry]:
    statement = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(200)
    if outcome := request.args.get("outcome"):
        statement = statement.where(AuditEntry.outcome == outcome)
    return db.session().scalars(statement).all()


@blueprint.get("")
@require_role("superuser", "manager")
def page() -> Any:
    return render_template("audit.html", entries=entries())


@blueprint.get("/rows")
@require_role("superuser", "manager")
def rows() -> Any:
    return render_template("audit_rows.html", entries=entries())
