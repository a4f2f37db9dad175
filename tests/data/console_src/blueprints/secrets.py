from flask import Blueprint

from ..auth import require_role as rr, require_totp_elevation
from ..roles import EVERYBODY, Roles

PAGES = "/secrets"

bp = Blueprint("secrets", __name__)


@bp.route(PAGES)
@rr(Roles.SUPERADMIN)
def index():
    return ""


@bp.get(f"{PAGES}/<name>/sop")
@rr(*EVERYBODY)
def sop(name):
    return ""


@bp.route("/api/secrets/<name>/rotate", methods=["POST"])
@bp.route(PAGES + "/<name>/rotate/htmx", methods=["POST"])
@rr(
    Roles.SUPERADMIN,  # and nobody else
)
@require_totp_elevation
def rotate(name):
    return ""
