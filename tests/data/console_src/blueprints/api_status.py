import flask

from console_src import auth

bp = flask.Blueprint("api_status", __name__, url_prefix="/api/status/")


@bp.route("/sites")
@auth.machine_auth_or_session
@auth.require_role("superadmin", "ops", "support", "readonly")
def sites():
    return {}


@bp.route("/ping")
@auth.login_required
def ping():
    return {}
