from flask import Blueprint

bp = Blueprint("broken", __name__)


@bp.get("/broken"
@require_role("superadmin")
def index():
    return ""
