"""Gates that are no decorators below a route, and routes that are no decorators."""

import functools

from flask import Blueprint, Flask, abort, request
from flask.views import MethodView, View

from .auth import require_role

app = Flask(__name__, static_folder=None)

# A blueprint behind a hook, and what is nested in it.
hooked = Blueprint("hooked", __name__, url_prefix="/hooked")
inner = Blueprint("inner", __name__, url_prefix="/inner")


@hooked.before_request
@require_role("ops", "superadmin")
def guard():
    return None


@hooked.get("/plain")
def hooked_plain():
    return "plain"


@hooked.get("/narrower")
@require_role("superadmin")
def hooked_narrower():
    return "narrower"


@inner.get("/nested")
def nested():
    return "nested"


# A hook by a call, wrapped; and one that a lambda is.
called = Blueprint("called", __name__, url_prefix="/called")
called.before_request(require_role("support")(lambda: None))


@called.get("/page")
def called_page():
    return "page"


# Hooks that refuse in their own way.
aborting = Blueprint("aborting", __name__, url_prefix="/aborting")


def is_admin():
    return "superadmin" in request.headers.get("X-Roles", "")


@aborting.before_request
def admins_only():
    if not is_admin():
        abort(403)


@aborting.get("/page")
@require_role("ops", "superadmin")
def aborting_page():
    return "page"


returning = Blueprint("returning", __name__, url_prefix="/returning")
returning.before_request(lambda: None if is_admin() else ("no", 403))


@returning.get("/page")
def returning_page():
    return "page"


direct = Blueprint("direct", __name__, url_prefix="/direct")
direct.before_request(functools.partial(lambda role: None if role in request.headers.get("X-Roles", "") else ("no", 403), "ops"))


@direct.get("/page")
def direct_page():
    return "page"


# A hook that refuses nobody.
@app.before_request
def count():
    app.config["COUNT"] = app.config.get("COUNT", 0) + 1


# Routes by calls.
bp = Blueprint("calls", __name__, url_prefix="/calls")


def page():
    return "page"


bp.get("/get", endpoint="get")(page)
bp.route("/route", methods=["POST"], endpoint="route")(require_role("ops")(page))
bp.post("/lambda", endpoint="lambda")(require_role("support")(lambda: "lambda"))
bp.add_url_rule("/partial", endpoint="partial", view_func=require_role("ops")(functools.partial(page)))
ops_route = functools.partial(bp.route, methods=["PUT"])
stored = bp.get("/stored")
declare = bp.add_url_rule
ops_only = functools.partial(require_role, "ops")


@ops_route("/prepared")
@ops_only()
def prepared():
    return "prepared"


@stored
@ops_only("superadmin")
def stored_page():
    return "stored"


declare("/aliased", "aliased", require_role("superadmin")(page))


def admin_route(rule):
    def decorate(view):
        bp.add_url_rule(rule, view.__name__, require_role("superadmin")(view))
        return view

    return decorate


@admin_route("/helper")
def by_helper():
    return "helper"


# Classes.
class Items(MethodView):
    decorators = [require_role("ops", "superadmin")]

    def get(self):
        return "get"

    @require_role("superadmin")
    def post(self):
        return "post"

    put = require_role("superadmin")(lambda self: "put")


class Report(View):
    methods = ["GET", "POST"]

    @require_role("support")
    def dispatch_request(self):
        return "report"


bp.add_url_rule("/items", view_func=Items.as_view("items"))
bp.add_url_rule("/report", view_func=require_role("support")(Report.as_view("report")))


# Views that something replaces later on.
@bp.get("/replaced")
def replaced():
    return "replaced"


hooked.register_blueprint(inner)
for blueprint in (hooked, called, aborting, returning, direct, bp):
    app.register_blueprint(blueprint)
app.view_functions["calls.replaced"] = require_role("superadmin")(app.view_functions["calls.replaced"])
