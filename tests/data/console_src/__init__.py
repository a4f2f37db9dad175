"""A Console in small. `@require_role("nobody")` in a docstring is no site."""

from flask import Flask


def create_app() -> Flask:
    from .blueprints import api_status, deploys, secrets
    from .blueprints.customers import bp as customers_bp
    from .blueprints.internal import bp as internal_bp
    from .blueprints.waitlist import bp as waitlist_bp

    app = Flask(__name__, static_folder=None)
    app.register_blueprint(customers_bp)
    app.register_blueprint(secrets.bp)
    app.register_blueprint(internal_bp, url_prefix="/api/internal")
    app.register_blueprint(deploys.bp)
    for blueprint in (api_status.bp, waitlist_bp):
        app.register_blueprint(blueprint)

    @app.get("/healthz")
    def healthz():
        return {"ok": True}

    return app
