"""Atlas: the back office of a furniture shop that delivers. Customers, orders, files, reports and its own staff."""

from __future__ import annotations

import os
from typing import Any, Mapping

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from atlas import auth, csrf, db, sessions
from atlas.blueprints import api, audit_log, customers, dashboard, files, login, orders, reports, staff
from atlas.config import Config


def create_app(environment: Mapping[str, str] = os.environ) -> Flask:
    """The application, configured by its environment: see `atlas.config`."""
    app = Flask(__name__)
    app.config.from_object(Config.from_environment(environment))
    # One load balancer is in front of gunicorn.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]

    db.init_app(app)
    sessions.init_app(app)
    csrf.init_app(app)
    auth.init_app(app)
    for module in (login, dashboard, customers, orders, files, reports, staff, audit_log, api):
        app.register_blueprint(module.blueprint)

    if auth.USE_GATE:
        from console_gate.flask import ConsoleGate

        ConsoleGate(app, load_admin=auth.load_user, load_machine=lambda _id: auth.machine_of_request())

    @app.get("/healthz")
    def healthz() -> Any:
        return {"ok": True}

    return app
