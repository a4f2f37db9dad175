"""The audit log: who did what, and who was stopped."""

from __future__ import annotations

from typing import Any

from flask import g, request

from atlas import db
from atlas.models import AuditEntry


def record(action: str, outcome: str = "done", **detail: Any) -> None:
    """Adds an entry to the transaction of this request. The caller commits."""
    admin, machine = g.get("admin"), g.get("machine")
    actor = admin.email if admin is not None else f"machine:{machine.name}" if machine is not None else None
    db.session().add(AuditEntry(actor=actor, action=action, method=request.method, path=request.path,
                                outcome=outcome, detail=detail))


def record_denial(needed: tuple[str, ...]) -> None:
    """The view will not run, so this commits."""
    record("access_denied", "denied", needed=list(needed))
    db.session().commit()
