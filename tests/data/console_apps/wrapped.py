"""An application in layers: a mounted application, one that is no Flask app, and a layer that is a function."""

from types import SimpleNamespace

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from .auth import require_role

inner = Flask("inner", static_folder=None)
outer = Flask("outer", static_folder=None)


@inner.get("/users")
@require_role("superadmin")
def users():
    return "users"


@outer.get("/")
@require_role("ops")
def home():
    return "home"


# What is mounted at `/api` takes it.
@outer.get("/api/hidden")
def hidden():
    return "hidden"


def metrics(environ, start_response):
    start_response("200 OK", [("X-View", "metrics")])
    return [b""]


def logged(application):
    def layer(environ, start_response):
        return application(environ, start_response)

    return layer


outer.wsgi_app = ProxyFix(DispatcherMiddleware(outer.wsgi_app, {"/api": inner, "/metrics": metrics}))
application = logged(outer)
holder = SimpleNamespace(app=application, make=lambda: application)
