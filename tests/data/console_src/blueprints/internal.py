from flask import Blueprint

from ..auth import require_role

bp = Blueprint("internal", __name__, url_prefix="/replaced/by/the/registration")


def poller_status():
    return {}


@require_role("ops", "superadmin")
def pending():
    return {}


bp.add_url_rule("/poller-status", view_func=require_role("superadmin")(poller_status))
bp.add_url_rule("/flag-drift/pending", "pending", pending, methods=("GET",))
