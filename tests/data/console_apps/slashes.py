"""Rules that do without strict slashes, one by one."""

from flask import Blueprint, Flask

from .auth import require_role

app = Flask(__name__, static_folder=None)
bp = Blueprint("loose", __name__, url_prefix="/loose")


@bp.get("/leaf", strict_slashes=False)
@require_role("ops")
def leaf():
    return "leaf"


@bp.post("/leaf", strict_slashes=False)
@require_role("superadmin")
def save():
    return "save"


@bp.get("/branch/", strict_slashes=False)
@require_role("ops")
def branch():
    return "branch"


@bp.route("/item/<int:number>", strict_slashes=False, methods=["GET", "DELETE"])
@require_role("ops")
def item(number):
    return "item"


@bp.get("/files/<path:name>", strict_slashes=False)
@require_role("support")
def files(name):
    return "files"


@bp.get("/files/<path:name>/meta", strict_slashes=False)
@require_role("support")
def meta(name):
    return "meta"


# Without a slash `secret` would be the rule; with one, strict Werkzeug would take it for a name.
@bp.get("/secret", strict_slashes=False)
@require_role("superadmin")
def secret():
    return "secret"


@bp.get("/<name>/")
def anybody(name):
    return "anybody"


@bp.get("/strict")
@require_role("ops")
def strict():
    return "strict"


@bp.get("//two//slashes")
@require_role("ops")
def two_slashes():
    return "two slashes"


@bp.get("/kept//slashes", merge_slashes=False)
@require_role("ops")
def kept_slashes():
    return "kept slashes"


app.register_blueprint(bp)
