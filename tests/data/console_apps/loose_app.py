"""An application all of whose later rules do without strict slashes."""

from flask import Flask

from .auth import require_role


def create_app(name, debug=False):
    app = Flask(name, static_folder=None)

    @app.get("/before")
    @require_role("ops")
    def before():
        return "before"

    app.url_map.strict_slashes = False

    @app.get("/after")
    @require_role("ops")
    def after():
        return "after"

    return app
