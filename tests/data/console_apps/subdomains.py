"""Rules on subdomains: two of one path, and one that needs `subdomain_matching`."""

from flask import Blueprint, Flask

from .auth import require_role

app = Flask(__name__, static_folder=None, subdomain_matching=True)
app.config["SERVER_NAME"] = "console.test"
api = Blueprint("api", __name__, subdomain="api")


@app.get("/status")
@require_role("ops")
def status():
    return "status"


@api.get("/status")
@require_role("superadmin")
def api_status():
    return "api status"


@api.get("/only-here")
@require_role("superadmin")
def only_here():
    return "only here"


@app.get("/tenants", subdomain="<tenant>")
@require_role("ops")
def tenants(tenant):
    return "tenants"


app.register_blueprint(api)
