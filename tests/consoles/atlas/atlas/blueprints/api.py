"""For the warehouse's programs, and for the pages' own scripts."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g
from sqlalchemy import select

from atlas import audit, db
from atlas.auth import machine_auth, machine_auth_or_session, require_login
from atlas.blueprints.orders import described, find
from atlas.models import Order

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")


@blueprint.get("/orders")
@machine_auth_or_session("superuser", "manager", "agent", "viewer")
def orders() -> Any:
    found = db.session().scalars(select(Order).order_by(Order.number).limit(100)).all()
    return {"orders": [described(order) for order in found]}


@blueprint.get("/orders/<int:number>")
@machine_auth_or_session("superuser", "manager", "agent", "viewer")
def order(number: int) -> Any:
    return described(find(number))


@blueprint.patch("/orders/<int:number>")
@machine_auth_or_session("superuser", "manager")
def pack(number: int) -> Any:
    find(number).status = "packed"
    audit.record("order_packed", order=number)
    db.session().commit()
    return {"number": number, "status": "packed"}


@blueprint.post("/orders/<int:number>/sent")
@machine_auth
def sent(number: int) -> Any:
    find(number).status = "sent"
    audit.record("order_sent", order=number)
    db.session().commit()
    return {"number": number, "status": "sent"}


@blueprint.get("/me")
@require_login
def me() -> Any:
    return {"id": str(g.admin.id), "email": g.admin.email, "roles": [role.name for role in g.admin.roles]}
