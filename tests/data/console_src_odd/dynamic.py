import os

from flask import Blueprint

from auth import require_role

bp = Blueprint("dynamic", __name__, url_prefix=os.environ["PREFIX"])
plain = Blueprint("plain", __name__, url_prefix="/plain")

ROLES = os.environ["ROLES"].split(",")
TWICE = ("ops",)
TWICE = ("ops", "superadmin")
CHANGED = ["ops"]
CHANGED.append("superadmin")
NAMES = ["a", "b"]


@bp.get("/prefix-of-the-environment")
@require_role("superadmin")
def prefix():
    return ""


@plain.get(f"/{NAMES[0]}")
@require_role("superadmin")
def rule():
    return ""


@plain.route("/methods", methods=NAMES)
@require_role("superadmin")
def methods():
    return ""


@plain.get("/roles-of-the-environment")
@require_role(*ROLES)
def roles():
    return ""


@plain.get("/assigned-twice")
@require_role(*TWICE)
def twice():
    return ""


@plain.get("/changed-in-place")
@require_role(*CHANGED)
def changed():
    return ""


@plain.get("/a-list")
@require_role(["ops", "superadmin"])
def a_list():
    return ""


@plain.get("/no-role")
@require_role()
def no_role():
    return ""


@plain.get("/keyword")
@require_role("ops", strict=True)
def keyword():
    return ""


@plain.get("/not-called")
@require_role
def not_called():
    return ""


@plain.get("/unknown-role")
@require_role("auditor")
def unknown_role():
    return ""


@plain.get("/two-lists")
@require_role("ops", "support")
@require_role("superadmin", "support")
def two_lists():
    return ""


@plain.get("/custom/<slug:name>")
@require_role("superadmin")
def custom(name):
    return ""


for name in NAMES:
    plain.add_url_rule(f"/loop/{name}", name, require_role("superadmin")(rule))
