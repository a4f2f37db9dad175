"""Orders."""

from __future__ import annotations

import csv
import io
from typing import Any

from flask import Blueprint, Response, abort, g, render_template, request
from sqlalchemy import select

from atlas import audit, db
from atlas.auth import require_elevation, require_role
from atlas.models import Customer, Order

blueprint = Blueprint("orders", __name__, url_prefix="/orders")


def find(number: int) -> Order:
    order = db.session().get(Order, number)
    if order is None:
        abort(404)
    return order


def described(order: Order) -> dict[str, Any]:
    return {"number": order.number, "customer": str(order.customer_id), "status": order.status,
            "total_cents": order.total_cents, "refunded_cents": order.refunded_cents,
            "lines": [{"line": line.line, "article": line.article, "cents": line.cents} for line in order.lines]}


@blueprint.get("/")
@require_role("superuser", "manager", "agent", "viewer")
def index() -> Any:
    orders = db.session().scalars(select(Order).order_by(Order.number.desc()).limit(100)).all()
    return render_template("orders.html", orders=orders)


@blueprint.post("/")
@require_role("superuser", "manager", "agent")
def create() -> Any:
    wanted = request.get_json(silent=True) or {}
    customer = db.session().scalar(select(Customer).where(Customer.email == str(wanted.get("customer_email", ""))))
    if customer is None:
        return {"error": "customer_email"}, 422
    order = Order(customer_id=customer.id)
    db.session().add(order)
    db.session().flush()
    audit.record("order_created", order=order.number)
    db.session().commit()
    return {"number": order.number}, 201


@blueprint.get("/export.csv")
@require_role("superuser", "manager")
def export() -> Any:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["number", "status", "total_cents"])
    for order in db.session().scalars(select(Order).order_by(Order.number)):
        rows.writerow([order.number, order.status, order.total_cents])
    audit.record("orders_exported")
    db.session().commit()
    return Response(text.getvalue(), mimetype="text/csv")


@blueprint.get("/<int:number>")
@require_role("superuser", "manager", "agent", "viewer")
def show(number: int) -> Any:
    return render_template("order.html", order=find(number))


@blueprint.patch("/<int:number>")
@require_role("superuser", "manager", "agent")
def change(number: int) -> Any:
    order = find(number)
    status = (request.get_json(silent=True) or {}).get("status", order.status)
    if status not in ("new", "packed", "sent", "cancelled"):
        return {"error": "status"}, 422
    order.status = status
    audit.record("order_changed", order=number, status=status)
    db.session().commit()
    return described(order)


@blueprint.post("/<int:number>/cancel")
@require_role("superuser", "manager")
def cancel(number: int) -> Any:
    find(number).status = "cancelled"
    audit.record("order_cancelled", order=number)
    db.session().commit()
    return "<span class='status'>cancelled</span>"


@blueprint.post("/<int:number>/refund")
@require_role("superuser", "manager")
@require_elevation
def refund(number: int) -> Any:
    order = find(number)
    order.refunded_cents = order.total_cents
    audit.record("order_refunded", order=number, cents=order.total_cents, by=g.admin.email)
    db.session().commit()
    return described(order)


@blueprint.delete("/<int:number>/lines/<int:line>")
@require_role("superuser", "manager", "agent")
def delete_line(number: int, line: int) -> Any:
    order = find(number)
    order.lines = [kept for kept in order.lines if kept.line != line]
    audit.record("order_line_deleted", order=number, line=line)
    db.session().commit()
    return "", 204
