"""Reports for the management and the accountant, who is a viewer."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, render_template, request
from flask.views import MethodView
from sqlalchemy import func, select

from atlas import audit, db
from atlas.auth import require_role
from atlas.models import Order

blueprint = Blueprint("reports", __name__, url_prefix="/reports")

REPORTS = {"revenue": "Revenue", "open-orders": "Open orders"}


def title(slug: str) -> str:
    if slug not in REPORTS:
        abort(404)
    return REPORTS[slug]


@blueprint.get("/")
@require_role("superuser", "manager", "viewer")
def index() -> Any:
    return render_template("reports.html", reports=REPORTS)


@blueprint.get("/<slug>")
@require_role("superuser", "manager", "viewer")
def show(slug: str) -> Any:
    total = db.session().scalar(select(func.coalesce(func.sum(Order.total_cents), 0)))
    return render_template("report.html", title=title(slug), year=None, total=total)


@blueprint.get("/<slug>/<int:year>")
@require_role("superuser", "manager", "viewer")
def show_year(slug: str, year: int) -> Any:
    return render_template("report.html", title=title(slug), year=year, total=0)


class Schedule(MethodView):
    """When a report is sent."""

    decorators = [require_role("superuser", "manager")]

    def get(self, slug: str) -> Any:
        return {"report": title(slug), "every": "month"}

    def post(self, slug: str) -> Any:
        every = request.form.get("every", "month")
        if every not in ("week", "month"):
            return {"error": "every"}, 422
        audit.record("report_scheduled", report=title(slug), every=every)
        db.session().commit()
        return {"report": title(slug), "every": every}


blueprint.add_url_rule("/<slug>/schedule", view_func=Schedule.as_view("schedule"))
