from flask import Blueprint

from auth import require_role

bp = Blueprint("order", __name__)


@require_role("superadmin")
@bp.get("/above")
def above():
    return ""


@bp.get("/between/gated")
@require_role("superadmin")
@bp.get("/between/open")
def between():
    return ""


@bp.get("/same/<id>")
@require_role("superadmin")
def first(id):
    return ""


@bp.get("/same/<name>")
@require_role("ops")
def second(name):
    return ""
