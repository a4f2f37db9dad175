"""Customers. Nobody is ever deleted: they are archived."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Blueprint, abort, g, redirect, render_template, request, url_for
from sqlalchemy import select

from atlas import audit, db, sessions
from atlas.auth import require_elevation, require_role
from atlas.models import Customer, Note, Order

blueprint = Blueprint("customers", __name__, url_prefix="/customers")


def find(customer_id: uuid.UUID) -> Customer:
    customer = db.session().get(Customer, customer_id)
    if customer is None:
        abort(404)
    return customer


@blueprint.get("/")
@require_role("superuser", "manager", "agent", "viewer")
def index() -> Any:
    customers = db.session().scalars(select(Customer).where(Customer.archived_at.is_(None)).order_by(Customer.name))
    return render_template("customers.html", customers=customers.all())


@blueprint.get("/search")
@require_role("superuser", "manager", "agent", "viewer")
def search() -> Any:
    words = f"%{request.args.get('q', '')}%"
    customers = db.session().scalars(select(Customer).where(Customer.name.ilike(words)).order_by(Customer.name))
    return render_template("customer_rows.html", customers=customers.all())


@blueprint.get("/new")
@require_role("superuser", "manager", "agent")
def new() -> Any:
    return render_template("customer_form.html", customer=None)


@blueprint.post("/")
@require_role("superuser", "manager", "agent")
def create() -> Any:
    name = request.form.get("name", "").strip()
    if not name:
        return {"error": "name"}, 422
    customer = Customer(id=uuid.uuid4(), name=name, email=request.form.get("email", ""))
    db.session().add(customer)
    audit.record("customer_created", customer=str(customer.id))
    db.session().commit()
    return redirect(url_for("customers.show", customer_id=customer.id), 303)


@blueprint.get("/<uuid:customer_id>")
@require_role("superuser", "manager", "agent", "viewer")
def show(customer_id: uuid.UUID) -> Any:
    return render_template("customer.html", customer=find(customer_id), admin=g.admin)


@blueprint.put("/<uuid:customer_id>")
@require_role("superuser", "manager", "agent")
def change(customer_id: uuid.UUID) -> Any:
    customer = find(customer_id)
    changes = request.get_json(silent=True) or {}
    customer.name = str(changes.get("name") or customer.name)
    customer.email = str(changes.get("email") or customer.email)
    audit.record("customer_changed", customer=str(customer_id))
    db.session().commit()
    return {"id": str(customer_id), "name": customer.name, "email": customer.email}


@blueprint.delete("/<uuid:customer_id>")
@require_role("superuser", "manager")
@require_elevation
def archive(customer_id: uuid.UUID) -> Any:
    customer = find(customer_id)
    customer.archived_at = customer.archived_at or sessions.now()
    audit.record("customer_archived", customer=str(customer_id), by=g.admin.email)
    db.session().commit()
    return "", 204


@blueprint.get("/<uuid:customer_id>/orders")
@require_role("superuser", "manager", "agent", "viewer")
def orders(customer_id: uuid.UUID) -> Any:
    found = db.session().scalars(select(Order).where(Order.customer_id == customer_id).order_by(Order.number))
    return render_template("order_rows.html", orders=found.all())


@blueprint.post("/<uuid:customer_id>/notes")
@require_role("superuser", "manager", "agent")
def add_note(customer_id: uuid.UUID) -> Any:
    find(customer_id)
    db.session().add(Note(customer_id=customer_id, author_id=g.admin.id, body=request.form.get("body", "")))
    db.session().commit()
    return "<p>Saved.</p>", 201
