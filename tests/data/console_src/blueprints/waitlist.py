from flask import Blueprint

from ..auth import require_role

bp = Blueprint("waitlist", __name__, url_prefix="/console/waitlist")
superadmin_only = require_role("superadmin")


@bp.get("")
@superadmin_only
def index():
    return ""


@bp.post("/invite")
@superadmin_only
def invite():
    return ""
