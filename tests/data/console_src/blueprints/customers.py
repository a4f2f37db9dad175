"""Customers."""

from flask import Blueprint

from ..auth import require_role
from ..roles import OPS_AND_UP

bp = Blueprint("customers", __name__, url_prefix="/console/customers")


@bp.route("/")
@require_role("ops", "superadmin")
def index():
    # @require_role("readonly") was considered
    return "@require_role('support')"


@bp.route("/invite", methods=["GET", "POST"])
@require_role("superadmin")
def invite():
    return ""


@bp.get("/<id>")
@require_role(*OPS_AND_UP)
def show(id):
    return ""


@bp.post("/<id>/<session_id>/revoke")
@require_role(*OPS_AND_UP)
def revoke(id, session_id):
    return ""


@bp.delete("/<id>/rbac-grants/<int:grant_id>")
@require_role(*OPS_AND_UP)
def remove_grant(id, grant_id):
    return ""
