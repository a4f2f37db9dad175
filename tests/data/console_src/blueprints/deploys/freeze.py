from flask import Blueprint

from ...auth import require_role, require_totp_elevation

bp = Blueprint("freeze", __name__)


@bp.route("/toggle", methods=["POST"])
@require_role("superadmin")
@require_totp_elevation
def toggle():
    return ""
